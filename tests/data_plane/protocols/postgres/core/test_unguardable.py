"""What a row guard cannot bind: refused with the reason, and never run without it."""

from __future__ import annotations

import pytest

from tests.data_plane.protocols.postgres.core.conversation import (
    BIND,
    BOUND,
    COMPLETE,
    EXECUTE,
    FLUSH,
    PARSE,
    PARSED,
    QUERY,
    SYNC,
    SYNTAX_ERROR,
    Conversation,
    ready,
)

DELETE = "delete from t where id > 5"
BATCH = (PARSE("", DELETE), BIND("", ""), EXECUTE(""), SYNC)


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([QUERY("delete from t; delete from u")], "one statement"),
        ([QUERY("with d as (delete from t returning *) insert into u select * from d")], "another change in it"),
        ([QUERY("with d as (delete from t returning *) delete from u")], "another change in it"),
        ([QUERY("with d as (delete from t returning *) select * from d")], "can be counted"),
        ([QUERY("explain analyze delete from t")], "can be counted"),
        ([PARSE("", f"{DELETE} returning n"), BIND("", ""), EXECUTE("", 10), SYNC], "limit of rows"),
        ([PARSE("", DELETE), BIND("", ""), EXECUTE(""), FLUSH], "Sync"),
        ([PARSE("", DELETE), BIND("", ""), EXECUTE(""), EXECUTE(""), SYNC], "one statement"),
        ([PARSE("", DELETE), BIND("a", ""), BIND("", ""), EXECUTE(""), SYNC], "bound and executed once"),
    ],
)
def test_what_cannot_be_counted_is_refused_and_never_runs_without_its_guard(messages: list[bytes], why: str) -> None:
    it = Conversation()
    it.client(*messages)
    (operation,) = it.operations
    assert not operation.guardable
    it.approve(most_rows=5)
    assert it.permitted == b""
    assert all("delete" not in said and "BEGIN" not in said for said in it.take_target())
    it.target(SYNTAX_ERROR, *([] if messages[-1] == FLUSH else [ready()]))
    assert why in it.take_client()[0]
    assert it.gate.executions[0][1] == "failed"


def test_a_prepared_statement_of_sql_cannot_be_counted() -> None:
    it = Conversation()
    it.client(QUERY(f"prepare p as {DELETE}"))
    it.take_target()
    it.target(COMPLETE("PREPARE"), ready())
    it.client(QUERY("execute p"))
    assert not it.operations[-1].guardable


def test_what_can_be_counted_says_so() -> None:
    limited = PARSE("", DELETE) + BIND("", "") + EXECUTE("", 1) + SYNC
    for message in (limited, QUERY(DELETE), QUERY("with x as (select 1) delete from t using x"), b"".join(BATCH)):
        it = Conversation()
        it.client(message)
        assert it.operations[0].guardable


def test_without_a_guard_nothing_is_put_around_it() -> None:
    it = Conversation()
    it.client(QUERY(DELETE))
    it.take_target()
    it.approve()
    assert it.take_target() == [f"Query {DELETE}"]


def test_a_portal_that_was_bound_before_cannot_be_counted() -> None:
    """Binding plans already, and what is bound here is not what runs."""
    it = Conversation()
    it.client(QUERY("begin"), PARSE("s", "insert into t values (1)"), BIND("p", "s"), SYNC)
    it.target(COMPLETE("BEGIN"), ready("T"), PARSED, BOUND, ready("T"))
    it.client(PARSE("", DELETE), BIND("", ""), EXECUTE("p"), SYNC)
    assert not it.operations[-1].guardable
