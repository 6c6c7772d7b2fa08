"""Rotation of the agent's own account while clients come and go: no statement fails, and the old password is of no use."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.e2e.test_cli import Cli
from tests.support.postgres import PostgresServer
from tests.support.stack import ALLOW_ALL, Stack, eventually, policy, running_stack, target

FIRST = "first-password"
TURNS, ALONE, FIXED, KILLED, SEALED = "turns", "alone", "fixed", "killed", "resealed"
SECONDS = 25  # longer than a rotation waits for those who are signing in


@pytest.fixture(scope="module")
def stack(postgres: PostgresServer) -> Iterator[Stack]:
    postgres.execute(
        "CREATE ROLE bench_group",
        *(f"CREATE ROLE {name} LOGIN PASSWORD '{FIRST}' {rights} IN ROLE bench_group"
          for name, rights in (("turn_a", "CREATEROLE"), ("turn_b", "CREATEROLE"), (ALONE, ""), (FIXED, ""), (KILLED, ""),
                               (SEALED, ""))),
        *(f"CREATE DATABASE {name} OWNER bench_group" for name in (TURNS, ALONE, FIXED, KILLED, SEALED)),
    )  # fmt: skip
    rotate = {TURNS: {"accounts": ["turn_a", "turn_b"]}, ALONE: {}, FIXED: None, KILLED: {}}
    documents = [
        *(target(name, postgres, name, credential={"rotate": how}) for name, how in rotate.items()),
        *(policy(name, name, ALLOW_ALL) for name in rotate),
    ]
    accounts = {TURNS: ("turn_a", FIRST), **{name: (name, FIRST) for name in (ALONE, FIXED, KILLED)}}
    accounts[SEALED] = ("nobody", "its document names a secret instead")
    with running_stack(postgres, documents, accounts) as running:
        yield running


def pgbench(stack: Stack, name: str) -> subprocess.Popen[str]:
    """Connects anew for each transaction."""
    script = stack.folder / "select.sql"
    script.write_text("SELECT count(*) FROM pg_class;\n")
    words = [stack.server.bin / "pgbench", "-n", "-C", "-c", "2", "-R", "5", "-T", str(SECONDS), "-f", script]
    return subprocess.Popen(
        words, env=stack.environment(name), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def rotated(stack: Stack, name: str) -> Mapping[str, Any]:
    return outcome(stack, stack.admin.post(f"/v1/targets/{name}/rotate"))


def outcome(stack: Stack, begun: Mapping[str, Any]) -> Mapping[str, Any]:

    def over() -> Any:
        found = stack.admin.get(f"/v1/rotations/{begun['id']}")
        return found if found["state"] != "running" else None

    return dict(eventually(over, f"the end of {begun}", 90))


def text(stack: Stack, name: str) -> str:
    return (Path(stack.agent.state) / f"{name}.password").read_text()


def kept(stack: Stack, name: str) -> dict[str, Any]:
    return dict(json.loads(text(stack, name)))


def signed_in_as(stack: Stack, name: str) -> str:
    return stack.psql(name, "SELECT current_user").stdout.strip()


def lets_in(server: PostgresServer, user: str, password: str) -> bool:
    try:
        psycopg.connect(host=server.host, port=server.port, dbname="postgres", user=user, password=password).close()
    except psycopg.OperationalError:
        return False
    return True


def test_clients_that_connect_all_the_time_notice_nothing_of_a_rotation(stack: Stack) -> None:
    running = {name: pgbench(stack, name) for name in (TURNS, ALONE)}
    done = {name: rotated(stack, name) for name in running}
    assert {name: (one["state"], one["problem"]) for name, one in done.items()} == {
        TURNS: ("done", ""), ALONE: ("done", ""),
    }  # fmt: skip
    for name, client in running.items():
        out, err = client.communicate(timeout=SECONDS * 3)
        assert client.returncode == 0, f"{name}: {err}"
        assert "number of failed transactions: 0 (0.000%)" in out, out
        assert err.count("error") == 0, err
    assert (done[TURNS]["account"], done[TURNS]["previous"]) == ("turn_b", "turn_a")
    assert not lets_in(stack.server, "turn_a", FIRST)
    assert not lets_in(stack.server, "alone", FIRST)
    for name, user in ((TURNS, "turn_b"), (ALONE, "alone")):
        assert kept(stack, name)["username"] == user
        assert lets_in(stack.server, user, kept(stack, name)["password"])
        assert signed_in_as(stack, name) == user


def test_a_rotation_that_the_agent_did_not_survive_is_finished_by_its_next_run(stack: Stack) -> None:
    """Killed while it waits for those who are signing in, with the next password stored and not yet in force."""
    begun = stack.admin.post(f"/v1/targets/{KILLED}/rotate")
    eventually(lambda: '"waiting"' in text(stack, KILLED), "the next password in the file")
    assert stack.psql(KILLED, "SELECT 1").stdout.strip() == "1"
    stack.agent.kill()
    stack.agent.start()
    assert stack.psql(KILLED, "SELECT 1").stdout.strip() == "1"
    done = outcome(stack, begun)
    assert (done["state"], done["resumed"]) == ("done", True), done
    assert not lets_in(stack.server, KILLED, FIRST)
    assert signed_in_as(stack, KILLED) == KILLED


def test_a_sealed_secret_is_rotated_by_the_agent_and_nobody_else_sees_it(stack: Stack) -> None:
    profile = stack.control.admin
    with httpx.Client(base_url=profile.url, headers={"Authorization": f"Bearer {profile.token}"}) as admin:
        made = admin.put("/v1/secrets/bench", json={"value": json.dumps({"username": SEALED, "password": FIRST})})
        assert made.is_success, made.text
        how = {"secret": "bench", "rotate": {}}
        documents = [target(SEALED, stack.server, SEALED, credential=how), policy(SEALED, SEALED, ALLOW_ALL)]
        stack.control.apply(documents)
        assert eventually(lambda: signed_in_as(stack, SEALED), "a session") == SEALED
        assert rotated(stack, SEALED)["problem"] == ""
        assert signed_in_as(stack, SEALED) == SEALED
        assert not lets_in(stack.server, SEALED, FIRST)
        assert admin.get("/v1/secrets/bench").json()["version"] == 3, "with the next password, then with it alone"


def test_the_command_line_rotates_and_reports(stack: Stack, tmp_path: Path) -> None:
    cli = Cli(tmp_path, stack.control.admin)
    begun = cli.run("targets", "rotate", FIXED)
    assert (begun.returncode, "says nothing of rotation" in begun.stderr) == (1, True)
    begun = cli.run("targets", "rotate", KILLED, "--no-wait", "--output", "json")
    assert json.loads(begun.stdout)["state"] == "running"
    outcome(stack, json.loads(begun.stdout))
    history = json.loads(cli.run("targets", "rotations", KILLED, "--output", "json").stdout)
    assert [(one["state"], one["resumed"]) for one in history] == [("done", False), ("done", True)]
    report = json.loads(cli.run("targets", "credentials", "--output", "json").stdout)
    lines = {line["target"]: line for line in report}
    assert lines[KILLED]["rotated_at"] == history[0]["ended_at"]
    assert lines[KILLED]["used_at"] > lines[KILLED]["rotated_at"][:4]
    assert "never rotated" in lines[FIXED]["problems"][0]
    assert FIXED in cli.run("targets", "credentials").stdout
