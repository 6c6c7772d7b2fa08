"""`make demo` as a person ends it: soon, with a word to whoever waits, and nothing is left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

START = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); from control_plane.cli.main import main; main()"
UPDATE = "UPDATE orders SET total = 1 WHERE id = 1"


@pytest.fixture
def demo() -> Iterator[subprocess.Popen[str]]:
    """In the background of a script, where an interrupt is ignored unless one asks for it."""
    command = [sys.executable, "-c", START, "demo"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as running:
        yield running
        running.terminate()


def invitation(demo: subprocess.Popen[str]) -> str:
    assert demo.stdout is not None
    said = ""
    while "Ctrl-C here" not in said:
        line = demo.stdout.readline()
        assert line, said
        said += line
    return said


def agent_of(demo: subprocess.Popen[str]) -> int:
    children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()
    (agent,) = (pid for pid in children if b"data_plane" in Path(f"/proc/{pid}/cmdline").read_bytes())
    return int(agent)


def test_an_interrupt_ends_the_demo_within_seconds_and_tells_who_waits(demo: subprocess.Popen[str]) -> None:
    said = invitation(demo)
    (shown,) = re.findall(r"PGPASSWORD=\$\(cat (\S+)\) (\S+) \"(.+)\"", said)
    token, psql, where = Path(shown[0]), shown[1], shown[2]
    folder, environment = token.parent, {**os.environ, "PGPASSWORD": token.read_text()}
    waiting = subprocess.Popen([psql, "-X", where, "-c", UPDATE], env=environment, stderr=subprocess.PIPE, text=True)
    assert waiting.stderr is not None
    assert "held for approval" in waiting.stderr.readline()
    began = time.monotonic()
    demo.send_signal(signal.SIGINT)
    assert demo.wait(9) == 0, "none of it had to be killed"
    assert time.monotonic() - began < 9
    assert "what waited for approval was not run" in waiting.communicate(timeout=9)[1]
    assert not folder.exists()


def test_the_demo_ends_when_one_of_its_planes_has(demo: subprocess.Popen[str]) -> None:
    invitation(demo)
    os.kill(agent_of(demo), signal.SIGKILL)
    said, _ = demo.communicate(timeout=9)
    assert demo.returncode == 1
    assert "the agent ended with -9" in said
