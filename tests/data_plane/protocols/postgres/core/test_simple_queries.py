"""Simple queries: what flows, what is refused, what is held."""

from __future__ import annotations

import pytest

from data_plane.gate.interface import Allowed, Code, Denied
from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.answers import decode_notice, encode_notice, encode_parameter_status
from data_plane.protocols.postgres.core import Limits
from data_plane.protocols.postgres.core.refusals import from_verdict
from data_plane.protocols.postgres.framing import encode
from data_plane.recording.interface import RecordingError
from tests.data_plane.protocols.postgres.core.conversation import (
    COMPLETE,
    PENDING,
    QUERY,
    SYNTAX_ERROR,
    Conversation,
    bytewise,
    error,
    ready,
    selected,
)

WAYS = [pytest.param(None, id="whole"), pytest.param(bytewise, id="byte by byte")]


@pytest.fixture(params=WAYS)
def session(request: pytest.FixtureRequest) -> Conversation:
    return Conversation(pieces=request.param)


def test_an_allowed_query_and_its_rows_pass_unchanged(session: Conversation) -> None:
    session.client(QUERY("select 1"))
    assert session.take_target() == ["Query select 1"]
    session.target(selected("1"))
    assert session.take_client() == ["Described", "Row 1", "Complete SELECT 1", "Ready I"]
    assert session.recorder.of("input") == [(1, "select 1", ())]
    assert session.recorder.of("completed") == [(1, "SELECT 1", 1, 1)]
    assert session.recorder.outputs(1) == selected("1")


def test_queries_are_pipelined_without_waiting_for_answers(session: Conversation) -> None:
    session.client(QUERY("select 1"), QUERY("select 2"))
    assert session.take_target() == ["Query select 1", "Query select 2"]
    session.target(selected("1"), selected("2"))
    assert [number for number, *_ in session.recorder.of("completed")] == [1, 2]
    assert session.recorder.outputs(2) == selected("2")


def test_a_denied_statement_never_reaches_the_target(session: Conversation) -> None:
    """Invariants 1, 3: a statement that must fail goes in its place, and its error is replaced."""
    session.client(QUERY("drop table orders"))
    assert session.take_target() == ["Query assentry refused the statement that stood here"]
    session.target(SYNTAX_ERROR, ready("E"))
    assert session.take_client() == ["Error 42501 not allowed by p/deny", "Ready E"]
    session.client(QUERY("rollback"))
    assert session.take_target() == ["Query rollback"]


def test_a_batch_is_judged_whole_before_any_of_it_runs(session: Conversation) -> None:
    """Invariant 4."""
    session.client(QUERY("select 1; drop table orders"))
    assert session.take_target() == ["Query assentry refused the statement that stood here"]


def test_what_cannot_be_parsed_is_denied(session: Conversation) -> None:
    """Invariant 3."""
    session.client(QUERY("selec 1"))
    session.target(SYNTAX_ERROR, ready())
    assert session.take_client()[0].startswith("Error 42601")


def test_a_bug_on_the_way_to_a_verdict_is_a_denial(session: Conversation) -> None:
    """Invariant 3."""
    session.gate.broken = True
    session.client(QUERY("select 1"))
    assert session.take_target() == ["Query assentry refused the statement that stood here"]
    assert session.recorder.of("decided")[0][1:3] == ("deny", "not-understood")


