"""A wider account inside a transaction, in which the target need not notice what is given and taken back."""

from __future__ import annotations

import pytest

from tests.data_plane.protocols.postgres.core.conversation import (
    BIND,
    BOUND,
    COMPLETE,
    EXECUTE,
    PARSE,
    PARSED,
    QUERY,
    SYNC,
    SYNTAX_ERROR,
    Conversation,
    bytewise,
    error,
    ready,
    selected,
)
from tests.data_plane.protocols.postgres.core.widened import (
    DELETE,
    OTHER,
    SELECT,
    Pieces,
    held,
    looks,
    seen,
    unseen,
    widened,
)


@pytest.fixture(params=["whole", "bytewise"])
def pieces(request: pytest.FixtureRequest) -> Pieces:
    return bytewise if request.param == "bytewise" else lambda data: iter((data,))


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
