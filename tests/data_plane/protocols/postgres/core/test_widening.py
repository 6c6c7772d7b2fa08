"""A wider account for one approved operation: nothing of it goes out before, and nothing else while it is wider."""

from __future__ import annotations

import pytest

from data_plane.gate.interface import Code, Denied
from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.core.widening import question
from data_plane.protocols.postgres.framing import encode
from tests.data_plane.protocols.postgres.core.conversation import (
    BIND,
    BOUND,
    CLOSED,
    COMPLETE,
    COPY_IN,
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
from tests.data_plane.protocols.postgres.core.widened import (
    BATCH,
    DELETE,
    OTHER,
    SELECT,
    Pieces,
    forgotten,
    held,
    looks,
    seen,
    unseen,
    widened,
)


@pytest.fixture(params=["whole", "bytewise"])
def pieces(request: pytest.FixtureRequest) -> Pieces:
    return bytewise if request.param == "bytewise" else lambda data: iter((data,))


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


def test_what_is_temporary_is_made_by_the_account_as_it_is() -> None:
    it = Conversation()
    it.client(
        QUERY("create temp table mine as with d as (delete from t returning n) select * from d; create table t ()")
    )
    it.approve()
    assert it.asked == {"read", "write", "ddl"}
    it = Conversation()
    it.client(QUERY("create temp table mine as with d as (delete from t returning n) select * from d"))
    it.approve()
    assert it.asked == {"read", "write"}


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
    assert len(it.gate.executions) == 1, "its outcome is told once"
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


def test_a_request_to_cancel_that_keeps_the_target_from_forgetting_its_plans_is_survived(pieces: Pieces) -> None:
    it = widened(pieces)
    it.target(COMPLETE("DELETE 2"), ready())
    it.core.account_changed("")
    it.take_client(), it.take_target()
    asked = seen().removeprefix(forgotten())
    it.target(CLOSED + PARSED + BOUND + error("57014", "canceled") + ready(), asked)
    assert looks(it), "an answer to the question alone is not enough"
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
        ((PARSE("", DELETE), BIND("", ""), EXECUTE(""), FLUSH), "it ends with Flush: send a simple query, or Sync in place of Flush"),
        ((QUERY(f"{DELETE}; set role owner"),), "a role that only this operation may use cannot be kept"),
        ((QUERY(f"{DELETE}; select set_config('role', 'owner', false)"),), "a role that only this operation"),
        ((QUERY(f"{DELETE}; select lo_open(1, 131072)"),), "a large object that only this operation may use"),
        ((QUERY(f"prepare o as select pg_catalog.lo_open(1, 131072); {DELETE}; execute o"),), "a large object that"),
        (
            (PARSE("", DELETE), BIND("", ""), EXECUTE(""), PARSE("", "copy t from stdin"), BIND("", ""), EXECUTE(""), SYNC),
            "COPY FROM STDIN must be sent as a simple query",
        ),
    ],
)  # fmt: skip
def test_what_could_use_the_right_later_in_its_transaction_is_refused_and_nobody_is_asked(
    pieces: Pieces, messages: tuple[bytes, ...], why: str
) -> None:
    it = Conversation(pieces=pieces)
    it.lacking = frozenset({"write"})
    it.client(*messages)
    assert (it.operations, it.account, it.permitted) == ([], [], b"")
    it.target(SYNTAX_ERROR, *([ready()] if messages[-1] != FLUSH else []))
    assert why in it.take_client()[0]
    assert it.recorder.of("decided")[-1][1] == "deny"


def test_the_same_is_asked_about_where_the_account_is_wide_enough() -> None:
    it = Conversation()
    it.client(QUERY(f"{DELETE}; set role owner"))
    assert len(it.operations) == 1
    it.lacking = frozenset({"write"})
    it.approve()
    assert it.permitted == b"", "it has become too narrow meanwhile"
    it = Conversation()
    it.client(QUERY(f"{DELETE}; set role owner"))
    it.approve()
    assert it.permitted


def test_what_has_changed_while_the_account_was_widened_is_not_run(pieces: Pieces) -> None:
    it = held(pieces)
    it.gate.changed = Denied(Code.WITHDRAWN, "policy changed while it waited")
    it.core.account_changed("")
    assert it.permitted == b""
    assert it.gate.executions == [(QUERY(DELETE), "failed", "not run: policy changed while it waited")]
    it.target(SYNTAX_ERROR, ready())
    assert it.take_client()[0] == "Error 42501 policy changed while it waited"
    assert it.account == ["widen write", "narrow"]