def test_a_held_statement_waits_and_runs_after_approval(session: Conversation) -> None:
    """Invariant 1: no byte of it goes before the verdict; invariant 2: what was shown is what is sent."""
    session.client(QUERY("delete from orders"), QUERY("select 2"))
    assert (session.take_target(), session.core.held) == ([], True)
    session.core.hold_pending(PENDING)
    assert session.take_client() == ["Notice 01000 held for approval: 7F3A (DELETE)"]
    session.core.remind()
    assert session.take_client() == ["Notice 01000 still waiting for approval: 7F3A (DELETE)"]
    operation = session.operations[0]
    assert (operation.text, operation.parts) == (
        "delete from orders",
        (b"delete from orders", QUERY("delete from orders")),
    )
    assert len(session.gate.judged) == 1, "what is behind a held statement is not judged"
    session.approve()
    assert session.hold_end == ""
    assert session.take_target() == ["Query delete from orders", "Query select 2"]
    session.target(COMPLETE("DELETE 3"), ready(), selected("2"))
    assert session.gate.executions == [(QUERY("delete from orders"), "done", "DELETE 3")]


def test_a_hold_that_is_denied_says_why(session: Conversation) -> None:
    session.client(QUERY("delete from orders"))
    session.core.hold_decided(Denied(Code.DENIED, "denied by ann: not today"))
    assert session.take_target() == ["Query assentry refused the statement that stood here"]
    session.target(SYNTAX_ERROR, ready())
    assert session.take_client() == ["Error 42501 denied by ann: not today", "Ready I"]


def test_a_session_is_idle_when_nothing_is_begun(session: Conversation) -> None:
    """A drain ends it then."""
    assert session.core.idle
    session.client(QUERY("select 1"))
    assert not session.core.idle, "unanswered"
    session.target(COMPLETE("SELECT 1"), ready())
    assert session.core.idle
    session.client(QUERY("select 1")[:7])
    assert not session.core.idle, "half a message"


def test_a_session_in_a_transaction_or_held_is_not_idle(session: Conversation) -> None:
    session.client(QUERY("begin"))
    session.target(COMPLETE("BEGIN"), ready("T"))
    assert not session.core.idle
    session.client(QUERY("rollback"))
    session.target(COMPLETE("ROLLBACK"), ready())
    assert session.core.idle
    session.client(QUERY("delete from orders"))
    assert not session.core.idle
    assert session.core.held


@pytest.mark.parametrize(
    ("told", "message", "position"),
    [
        ('not understood at position 10: syntax error at or near "FRM"', 'syntax error at or near "FRM"', "10"),
        ("not understood at position 4: syntax error at end of input", "syntax error at end of input", "4"),
        ('not understood: syntax error at or near "x"', 'syntax error at or near "x"', None),
        ("not understood: nested too deeply", "not understood: nested too deeply", None),
    ],
)
def test_a_syntax_error_is_shown_as_the_server_would_show_it(told: str, message: str, position: str | None) -> None:
    refusal = from_verdict(Denied(Code.NOT_UNDERSTOOD, told, hint="write it in a simpler way"))
    fields = decode_notice(refusal.encode()[5:])
    assert (fields["C"], fields["M"], fields.get("P")) == ("42601", message, position)
    assert ("simpler" in fields["H"]) == message.startswith("not understood")


def test_a_ticket_is_in_the_detail(session: Conversation) -> None:
    session.client(QUERY("delete from orders"))
    session.core.hold_decided(Denied(Code.PENDING, "still waiting", ticket="tkt_9"))
    session.target(SYNTAX_ERROR, ready())
    assert b"DTicket: tkt_9\0" in session.to_client_bytes


def test_a_cancel_during_a_hold_ends_it_with_57014(session: Conversation) -> None:
    session.client(QUERY("delete from orders"), QUERY("select 2"))
    assert session.core.cancel_requested() is False
    assert session.hold_end == "client-cancelled"
    assert session.take_target()[-1] == "Query select 2", "what waited behind it goes on"
    session.target(SYNTAX_ERROR, ready(), selected("2"))
    assert session.take_client()[0].startswith("Error 57014")
    assert session.core.cancel_requested() is False, "idle: nothing to cancel"


