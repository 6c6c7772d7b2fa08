"""Commands that ask where nobody can answer: what they say in place of "Aborted."."""

from __future__ import annotations

import sys
from io import StringIO
from typing import Any

import pytest

from control_plane.cli import approval_acts, approvals
from control_plane.cli.main import main

PENDING = {
    "id": "apr_1", "short_code": "K7F3QX", "state": "pending", "waits_for": "", "digest": "d", "alike": [],
    "you": {"may_decide": True}, "you_may": {"break_glass": True},
}  # fmt: skip


class Waiting:
    """An Api with one request, which takes every decision."""

    def get(self, _path: str) -> dict[str, Any]:
        return PENDING

    def post(self, path: str, _body: Any) -> dict[str, Any]:
        return {**PENDING, "state": path.rpartition("/")[2]}


@pytest.fixture(autouse=True)
def waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (approvals, approval_acts):
        monkeypatch.setattr(module, "load_profile", lambda: None)
        monkeypatch.setattr(module, "Api", lambda _profile: Waiting())
        monkeypatch.setattr(module, "print_approval", lambda _approval: None)


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def run(monkeypatch: pytest.MonkeyPatch, capsys: Any, stdin: StringIO, *arguments: str) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["assentry", *arguments])
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.err or said.out


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("approvals approve K7F3QX", "--yes/-y answers beforehand"),
        ("approvals deny K7F3QX", "--reason/-r and --yes/-y answer beforehand"),
        ("approvals deny K7F3QX -r no", "--reason/-r and --yes/-y answer beforehand"),
        ("approvals break-glass K7F3QX -r fire", "--reason/-r and --yes/-y answer beforehand"),
        ("approvals review K7F3QX --verdict justified", "--comment/-c answers beforehand"),
        ("sessions kill ses_1", "--reason/-r answers beforehand"),
    ],
)
def test_where_nobody_can_be_asked_it_says_what_answers_beforehand(
    monkeypatch, capsys, command: str, told: str
) -> None:
    code, said = run(monkeypatch, capsys, StringIO(), *command.split())
    assert (code, said) == (1, f"error nobody can be asked here, without a terminal: {told}\n")


def test_an_answer_through_a_pipe_is_one(monkeypatch, capsys) -> None:
    code, said = run(monkeypatch, capsys, StringIO("no\ny\n"), "approvals", "deny", "K7F3QX")
    assert (code, "state       deny" in said) == (0, True)


def test_who_gives_up_at_a_terminal_knows_that_already(monkeypatch, capsys) -> None:
    assert run(monkeypatch, capsys, Terminal(), "approvals", "approve", "K7F3QX") == (1, "Aborted.\n")
