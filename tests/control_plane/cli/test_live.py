"""The live table of requests: what is chosen stays chosen, and what ends does not vanish."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO
from typing import Any

from rich.console import Console

from control_plane.cli.live import Waiting, table

NOW = datetime(2026, 3, 1, 12, 5, tzinfo=UTC)


def approval(number: int, state: str = "pending", **more: Any) -> dict[str, Any]:
    return {
        "id": f"apr_{number}",
        "short_code": f"CODE{number}",
        "state": state,
        "requested_at": f"2026-03-01T12:0{number}:00Z",
        "requester": "bot",
        "target": "orders",
        "environment": "production",
        "headline": f"DELETE {number}",
        "hidden_bytes": 0,
        "count": 1,
        "waits_for": "1 more of group dba",
        "you": {"may_decide": False, "why": ""},
        **more,
    }


def waiting(*approvals: dict[str, Any]) -> Waiting:
    seen = Waiting()
    for one in approvals:
        seen.heard(one)
        seen.settle()
    return seen


def chosen(seen: Waiting) -> str:
    assert seen.chosen is not None
    return str(seen.chosen["id"])


def test_the_choice_stays_on_its_request_when_an_older_one_arrives() -> None:
    seen = waiting(approval(2))
    assert chosen(seen) == "apr_2"
    seen.heard(approval(1))
    assert [one["id"] for one in seen.rows] == ["apr_1", "apr_2"]
    assert chosen(seen) == "apr_2"


def test_the_choice_moves_and_stops_at_both_ends() -> None:
    seen = waiting(approval(1), approval(2), approval(3))
    for by, expected in ((1, "apr_2"), (1, "apr_3"), (1, "apr_3"), (-1, "apr_2"), (-1, "apr_1"), (-1, "apr_1")):
        seen.move(by)
        assert chosen(seen) == expected


def test_what_ends_is_shown_for_a_while_and_cannot_be_chosen() -> None:
    seen = waiting(approval(1), approval(2))
    seen.heard(approval(1, "denied"))
    seen.heard(approval(3, "executed"))
    assert [one["id"] for one in seen.ended] == ["apr_1"], "what was over before is not news"
    assert chosen(seen) == "apr_2"
    seen.heard(approval(2, "approved"))
    seen.heard(approval(2, "executed"))
    assert seen.chosen is None
    assert [(one["id"], one["state"]) for one in seen.ended] == [("apr_1", "denied"), ("apr_2", "executed")]


def test_the_table_obeys_no_text_and_says_what_it_leaves_out() -> None:
    hostile = approval(1, headline="[red]DELETE[/red] \x1b[2J", hidden_bytes=12, you={"may_decide": True, "why": ""})
    page = StringIO()
    Console(file=page, width=160).print(table(waiting(hostile), NOW))
    shown = page.getvalue()
    assert "[red]DELETE[/red] \\u001b[2J (12 bytes hidden)" in shown
    assert "4:00" in shown
    assert "you" in shown
