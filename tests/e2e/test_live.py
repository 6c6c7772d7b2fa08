"""`assentry approvals watch` on a real terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.cli.config import save_profile_to
from tests.support.stack import REVIEWER, Stack
from tests.support.terminal import Terminal

RUN = [sys.executable, "-c", "from control_plane.cli.main import main; main()"]
WAIT = 30


@pytest.fixture
def terminal(stack: Stack, tmp_path: Path) -> Iterator[Terminal]:
    profile = tmp_path / "profile.json"
    save_profile_to(profile, stack.control.sign_in(REVIEWER, stack.reviewer_password))
    environment = {**os.environ, "ASSENTRY_PROFILE": str(profile), "LC_ALL": "C.UTF-8"}
    with Terminal([*RUN, "approvals", "watch"], environment) as opened:
        opened.until("nothing waits")
        yield opened


def test_a_new_hold_is_in_the_table_within_a_second_and_a_key_releases_it(terminal: Terminal, stack: Stack) -> None:
    client = stack.start_psql("shop", "DELETE FROM orders WHERE id = 31")
    stack.pending("DELETE FROM orders WHERE id = 31")
    terminal.until("DELETE FROM orders WHERE id = 31", seconds=1)
    terminal.press("\r")
    shown = terminal.until("any other key goes back")
    assert "writes" in shown
    assert "digest" in shown, "complete, not the line of the table"
    terminal.press("a")
    terminal.until("Approve this operation?")
    terminal.press("y\n")
    out, _ = client.communicate(timeout=WAIT)
    assert "DELETE 1" in out
    terminal.until("executed")
    terminal.press("q")
    assert terminal.process.wait(WAIT) == 0


def test_a_denial_by_key_asks_for_the_reason(terminal: Terminal, stack: Stack) -> None:
    client = stack.start_psql("shop", "DELETE FROM orders WHERE id = 32")
    terminal.until("DELETE FROM orders WHERE id = 32")
    terminal.press("d")
    terminal.until("any other key goes back")
    terminal.press("d")
    terminal.until("Reason")
    terminal.press("not before the audit\n")
    _, notices = client.communicate(timeout=WAIT)
    assert "not before the audit" in notices


def test_the_keys_of_the_table_decide_nothing(terminal: Terminal, stack: Stack) -> None:
    """A reviewer who types ahead has not seen the request."""
    client = stack.start_psql("shop", "DELETE FROM orders WHERE id = 33")
    pending = stack.pending("DELETE FROM orders WHERE id = 33")
    terminal.until("DELETE FROM orders WHERE id = 33")
    terminal.press("a")
    terminal.until("any other key goes back")
    terminal.press("x")
    terminal.until("arrows choose")
    assert stack.approval(pending["id"])["state"] == "pending"
    stack.deny("DELETE FROM orders WHERE id = 33", "only a test")
    client.communicate(timeout=WAIT)
