"""What keeps a plane from starting is one line: the setting, the address, what to do. The exit status tells it too."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import Stack

HOST = "127.0.0.1"


@pytest.fixture
def busy() -> Iterator[str]:
    """An address where somebody else listens."""
    with socket.create_server((HOST, 0)) as taken:
        yield f"{HOST}:{taken.getsockname()[1]}"


def started(*command: str, **environment: str) -> tuple[int, list[str]]:
    """How it ended, and what it said beside its structured log."""
    ended = subprocess.run(
        [sys.executable, "-m", *command], env=os.environ | environment, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    return ended.returncode, [line for line in ended.stderr.splitlines() if not line.startswith("{")]


def control_plane(state: Path, **settings: str) -> tuple[int, list[str]]:
    addresses = {"ASSENTRY_HTTP_ADDRESS": f"{HOST}:0", "ASSENTRY_GRPC_ADDRESS": f"{HOST}:0"}
    return started("control_plane", "serve", **{"ASSENTRY_STATE_DIR": str(state), **addresses, **settings})


@pytest.mark.parametrize("setting", ["ASSENTRY_HTTP_ADDRESS", "ASSENTRY_GRPC_ADDRESS", "ASSENTRY_ENROLMENT_ADDRESS"])
def test_a_port_of_the_control_plane_that_is_taken_is_one_line(tmp_path: Path, busy: str, setting: str) -> None:
    status, said = control_plane(tmp_path, **{setting: busy})
    advice = "address already in use; stop what listens there, or choose another port"
    assert (status, said) == (1, [f"{setting}: cannot listen on {busy}: {advice}"])


@pytest.mark.parametrize("command", ["serve", "init"])
def test_a_database_out_of_reach_is_one_line_without_the_password(tmp_path: Path, command: str) -> None:
    url = f"postgresql://bob:hunter2@{HOST}:1/approvals?password=hunter3"
    status, said = started("control_plane", command, ASSENTRY_STATE_DIR=str(tmp_path), ASSENTRY_DATABASE_URL=url)
    assert status == 1
    assert len(said) == 1
    assert said[0].startswith(f"ASSENTRY_DATABASE_URL: the database approvals at {HOST}:1 cannot be used: ")
    assert "hunter" not in said[0]


def test_a_database_that_refuses_the_password_says_so(tmp_path: Path, stack: Stack) -> None:
    url = f"postgresql://nobody:hunter2@{HOST}:{stack.server.port}/nothing"
    status, said = control_plane(tmp_path, ASSENTRY_DATABASE_URL=url)
    assert status == 1
    assert len(said) == 1
    assert "nobody" in said[0]
    assert "hunter" not in said[0]


@pytest.mark.parametrize(("field", "workers"), [("targets.orders.listen", 1), ("metrics", 1), ("metrics", 2)])
def test_a_port_of_the_agent_that_is_taken_is_one_line(
    short: Path, busy: str, stack: Stack, field: str, workers: int
) -> None:
    file = agent_file(short, stack, busy, field, workers)
    status, said = started("data_plane", "--config", str(file))
    advice = "address already in use; stop what listens there, or choose another port"
    assert (status, set(said)) == (2, {f"error: {file}: {field}: cannot listen on {busy}: {advice}"})


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose path leaves room for those of sockets."""
    with tempfile.TemporaryDirectory(prefix="assentry-") as folder:
        yield Path(folder)


def agent_file(folder: Path, stack: Stack, busy: str, field: str, workers: int) -> Path:
    joining = stack.admin.post("/v1/join-tokens", {"agent": "busy"})
    for name, text in {"token": joining["token"], "ca.pem": joining["ca"], "password": "none"}.items():
        (folder / name).write_text(text)
    file = folder / "agent.toml"
    file.write_text(
        f"""name = "busy"
state = "state"
control_plane = "{stack.agent.config["control_plane"]}"
control_plane_ca = "ca.pem"
join_token_file = "token"
workers = {workers}
metrics = "{busy if field == "metrics" else f"{HOST}:0"}"
[targets.orders]
listen = "{busy if field != "metrics" else f"{HOST}:0"}"
username = "app"
password_file = "password"
"""
    )
    return file
