"""What policy would not allow by a catalogue that is stale waits, once, for the load that is due."""

from __future__ import annotations

import pytest

from tests.data_plane.protocols.postgres.core.conversation import (
    BIND,
    EXECUTE,
    PARSE,
    QUERY,
    SYNC,
    SYNTAX_ERROR,
    Conversation,
    ready,
)

NOT_ALLOWED = "select zap(1)"
HELD = "delete from orders"


def stale(masks: tuple[str, ...] = ()) -> Conversation:
    talk = Conversation(masks=masks)
    talk.names.stale = True
    return talk


def load(talk: Conversation, *, stale: bool = False) -> None:
    talk.names.stale = stale
    waiting, talk.names.waiting = talk.names.waiting, []
    for tell in waiting:
        tell()


@pytest.mark.parametrize("still_stale", [False, True])
def test_a_statement_is_judged_behind_the_load(still_stale: bool) -> None:
    talk = stale()
    talk.client(QUERY(NOT_ALLOWED))
    assert (talk.take_target(), talk.gate.judged) == ([], [])
    load(talk, stale=still_stale)
    assert [number for number, *_ in talk.gate.judged] == [1]
    assert talk.names.waiting == []


def test_what_stands_behind_it_waits_too_and_keeps_its_order() -> None:
    talk = stale()
    talk.client(QUERY(NOT_ALLOWED), QUERY("select 1"))
    load(talk)
    poison, *rest = talk.take_target()
    assert "assentry refused" in poison
    assert rest == ["Query select 1"]


def test_a_batch_waits_whole() -> None:
    talk = stale()
    talk.client(PARSE("", NOT_ALLOWED), BIND("", ""), EXECUTE(""), SYNC)
    assert talk.take_target() == []
    load(talk)
    assert len(talk.gate.judged) == 1


@pytest.mark.parametrize("statement", ["select 1", "create table t (a int)", "insert into t values (1)"])
def test_what_is_allowed_does_not_wait(statement: str) -> None:
    talk = stale()
    talk.client(QUERY(statement))
    assert talk.take_target() == [f"Query {statement}"]


@pytest.mark.parametrize(
    ("statement", "waits"),
    [("select 1", True), ("create table s as select a from t", True), ("delete from t returning a", True),
     ("create table t (a int)", False), ("insert into t values (1)", False), ("begin", False)],
)  # fmt: skip
def test_what_a_mask_may_hide_for_want_of_the_load_waits(statement: str, waits: bool) -> None:
    talk = stale(masks=("pii",))
    talk.client(QUERY(statement))
    assert bool(talk.names.waiting) is waits
    assert bool(talk.take_target()) is not waits


def test_a_client_that_leaves_is_not_waited_for() -> None:
    talk = stale()
    talk.client(QUERY(NOT_ALLOWED))
    talk.core.client_closed()
    assert talk.ended == "client-closed"
    load(talk)
    assert talk.gate.judged == []


def test_a_catalogue_that_is_not_stale_is_not_waited_for() -> None:
    talk = Conversation()
    talk.client(QUERY(NOT_ALLOWED))
    assert talk.names.waiting == []
    assert talk.gate.judged


@pytest.mark.parametrize("statement", [NOT_ALLOWED, HELD, "select 1"])
def test_a_cancel_ends_the_wait_and_nothing_runs(statement: str) -> None:
    talk = stale(masks=("pii",))
    talk.client(QUERY(statement), QUERY("begin"))
    assert talk.take_target() == []
    assert talk.core.cancel_requested() is False
    poison, behind = talk.take_target()
    assert ("refused" in poison, behind) == (True, "Query begin")
    talk.target(SYNTAX_ERROR, ready())
    assert talk.take_client()[0].startswith("Error 57014")
    load(talk)
    assert talk.take_target() == []


def test_a_load_that_was_waited_for_before_a_cancel_does_not_end_the_next_wait() -> None:
    talk = stale()
    talk.client(QUERY(NOT_ALLOWED))
    assert talk.core.cancel_requested() is False
    talk.target(SYNTAX_ERROR, ready())
    talk.client(QUERY(NOT_ALLOWED))
    earlier, later = talk.names.waiting
    earlier()
    assert talk.gate.judged == []
    later()
    assert [number for number, *_ in talk.gate.judged] == [2]
