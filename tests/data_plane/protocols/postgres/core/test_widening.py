"""A wider account for one approved operation: nothing of it goes out before, and nothing else while it is wider."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from data_plane.gate.interface import Code, Denied
from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.core.widening import MOVES, Stage, question
from data_plane.protocols.postgres.framing import encode
from data_plane.recording.interface import RecordingError
from tests.data_plane.protocols.postgres.core.conversation import (
    BIND,
    BOUND,
    CLOSED,
    COMPLETE,
    COPY_IN,
    DESCRIBE,
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
    bytewise,
    error,
    ready,
    selected,
)

Pieces = Callable[[bytes], Iterator[bytes]]
DELETE = "delete from t where id > 5"
BATCH = (PARSE("", DELETE), BIND("", ""), DESCRIBE(b"P", ""), EXECUTE(""), SYNC)
SELECT, OTHER = "select 1", "select 2"


@pytest.fixture(params=["whole", "bytewise"])
def pieces(request: pytest.FixtureRequest) -> Pieces:
    return bytewise if request.param == "bytewise" else lambda data: iter((data,))


def looks(it: Conversation, role: str = "app") -> bool:
    """Whether what was sent is the question of our own, and nothing else."""
    sent = it.take_target()
    if not sent:
        return False
    name = sent[0].removeprefix("Close P")
    assert name.startswith("assentry_account_")
    asked = [f"Close P{name}", f"Parse {name}:{question(role)}", f"Bind {name}:{name}", f"Execute {name}"]
    assert sent == [*asked, f"Close S{name}", "Sync"]
    return True


def seen(status: str = "I") -> bytes:
    return CLOSED + PARSED + BOUND + COMPLETE("SELECT 0") + CLOSED + ready(status)


def unseen(status: str, sqlstate: str = "22023") -> bytes:
    return CLOSED + PARSED + BOUND + error(sqlstate, "name list length must be exactly 1") + ready(status)


def held(pieces: Pieces | None = None, *messages: bytes, inside: bool = False, **options: object) -> Conversation:
    """An operation that the account may not do is approved; what it needs is asked for."""
    it = Conversation(pieces=pieces, **options)  # type: ignore[arg-type]
    it.lacking = frozenset({"write"})
    if inside:
        it.client(QUERY("begin"))
        it.target(COMPLETE("BEGIN"), ready("T"))
    it.client(*(messages or (QUERY(DELETE),)))
    assert len(it.operations) == 1
    it.take_client(), it.take_target()
    it.approve()
    return it


def widened(pieces: Pieces | None = None, *messages: bytes, inside: bool = False, **options: object) -> Conversation:
    it = held(pieces, *messages, inside=inside, **options)
    assert (it.take_target(), it.account[0].split()[0]) == ([], "widen")
    it.core.account_changed("")
    if inside:
        assert looks(it)
        it.target(seen("T"))
    return it


# ---------------------------------------------------------------- the way of an operation


def test_nothing_of_the_operation_goes_out_before_the_account_is_wider(pieces: Pieces) -> None:
    it = held(pieces)
    it.client(QUERY(SELECT))
    assert (it.account, it.take_target(), it.permitted) == (["widen write"], [], b"")
    it.core.account_changed("")
    assert it.take_target() == [f"Query {DELETE}"]


def test_nothing_else_goes_out_before_what_was_given_is_taken_back_and_the_target_has_seen_it(pieces: Pieces) -> None:
    it = widened(pieces)
    it.take_target()
    it.client(QUERY(SELECT))
    it.target(COMPLETE("DELETE 2"), ready())
    assert it.take_client() == ["Complete DELETE 2", "Ready I"], "the client need not wait for it"
    assert (it.account, it.take_target()) == (["widen write", "narrow"], [])
    assert it.gate.executions == [(QUERY(DELETE), "done", "DELETE 2")]
    it.client(QUERY(OTHER))
    it.core.account_changed("")
    assert looks(it)
    it.target(seen())
    assert it.take_target() == [f"Query {SELECT}", f"Query {OTHER}"]
    assert it.take_client() == [], "it hears nothing of what is said of our own"
    it.target(selected("1"), selected("2"))
    assert it.core.idle
    assert len(it.recorder.of("completed")) == 3


def test_an_operation_that_the_account_may_do_waits_for_nothing(pieces: Pieces) -> None:
    it = Conversation(pieces=pieces)
    it.client(QUERY(DELETE))
    it.approve()
    assert (it.account, it.take_target()) == ([], [f"Query {DELETE}"])
    it.target(COMPLETE("DELETE 2"), ready())
    assert it.core.idle


def test_what_policy_allows_is_never_asked_about() -> None:
    it = Conversation()
    it.lacking = frozenset({"read", "write", "ddl", "admin", "exec"})
    it.client(QUERY("insert into t values (1)"))
    assert it.take_target() == ["Query insert into t values (1)"]
    it.client(PARSE("", SELECT), BIND("", ""), EXECUTE(""), SYNC)
    assert not it.account
    assert not hasattr(it, "asked")


def test_all_that_the_operation_does_is_asked_for() -> None:
    it = Conversation()
    it.lacking = frozenset({"exec"})
    it.client(QUERY("with d as (delete from t returning id) select * from d; call p()"))
    it.approve()
    assert it.account == ["widen exec read write"]


def test_a_batch_answers_as_a_batch_does(pieces: Pieces) -> None:
    it = widened(pieces, *BATCH)
    assert it.take_target() == [f"Parse :{DELETE}", "Bind :", "Describe P", "Execute", "Sync"]
    it.client(*BATCH[1:])
    it.target(PARSED, BOUND, NO_DATA, COMPLETE("DELETE 2"), ready())
    assert it.take_client() == ["Parsed", "Bound", "NoData", "Complete DELETE 2", "Ready I"]
    it.core.account_changed("")
    assert looks(it)
    it.target(seen())
    assert len(it.operations) == 2, "what waited behind it is judged, and held, for itself"


def test_an_operation_that_fails_gives_the_right_back_too(pieces: Pieces) -> None:
    it = widened(pieces, *BATCH)
    it.take_target()
    it.target(PARSED, BOUND, NO_DATA, error(), ready())
    assert it.account == ["widen write", "narrow"]
    assert it.gate.executions == [(it.held_raw, "failed", "22012")]
    it.core.account_changed("")
    it.target(seen())
    assert it.core.idle


def test_copy_is_streamed_while_the_account_is_wider(pieces: Pieces) -> None:
    it = held(pieces, QUERY("delete from t; copy t from stdin"))
    it.core.account_changed("")
    it.take_target()
    it.target(COMPLETE("DELETE 1"), COPY_IN)
    it.client(encode(m.CopyData, b"1\n"), m.COPY_DONE, QUERY(SELECT))
    assert it.take_target() == ["CopyData 1\n".rstrip(), "CopyDone"], "what comes behind the data waits"
    it.target(COMPLETE("COPY 1"), ready())
    assert it.account == ["widen write", "narrow"]
    it.core.account_changed("")
    assert looks(it)
    it.target(seen())
    assert it.take_target() == [f"Query {SELECT}"]


def test_a_copy_that_fails_amid_its_data_is_over(pieces: Pieces) -> None:
    it = held(pieces, QUERY("delete from t; copy t from stdin"))
    it.core.account_changed("")
    it.target(COMPLETE("DELETE 1"), COPY_IN)
    it.client(encode(m.CopyData, b"1\n"))
    it.target(error(), ready())
    it.client(encode(m.CopyData, b"2\n"), m.COPY_DONE, QUERY(SELECT))
    it.core.account_changed("")
    it.take_target()
    it.target(seen())
    assert it.take_target() == [f"Query {SELECT}"]


def test_a_row_guard_stands_around_it(pieces: Pieces) -> None:
    it = Conversation(pieces=pieces)
    it.lacking = frozenset({"write"})
    it.client(QUERY(DELETE), QUERY(SELECT))
    it.approve(most_rows=5)
    assert it.take_target() == []
    it.core.account_changed("")
    assert it.take_target()[1] == "Parse assentry_guard:BEGIN"
    it.target(CLOSED + PARSED + BOUND + COMPLETE("BEGIN") + CLOSED + ready("T"))
    it.target(COMPLETE("DELETE 6"), ready("T"))
    assert it.account == ["widen write"], "it is not over before it is undone"
    it.take_target()
    it.target(CLOSED + PARSED + BOUND + COMPLETE("ROLLBACK") + CLOSED + ready())
    assert it.account == ["widen write", "narrow"]
    it.core.account_changed("")
    assert looks(it)
    it.target(seen())
    assert it.take_target() == [f"Query {SELECT}"]
    assert it.gate.executions[0][1] == "failed"


def test_rows_of_it_are_masked_like_any(pieces: Pieces) -> None:
    it = widened(pieces, QUERY(f"{DELETE} returning n"), masking=FakeMasking(active=True))
    it.target(selected("ada", tag="DELETE 1"))
    assert it.take_client() == ["Described", "Row *", "Complete DELETE 1", "Ready I"]


# ---------------------------------------------------------------- inside a transaction


def test_inside_a_transaction_the_target_is_made_to_look_before_the_operation_too(pieces: Pieces) -> None:
    it = held(pieces, inside=True)
    it.core.account_changed("")
    assert looks(it)
    assert it.permitted == QUERY("begin")
    it.target(seen("T"))
    assert it.take_target() == [f"Query {DELETE}"]
    it.client(QUERY(SELECT))
    it.target(COMPLETE("DELETE 2"), ready("T"))
    it.core.account_changed("")
    assert looks(it)
    it.target(seen("T"))
    assert it.take_target() == [f"Query {SELECT}"]
    assert it.take_client() == ["Complete DELETE 2", "Ready T"]


def test_a_target_that_cannot_be_made_to_look_gets_no_operation(pieces: Pieces) -> None:
    it = held(pieces, inside=True)
    it.core.account_changed("")
    it.take_target()
    it.target(unseen("E"))
    assert it.take_client() == []
    assert it.permitted == QUERY("begin")
    assert it.gate.executions[0][1] == "failed"
    assert it.gate.executions[0][2].endswith("the target did not look at what was given")
    it.target(SYNTAX_ERROR, ready("E"))
    assert it.take_client()[0].startswith("Error 42501 not run: ")
    assert it.account == ["widen write", "narrow"]
    it.core.account_changed("")
    assert it.take_target()[-1:] != ["Sync"], "a failed transaction answers nothing"
    assert it.core._phase.name == "READY"


def failed_inside(pieces: Pieces | None = None) -> Conversation:
    """An approved operation failed in a transaction, which does not know yet that the account is narrow again."""
    it = widened(pieces, inside=True)
    it.target(error(), ready("E"))
    it.core.account_changed("")
    it.take_target(), it.take_client()
    return it


@pytest.mark.parametrize(("text", "status"), [("rollback", "I"), ("rollback to a", "T"), ("rollback and chain", "T")])
def test_after_a_failed_transaction_the_target_looks_before_anything_else(
    pieces: Pieces, text: str, status: str
) -> None:
    it = failed_inside(pieces)
    it.client(QUERY(text), QUERY(SELECT))
    assert it.take_target() == [f"Query {text}"]
    it.target(COMPLETE("ROLLBACK"), ready(status))
    assert looks(it)
    assert it.take_client() == ["Complete ROLLBACK", f"Ready {status}"]
    it.target(seen(status))
    assert it.take_target() == [f"Query {SELECT}"]
    it.target(selected("1", status=status))
    it.client(QUERY(OTHER), QUERY(SELECT))
    assert it.take_target() == [f"Query {OTHER}", f"Query {SELECT}"], "from then on as ever"


def test_what_still_fails_leaves_the_transaction_to_be_ended(pieces: Pieces) -> None:
    it = failed_inside(pieces)
    for _ in range(2):
        it.client(QUERY("set search_path = a"))
        it.target(error("25P02"), ready("E"))
        it.client(PARSE("", "rollback to b"), BIND("", ""), EXECUTE(""), SYNC)
        it.target(PARSED, BOUND, error("3B001"), ready("E"))
        it.client(QUERY(SELECT))
        it.target(error("25P02"), ready("E"))
    it.take_target()
    it.client(PARSE("", "rollback"), BIND("", ""), EXECUTE(""), SYNC)
    it.take_target()
    it.target(PARSED, BOUND, COMPLETE("ROLLBACK"), ready())
    assert looks(it)
    it.target(seen())
    assert it.core.idle


def test_more_than_one_statement_at_a_time_is_refused_in_it(pieces: Pieces) -> None:
    it = failed_inside(pieces)
    it.client(QUERY(f"rollback to a; {SELECT}"))
    assert SELECT not in " ".join(it.take_target())
    it.target(SYNTAX_ERROR, ready("E"))
    assert it.take_client()[0].startswith("Error 25P02 in a transaction in which an approved operation failed")
    it.client(QUERY("rollback"))
    it.take_target()
    it.target(COMPLETE("ROLLBACK"), ready())
    assert looks(it)


def test_another_operation_is_approved_in_a_failed_transaction(pieces: Pieces) -> None:
    it = failed_inside(pieces)
    for problem in ("the target is away", ""):
        it.client(QUERY(DELETE))
        it.approve()
        it.core.account_changed(problem)
        it.target(error("25P02"), ready("E"))
    it.core.account_changed("")
    assert it.account == ["widen write", "narrow", "widen write", "widen write", "narrow"]
    it.take_target()
    it.client(QUERY("rollback"))
    it.target(COMPLETE("ROLLBACK"), ready())
    assert it.take_target()[0] == "Query rollback"
    assert not it.core.idle
    it.target(seen())
    assert it.core.idle


# ---------------------------------------------------------------- what goes wrong


def test_what_cannot_be_had_is_refused_and_the_approval_is_spent(pieces: Pieces) -> None:
    it = held(pieces)
    it.client(QUERY(SELECT))
    it.core.account_changed("the agent may not grant shop_write")
    assert DELETE not in " ".join(it.take_target())
    assert it.gate.executions == [(QUERY(DELETE), "failed", "not run: the agent may not grant shop_write")]
    it.target(SYNTAX_ERROR, ready())
    assert it.take_client()[0].startswith("Error 42501 not run: it was approved, and it needs rights that")
    assert it.account == ["widen write"], "there is nothing to take back"
    ((number, effect, code, message),) = it.recorder.of("decided")
    assert (number, effect, code) == (1, "deny", "unavailable")
    assert "shop_write" not in message, "that is for the operator"
    it.target(selected("1"))
    assert it.core.idle


def test_what_is_not_taken_back_ends_the_session(pieces: Pieces) -> None:
    it = widened(pieces)
    it.target(COMPLETE("DELETE 2"), ready())
    it.client(QUERY(SELECT))
    it.take_client(), it.take_target()
    it.core.account_changed("the target is away")
    assert it.ended == "account-kept"
    assert it.take_target() == ["Terminate"]
    assert it.take_client() == ["Error 57P01 the session's account could not be made narrow again"]


def test_a_role_that_was_taken_on_with_the_wider_right_ends_the_session(pieces: Pieces) -> None:
    it = widened(pieces)
    it.target(COMPLETE("DELETE 2"), ready())
    it.client(QUERY(SELECT))
    it.core.account_changed("")
    it.take_target(), it.take_client()
    for _ in range(3):
        assert not it.ended
        it.target(unseen("I"))
    assert it.ended == "role-kept"
    assert it.take_client() == ["Error 57P01 the session has taken on a role that it may not keep"]
    assert SELECT not in " ".join(it.take_target())


def test_a_request_to_cancel_that_reaches_our_own_question_is_survived(pieces: Pieces) -> None:
    it = widened(pieces)
    it.target(COMPLETE("DELETE 2"), ready())
    it.core.account_changed("")
    it.take_client(), it.take_target()
    it.target(unseen("I", "57014"))
    assert looks(it)
    it.target(seen())
    assert it.take_client() == []
    assert it.core.idle


def test_a_role_that_policy_let_the_session_take_on_is_the_one_that_is_looked_for(pieces: Pieces) -> None:
    it = Conversation(pieces=pieces)
    it.lacking = frozenset({"write"})
    it.client(QUERY("set role auditor"))
    it.target(COMPLETE("SET"), ready())
    it.client(QUERY(DELETE))
    it.approve()
    it.core.account_changed("")
    it.target(COMPLETE("DELETE 2"), ready())
    it.take_target()
    it.core.account_changed("")
    assert looks(it, "auditor")


def test_a_role_with_quotes_in_its_name_stays_one_value() -> None:
    assert "'o''brien'::pg_catalog.name" in question("o'brien")


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ((PARSE("", DELETE), BIND("", ""), EXECUTE(""), FLUSH), "it does not end with Sync"),
        ((QUERY(f"{DELETE}; set role owner"),), "a role that only this operation may use cannot be kept"),
        ((QUERY(f"{DELETE}; select set_config('role', 'owner', false)"),), "a role that only this operation"),
        (
            (PARSE("", DELETE), BIND("", ""), EXECUTE(""), PARSE("", "copy t from stdin"), BIND("", ""), EXECUTE(""), SYNC),
            "COPY FROM STDIN must be sent as a simple query",
        ),
    ],
)  # fmt: skip
def test_what_could_use_the_right_later_in_its_transaction_is_refused(
    pieces: Pieces, messages: tuple[bytes, ...], why: str
) -> None:
    it = held(pieces, *messages)
    assert (it.account, it.permitted) == ([], b"")
    ((_, outcome, detail),) = it.gate.executions
    assert outcome == "failed"
    assert why in detail
    it.target(SYNTAX_ERROR, *([ready()] if messages[-1] != FLUSH else []))
    assert why in it.take_client()[0]


def test_what_has_changed_while_the_account_was_widened_is_not_run(pieces: Pieces) -> None:
    it = held(pieces)
    it.gate.changed = Denied(Code.WITHDRAWN, "policy changed while it waited")
    it.core.account_changed("")
    assert it.permitted == b""
    assert it.gate.executions == [(QUERY(DELETE), "failed", "not run: policy changed while it waited")]
    it.target(SYNTAX_ERROR, ready())
    assert it.take_client()[0] == "Error 42501 policy changed while it waited"
    assert it.account == ["widen write", "narrow"]


# ---------------------------------------------------------------- who gives up meanwhile


@pytest.mark.parametrize("inside", [False, True])
def test_an_operation_that_is_cancelled_while_the_account_is_widened_is_not_run(pieces: Pieces, inside: bool) -> None:
    it = held(pieces, inside=inside)
    assert it.core.cancel_requested() is False
    assert it.take_target() == []
    it.core.account_changed("")
    if inside:
        assert it.core.cancel_requested() is False
        it.target(seen("T"))
    assert DELETE not in " ".join(it.take_target())
    it.target(SYNTAX_ERROR, ready("E" if inside else "I"))
    assert it.take_client()[0] == "Error 57014 canceling statement due to user request"
    assert it.account == ["widen write", "narrow"]
    assert it.gate.executions[0][1] == "failed"


def test_what_is_cancelled_and_could_not_be_had_either_is_cancelled(pieces: Pieces) -> None:
    it = held(pieces)
    it.core.cancel_requested()
    it.core.account_changed("the target is away")
    it.target(SYNTAX_ERROR, ready())
    assert it.take_client()[0].startswith("Error 57014")
    assert it.account == ["widen write"]
    assert it.core.idle


def test_a_request_to_cancel_the_running_operation_goes_to_the_target_and_none_later() -> None:
    it = widened()
    assert it.core.cancel_requested() is True
    it.target(error("57014"), ready())
    assert it.core.cancel_requested() is False
    it.core.account_changed("")
    assert it.core.cancel_requested() is False
    it.target(seen())
    assert it.core.idle


@pytest.mark.parametrize("goodbye", ["closed", "terminate", "policy"])
def test_nothing_runs_for_a_session_that_has_ended_while_its_account_was_widened(pieces: Pieces, goodbye: str) -> None:
    it = held(pieces)
    if goodbye == "closed":
        it.core.client_closed()
    elif goodbye == "terminate":
        it.client(QUERY(SELECT), m.TERMINATE)
    else:
        it.core.terminate("policy", "the session may not go on")
    assert it.ended == ("policy" if goodbye == "policy" else "client-closed")
    it.core.account_changed("")
    assert it.permitted == b""
    assert it.take_target() == ["Terminate"]
    ((_, outcome, detail),) = it.gate.executions
    assert (outcome, detail.startswith("not run: ")) == ("failed", True)


@pytest.mark.parametrize("stage", [Stage.SHOWN, Stage.RUNNING, Stage.RETURNED, Stage.CHECKED])
def test_a_client_that_goes_away_later_leaves_no_doubt_about_what_ran(stage: Stage) -> None:
    it = held(inside=True)
    steps: list[Callable[[], None]] = [
        lambda: it.core.account_changed(""),
        lambda: it.target(seen("T")),
        lambda: it.target(COMPLETE("DELETE 2"), ready("T")),
        lambda: it.core.account_changed(""),
    ]
    while it.core._widening.stage is not stage:
        steps.pop(0)()
    it.core.client_closed()
    while steps and not it.ended:
        steps.pop(0)()
    if not it.ended:
        it.target(seen("T"))
    assert it.ended == "client-closed"
    ((_, outcome, detail),) = it.gate.executions
    expected = ("failed", "not run: client-closed") if stage is Stage.SHOWN else ("done", "DELETE 2")
    assert (outcome, detail) == expected


def test_the_target_dies_while_the_account_is_wider(pieces: Pieces) -> None:
    it = widened(pieces)
    it.core.target_closed()
    assert it.gate.executions == [(QUERY(DELETE), "outcome-unknown", "target-closed")]
    it = held(pieces)
    it.core.target_closed()
    assert it.gate.executions == [(QUERY(DELETE), "failed", "not run: target-closed")]


def test_a_recording_that_breaks_meanwhile_ends_the_session(pieces: Pieces) -> None:
    it = held(pieces)

    def broken(*_: object) -> None:
        raise RecordingError("the disk is full")

    it.recorder.decided = broken  # type: ignore[method-assign, assignment]
    it.core.account_changed("no")
    assert it.ended == "recording-failed"


def test_an_account_that_changes_for_nothing_is_an_error() -> None:
    it = Conversation()
    it.core.account_changed("")
    assert it.ended


def test_every_stage_can_be_left_and_reached() -> None:
    reached = {following for followings in MOVES.values() for following in followings}
    assert reached == set(Stage) == set(MOVES)
    assert all(MOVES.values())
