"""The PostgreSQL server is killed at every step of a session's account."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import pytest

from control_plane.cli.demo import postgres as server_process
from tests.e2e.faults.accounts.scene import at, nothing_is_left
from tests.e2e.faults.steps import Relay, Step
from tests.support.postgres import PostgresServer
from tests.support.stack import Stack, eventually


@pytest.mark.parametrize("step", Step, ids=lambda step: step.name.lower())
def test_a_server_that_is_killed_lets_nobody_in_when_it_is_back(step: Step, stack: Stack, relay: Relay) -> None:
    with at(step, stack, relay) as release:
        killed(stack.server)
        release(False)
        started(stack.server)
    nothing_is_left(stack)
    assert stack.psql("roomy", "SELECT 1").stdout.strip() == "1"
    nothing_is_left(stack)


def killed(server: PostgresServer) -> None:
    """The postmaster by kill -9: its children notice by themselves."""
    first = (server.folder / "data" / "postmaster.pid").read_text().split("\n", 1)[0]
    children = subprocess.run(["pgrep", "-P", first], capture_output=True, text=True, check=False).stdout.split()
    for pid in (first, *children):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in (first, *children)), "the end of the server")


def started(server: PostgresServer) -> None:
    """As after any crash: it recovers from its log."""
    server_process.start(server.folder, server.bin, server.port)
