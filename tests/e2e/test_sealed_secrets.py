"""An agent that holds no credential of its own: its target's account is sealed at the control plane."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.cli.demo.planes import Plane
from tests.e2e.test_cli import RUN, Cli
from tests.support.folders import contents_of
from tests.support.postgres import PostgresServer
from tests.support.stack import ALLOW_ALL, Stack, eventually, policy, running_stack, target

NAME = "sealed"
FIRST, SECOND = "first-of-the-sealed", "second-of-the-sealed"


def told(password: str) -> str:
    return json.dumps({"username": "sealed_agent", "password": password})


@pytest.fixture(scope="module")
def stack(postgres: PostgresServer) -> Iterator[Stack]:
    postgres.execute(f"CREATE ROLE sealed_agent LOGIN PASSWORD '{FIRST}'", f"CREATE DATABASE {NAME} OWNER sealed_agent")
    with running_stack(postgres, [policy(NAME, NAME, ALLOW_ALL)], {NAME: ("nobody", "nothing")}) as running:
        running.agent.stop()
        written = running.agent.config_file.read_text()
        kept = [line for line in written.splitlines() if not line.startswith(("username", "password_file"))]
        running.agent.config_file.write_text("\n".join(kept) + "\n")
        running.agent.start()
        yield running


@pytest.fixture(scope="module")
def admin(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    return Cli(tmp_path_factory.mktemp("admin"), stack.control.admin)


def piped(cli: Cli, value: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, as in a pipe of a shell."""
    return subprocess.run(
        [*RUN, *arguments], env=cli.environment, input=value, capture_output=True, text=True, check=False, timeout=60
    )


def user(stack: Stack) -> str:
    return stack.psql(NAME, "SELECT current_user").stdout.strip()


def test_a_session_signs_in_with_what_was_piped_in(stack: Stack, admin: Cli) -> None:
    refused = stack.psql(NAME, "SELECT 1")
    assert refused.returncode == 2, "no document, no secret, no account"
    done = piped(admin, told(FIRST) + "\n", "secrets", "set", NAME)
    assert done.returncode == 0, done.stderr
    assert FIRST not in done.stdout + done.stderr
    stack.control.apply([target(NAME, stack.server, NAME, credential={"secret": NAME})])
    assert eventually(lambda: user(stack), "a session") == "sealed_agent"
    assert [one["data"]["target"] for one in stack.audited("secret.delivered", NAME)] == [NAME]


def test_the_command_line_tells_what_is_known_and_no_value(admin: Cli) -> None:
    [one] = admin.json("secrets", "list")
    assert (one["name"], one["version"], one["targets"]) == (NAME, 1, [NAME])
    assert [(each["agent"], each["serves"]) for each in one["deliveries"]] == [("demo", True)]
    everything = admin.said("secrets", "list") + admin.said("secrets", "show", NAME) + admin.said("secrets", "status")
    assert FIRST not in everything
    assert "begun" in admin.said("secrets", "rewrap")
    assert eventually(lambda: admin.json("secrets", "status")["rewrap"]["done_at"], "the exchange")
    assert "sealed" in admin.refused("secrets", "delete", NAME)
    assert "there is no secret named" in admin.refused("secrets", "show", "other")
    assert piped(admin, "", "secrets", "set", "empty").returncode == 1
    assert admin.run("secrets", "set", NAME, "on-the-command-line").returncode == 2


def test_a_new_value_is_used_by_the_next_session_and_the_running_one_goes_on(
    stack: Stack, admin: Cli, tmp_path: Path
) -> None:
    with stack.start_psql(NAME, "SELECT pg_sleep(3)", "SELECT current_user") as running:
        eventually(lambda: stack.gauge("open_sessions"), "the session")
        stack.server.execute(f"ALTER ROLE sealed_agent PASSWORD '{SECOND}'")
        file = tmp_path / "value"
        file.write_text(told(SECOND))
        assert "2" in admin.said("secrets", "set", NAME, "--from-file", str(file))
        assert eventually(lambda: user(stack), "a session with the new value") == "sealed_agent"
        assert "sealed_agent" in running.communicate(timeout=30)[0]


def test_while_the_control_plane_is_away_the_agent_that_has_it_goes_on_and_a_new_one_does_not(stack: Stack) -> None:
    stack.control.kill()
    eventually(lambda: not stack.gauge("link_connected"), "the loss of the link")
    assert user(stack) == "sealed_agent"
    stack.agent.kill()
    command = [sys.executable, "-m", "data_plane", "--config", str(stack.agent.config_file)]
    stack.agent.plane = Plane("the agent", command, stack.agent.state / "log", {})
    stack.agent.ready()  # its lease still runs
    assert stack.psql(NAME, "SELECT 1").returncode == 2
    stack.control.start()
    assert eventually(lambda: user(stack), "a session", 30) == "sealed_agent"


def test_no_file_of_the_agent_or_of_the_control_plane_has_the_value(stack: Stack) -> None:
    values = (FIRST.encode(), SECOND.encode())
    assert [path for path, content in contents_of(stack.folder) if any(value in content for value in values)] == []


def test_a_disabled_agent_opens_no_session_with_what_it_has(stack: Stack) -> None:
    stack.admin.post("/v1/agents/demo/disable")
    assert eventually(lambda: stack.psql(NAME, "SELECT 1").returncode == 2, "the end of its lease")
