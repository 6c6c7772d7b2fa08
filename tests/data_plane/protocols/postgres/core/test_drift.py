"""What people approved does not run when its names mean something else by then (DESIGN invariant 2)."""

from __future__ import annotations

from typing import Any

import pytest

from data_plane.gate.interface import Code, Subject
from tests.data_plane.protocols.postgres.core.conversation import (
    BIND,
    BOUND,
    COMPLETE,
    EXECUTE,
    FLUSH,
    NO_DATA,
    PARSE,
    PARSED,
    QUERY,
    SYNC,
    SYNTAX_ERROR,
    Conversation,
    FakeMasking,
    error,
    ready,
    selected,
)
from tests.data_plane.protocols.postgres.core.widened import BATCH, DELETE, SELECT, seen

MOVED = "Error 42501 not run: it was approved, and what its names mean has changed since it was asked for"
EXECUTED = (BIND("", "p"), EXECUTE(""), SYNC)
WAYS = pytest.mark.parametrize(
    "messages",
    [
        (QUERY(DELETE),),
        (QUERY(f"{SELECT}; {DELETE}; {DELETE}"),),
        BATCH,
        (*BATCH[:-1], FLUSH),
        EXECUTED,
        (*EXECUTED[:-1], *BATCH),
        (QUERY("execute p"),),
    ],
)


def held(*messages: bytes, lacking: frozenset[str] = frozenset(), **options: Any) -> Conversation:
    """People are asked about an operation on what is in the schema `mine`."""
    it = Conversation(**options)
    it.names.schema, it.lacking = "mine", lacking
    it.client(PARSE("p", DELETE), SYNC)
    it.target(PARSED, ready())
    it.client(*messages)
    assert [one.candidates for one in it.operations[0].subjects[-1].resources] == [("mine.?.t",)]
    it.take_client(), it.take_target()
    return it


def denied(it: Conversation) -> bool:
    """Audited like what the core refuses by itself, and reported as not run."""
    ((raw, outcome, detail),) = it.gate.executions
    decided = it.recorder.of("decided")[-1]
    return (
        (raw, outcome) == (it.held_raw, "failed")
        and detail.startswith("not run: ")
        and decided[1:3] == ("deny", Code.WITHDRAWN)
        and it.permitted == b""
    )


@WAYS
def test_an_approved_operation_whose_names_moved_is_not_sent(messages: tuple[bytes, ...]) -> None:
    it = held(*messages)
    it.permitted.clear()
    it.names.schema = "public"
    it.approve()
    assert "delete" not in " ".join(it.take_target())
    it.target(SYNTAX_ERROR, ready())
    assert it.take_client()[0] == MOVED
    assert denied(it)


@WAYS
@pytest.mark.parametrize("masks", [False, True])
def test_what_means_the_same_runs_though_it_was_resolved_anew(messages: tuple[bytes, ...], *, masks: bool) -> None:
    it = held(*messages, masking=FakeMasking(active=masks))
    before = len(it.names.paths)
    it.approve()
    assert len(it.names.paths) > before
    assert it.permitted.endswith(it.held_raw)
    assert it.gate.executions == []


def test_the_session_goes_on_and_may_ask_again() -> None:
    it = held(QUERY(DELETE))
    it.names.schema = "public"
    it.client(QUERY(SELECT))
    it.approve()
    it.target(SYNTAX_ERROR, ready(), selected("1"))
    assert it.take_client()[-3:] == ["Row 1", "Complete SELECT 1", "Ready I"]
    it.client(QUERY(DELETE))
    it.approve()
    assert it.take_target()[-1] == f"Query {DELETE}"


def test_in_a_transaction_it_fails_as_a_statement_would() -> None:
    it = Conversation()
    it.client(QUERY("begin"))
    it.target(COMPLETE("BEGIN"), ready("T"))
    it.client(QUERY(DELETE))
    it.take_client(), it.take_target()
    it.names.schema = "public"
    it.approve()
    it.target(SYNTAX_ERROR, ready("E"))
    assert it.take_client() == [MOVED, "Ready E"]


def test_what_cannot_be_resolved_any_more_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    it = held(QUERY(DELETE))
    it.permitted.clear()

    def broken(subject: Subject, path: object) -> Subject:
        raise ValueError(f"a bug in the catalogue: {subject} {path}")

    monkeypatch.setattr(it.names, "resolve", broken)
    it.approve()
    it.target(SYNTAX_ERROR, ready())
    assert it.take_client()[0] == MOVED
    assert denied(it)


def test_a_row_guard_does_not_begin_for_it() -> None:
    it = held(QUERY(DELETE))
    it.permitted.clear()
    it.names.schema = "public"
    it.approve(most_rows=5)
    assert "BEGIN" not in " ".join(it.take_target())
    it.target(SYNTAX_ERROR, ready())
    assert denied(it)


# ---------------------------------------------------------------- a wider account


def test_the_account_is_not_widened_for_it() -> None:
    it = held(QUERY(DELETE), lacking=frozenset({"write"}))
    it.permitted.clear()
    it.names.schema = "public"
    it.approve()
    it.target(SYNTAX_ERROR, ready())
    assert it.account == []
    assert denied(it)
    assert it.core.idle


def test_it_is_looked_at_again_when_the_account_is_wider() -> None:
    it = held(QUERY(DELETE), lacking=frozenset({"write"}))
    it.permitted.clear()
    it.approve()
    it.names.schema = "public"
    it.core.account_changed("")
    assert DELETE not in " ".join(it.take_target())
    it.target(SYNTAX_ERROR, ready())
    assert it.account == ["widen write", "narrow"]
    it.core.account_changed("")
    it.target(seen())
    assert it.take_client() == [MOVED, "Ready I"]
    assert denied(it)
    assert it.core.idle


def test_what_is_merely_allowed_is_resolved_once() -> None:
    it = Conversation()
    it.client(QUERY(SELECT))
    it.target(selected("1"))
    it.client(PARSE("", SELECT), BIND("", ""), EXECUTE(""), SYNC)
    it.target(PARSED, BOUND, NO_DATA, error(), ready())
    assert len(it.names.paths) == 2