@pytest.mark.parametrize(("value", "limit"), [("'1500'", 1.5), ("'2 min'", 120), ("0", 0), ("default", 0)])
def test_a_hold_waits_no_longer_than_the_statement_timeout_of_the_session(
    session: Conversation, value: str, limit: float
) -> None:
    session.client(QUERY(f"set statement_timeout = {value}"))
    session.target(COMPLETE("SET"), ready())
    session.client(QUERY("delete from orders"))
    assert session.hold_limit == limit
    session.core.hold_pending(PENDING)
    waits = f"waits up to {limit or PENDING.wait_seconds:.0f} s"
    assert waits.encode() in session.to_client_bytes


def test_a_hold_that_outlasts_the_statement_timeout_fails_as_the_server_would_let_it(session: Conversation) -> None:
    session.client(QUERY("delete from orders"), QUERY("select 2"))
    session.core.hold_overdue()
    assert session.hold_end == "statement-timeout"
    session.target(SYNTAX_ERROR, ready())
    assert session.take_client() == ["Error 57014 canceling statement due to statement timeout", "Ready I"]
    assert session.take_target()[-1] == "Query select 2", "what waited behind it goes on"
    session.core.hold_overdue()
    session.core.hold_decided(Denied(Code.CANCELLED, "late"))
    assert (session.take_target(), session.take_client()) == ([], [])


def test_a_cancel_of_a_running_statement_is_for_the_target(session: Conversation) -> None:
    session.client(QUERY("select pg_sleep(10)"))
    assert session.core.cancel_requested() is True


def test_a_client_that_leaves_cancels_its_hold(session: Conversation) -> None:
    session.client(QUERY("delete from orders"), m.TERMINATE)
    assert (session.hold_end, session.ended) == ("client-disconnected", "client-closed")
    session.core.hold_decided(Denied(Code.CANCELLED, "late"))
    assert session.take_target() == ["Terminate"]


def test_a_hold_waits_until_everything_before_it_is_answered(session: Conversation) -> None:
    """The transaction is then known, so that the limit for holds in transactions applies."""
    session.client(QUERY("begin"), QUERY("delete from orders"))
    assert session.operations == []
    session.target(COMPLETE("BEGIN"), ready("T"))
    assert session.operations[0].in_transaction


def test_a_dying_target_ends_the_session_during_a_hold(session: Conversation) -> None:
    session.client(QUERY("delete from orders"))
    session.core.target_closed()
    assert session.take_client() == ["Error 08006 the target closed the connection"]
    assert (session.hold_end, session.ended) == ("target-closed", "target-closed")


def test_the_last_words_of_the_target_are_passed_on(session: Conversation) -> None:
    session.client(QUERY("delete from orders"))
    session.target(error("25P03", "idle in transaction", "FATAL"))
    assert session.take_client() == ["Error 25P03 idle in transaction"]
    assert session.ended == "target-closed"


def test_notifications_pass_during_a_hold(session: Conversation) -> None:
    session.client(QUERY("delete from orders"))
    session.target(encode_notice("hello"), encode_parameter_status("TimeZone", "UTC"))
    assert len(session.take_client()) == 2


def test_an_outcome_that_nobody_saw_is_unknown(session: Conversation) -> None:
    """Invariant 6: never a second run."""
    session.client(QUERY("delete from orders"))
    session.approve()
    session.core.target_closed()
    assert session.gate.executions[0][1] == "outcome-unknown"


def test_a_changed_pin_ends_the_session(session: Conversation) -> None:
    """Invariant 13."""
    session.client(QUERY("select 1"))
    session.target(encode_parameter_status("standard_conforming_strings", "off"))
    assert session.take_client()[0].startswith("Error 57P01")
    assert session.ended == "pin-broken"


@pytest.mark.parametrize("text", ["set client_encoding = 'sjis'", "set standard_conforming_strings to off"])
def test_a_statement_against_a_pin_is_denied(session: Conversation, text: str) -> None:
    """Invariant 13."""
    session.client(QUERY(text))
    assert session.take_target() == ["Query assentry refused the statement that stood here"]
    session.target(SYNTAX_ERROR, ready())
    assert session.take_client()[0].endswith("cannot be changed in this session")


def test_a_permit_for_other_bytes_is_no_permit(session: Conversation) -> None:
    """Invariant 2: what was judged is what is sent."""
    session.gate.judge = lambda *_: Allowed(session.gate.permit(QUERY("select 2")))  # type: ignore[method-assign]
    session.client(QUERY("select 1"))
    assert session.take_target() == ["Query assentry refused the statement that stood here"]


def test_a_masked_value_that_comes_back_is_denied(session: Conversation) -> None:
    """Invariant 10."""
    session.client(QUERY("update t set a = '‹masked›' where b = 1"))
    session.target(SYNTAX_ERROR, ready())
    assert session.take_client()[0] == "Error 42501 the statement carries a masked value"


def test_text_that_is_not_utf8_is_denied(session: Conversation) -> None:
    """Invariant 3."""
    session.client(QUERY(b"select '\xff'"))
    session.target(SYNTAX_ERROR, ready())
    assert session.take_client()[0] == "Error 22021 the text is not valid UTF-8"


@pytest.mark.parametrize("payload", [b"select 1", b"select 1\0 \0", b"", b"select 1\0;"])
def test_a_query_that_is_not_one_string_ends_the_session(payload: bytes) -> None:
    """Invariant 11."""
    session = Conversation()
    session.client(encode(m.Query, payload))
    assert session.take_client()[0].startswith("Error 08P01")
    assert session.take_target() == ["Terminate"]


def test_a_function_call_is_denied(session: Conversation) -> None:
    """Invariant 3."""
    session.client(encode(m.FunctionCall, b"\0\0\0\x59"))
    assert session.take_target() == ["Query assentry refused the statement that stood here"]
    session.target(SYNTAX_ERROR, ready())
    assert session.take_client()[0].startswith("Error 42501")


def test_more_results_than_statements_end_the_session(session: Conversation) -> None:
    """Invariant 11: the target is not trusted either."""
    session.client(QUERY("select 1"))
    session.target(selected("1")[:-6], selected("2"))
    assert session.ended == "target-broke-protocol"


def test_rows_that_nobody_asked_for_end_the_session(session: Conversation) -> None:
    """Invariant 11."""
    session.target(selected("1"))
    assert session.ended == "target-broke-protocol"
    assert session.take_client()[-1].startswith("Error 08P01")


def test_termination_tells_the_client(session: Conversation) -> None:
    """Invariant 7."""
    session.client(QUERY("delete from orders"))
    session.core.terminate("terminated", "ended by an admin")
    assert session.take_client() == ["Error 57P01 ended by an admin"]
    assert session.hold_end == "terminated"


def test_only_the_limit_of_rows_is_recorded_and_the_rest_is_counted() -> None:
    session = Conversation(row_limit=2)
    session.client(QUERY("select n from t"))
    session.target(selected("1", "2", "3", "4"))
    assert session.recorder.of("completed") == [(1, "SELECT 4", 4, 2)]
    assert session.recorder.outputs(1) == selected("1", "2", tag="SELECT 4")


def test_what_waits_behind_a_hold_is_bounded() -> None:
    """Invariant 11."""
    session = Conversation(limits=Limits(backlog_bytes=100, batch_bytes=200))
    session.client(QUERY("delete from orders"))
    session.client(QUERY("select '" + "x" * 100 + "'"))
    assert session.paused
    session.client(*[QUERY("select '" + "x" * 150 + "'")] * 4)
    assert session.take_client()[0].startswith("Error 54000")


def test_a_full_recording_ends_the_session() -> None:
    session = Conversation()
    session.recorder.error = RecordingError("no space")
    session.client(QUERY("select 1"))
    assert session.take_client()[0].startswith("Error 58030")
    assert session.take_target() == ["Terminate"]
