"""COPY in both directions."""

from __future__ import annotations

import pytest

from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.framing import encode
from tests.data_plane.protocols.postgres.core.conversation import (
    BIND,
    BOUND,
    COMPLETE,
    COPY_IN,
    COPY_OUT,
    EXECUTE,
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

DATA, DONE = m.encode_copy_data, m.COPY_DONE


@pytest.fixture(params=[pytest.param(None, id="whole"), pytest.param(bytewise, id="byte by byte")])
def session(request: pytest.FixtureRequest) -> Conversation:
    return Conversation(pieces=request.param)


def test_data_streams_to_an_allowed_copy(session: Conversation) -> None:
    session.client(QUERY("copy t from stdin"))
    session.target(COPY_IN)
    session.client(DATA(b"1\n"), DATA(b"2\n"), DONE)
    assert session.take_target() == ["Query copy t from stdin", "CopyData 1", "CopyData 2", "CopyDone"]
    session.target(COMPLETE("COPY 2"), ready())
    assert session.take_client() == ["CopyIn", "Complete COPY 2", "Ready I"]
    assert session.recorder.of("input")[1][1].startswith("COPY data: 4 bytes, SHA-256 ")
    session.client(QUERY("select 1"))
    assert session.take_target() == ["Query select 1"]


def test_data_that_comes_early_waits_for_its_copy(session: Conversation) -> None:
    session.client(QUERY("copy t from stdin"), DATA(b"1\n"), DONE, QUERY("select 1"))
    assert session.take_target() == ["Query copy t from stdin"]
    session.target(COPY_IN)
    assert session.take_target() == ["CopyData 1", "CopyDone"]
    session.target(COMPLETE("COPY 1"), ready())
    assert session.take_target() == ["Query select 1"]


def test_data_that_comes_early_keeps_its_order(session: Conversation) -> None:
    """Also where the COPY itself had to wait."""
    session.client(QUERY("create table t (a int)"), QUERY("copy t from stdin"))
    session.client(DATA(b"1\n"), DATA(b"2\n"), DONE, QUERY("select 1"))
    session.target(COMPLETE("CREATE TABLE"), ready())
    session.take_target()
    session.target(COPY_IN)
    assert session.take_target() == ["CopyData 1", "CopyData 2", "CopyDone"]
    session.target(COMPLETE("COPY 2"), ready())
    assert session.take_target() == ["Query select 1"]


def test_copy_by_the_extended_protocol_ignores_the_sync_that_came_along(session: Conversation) -> None:
    session.client(PARSE("", "copy t from stdin"), BIND("", ""), EXECUTE(""), SYNC)
    session.take_target()
    session.target(PARSED, BOUND, COPY_IN)
    session.client(DATA(b"1\n"), DONE, SYNC)
    assert session.take_target() == ["CopyData 1", "CopyDone", "Flush"], "Sync waits for the outcome"
    session.target(COMPLETE("COPY 1"))
    assert session.take_target() == ["Sync"]
    session.target(ready())
    assert session.take_client() == ["Parsed", "Bound", "CopyIn", "Complete COPY 1", "Ready I"]


def test_a_copy_that_fails_at_the_target_drops_what_is_on_its_way(session: Conversation) -> None:
    session.client(QUERY("copy t from stdin"))
    session.target(COPY_IN)
    session.client(DATA(b"x\n"))
    session.target(error("22P02", "invalid"), ready())
    session.client(DATA(b"y\n"), DONE, QUERY("select 1"))
    assert session.take_target() == ["Query copy t from stdin", "CopyData x", "Query select 1"]


def test_a_failed_copy_of_the_extended_protocol_skips_to_sync(session: Conversation) -> None:
    session.client(PARSE("", "copy t from stdin"), BIND("", ""), EXECUTE(""), SYNC)
    session.target(PARSED, BOUND, COPY_IN, error("22P02", "invalid"))
    session.take_target()
    session.client(DATA(b"y\n"), DONE, SYNC)
    assert session.take_target() == ["Sync"]
    session.target(ready())
    assert session.take_client()[-1] == "Ready I"


def test_a_client_may_fail_its_copy(session: Conversation) -> None:
    session.client(QUERY("copy t from stdin"))
    session.target(COPY_IN)
    session.client(m.encode_copy_fail("changed my mind"))
    session.target(error("57014", "COPY from stdin failed"), ready())
    assert session.take_client()[-2:] == ["Error 57014 COPY from stdin failed", "Ready I"]


def test_a_masked_value_in_the_data_fails_the_copy(session: Conversation) -> None:
    """Invariant 10, also when the mark is cut by the border of two pieces."""
    session.client(QUERY("copy t from stdin"))
    session.target(COPY_IN)
    mark = "‹masked›".encode()
    session.client(DATA(b"a\t" + mark[:4]), DATA(mark[4:] + b"\n"), DATA(b"b\n"), DONE)
    sent = session.take_target()
    assert sent[1].startswith("CopyData a")
    assert sent[2:] == ["CopyFail the statement carries a masked value"]
    session.target(error("57014", "COPY from stdin failed"), ready())
    assert session.take_client()[-2] == "Error 42501 the statement carries a masked value"


def test_a_query_while_a_copy_expects_data_ends_the_session(session: Conversation) -> None:
    session.client(QUERY("copy t from stdin"))
    session.target(COPY_IN)
    session.client(QUERY("select 1"))
    assert session.take_client()[-1].startswith("Error 08P01")
    assert session.take_target() == ["Query copy t from stdin", "Terminate"]


def test_a_query_that_turns_out_to_stand_where_data_is_expected_ends_the_session(session: Conversation) -> None:
    session.client(QUERY("copy t from stdin"), QUERY("select 1"))
    session.target(COPY_IN)
    assert session.take_client()[-1].startswith("Error 08P01")


def test_a_batch_that_was_begun_where_data_is_expected_ends_the_session(session: Conversation) -> None:
    """A server fails the COPY at the Parse; here it would be sent behind the data."""
    session.client(QUERY("copy t from stdin"), PARSE("x", "select 1"), DATA(b"1\n"), DONE, SYNC)
    session.target(COPY_IN)
    assert session.ended == "client-broke-protocol"
    assert "Parse x:select 1" not in session.take_target()


def test_nothing_may_follow_a_copy_in_its_batch(session: Conversation) -> None:
    session.client(PARSE("", "copy t from stdin"), BIND("", ""), EXECUTE(""), EXECUTE(""), SYNC)
    session.target(SYNTAX_ERROR, ready())
    assert session.take_client()[0].startswith("Error 0A000")


def test_copy_out_passes_and_is_recorded_to_its_limit() -> None:
    session = Conversation(row_limit=2)
    session.client(QUERY("copy t to stdout"))
    pieces = [DATA(f"{n}\n".encode()) for n in range(4)]
    session.target(COPY_OUT, *pieces, DONE, COMPLETE("COPY 4"), ready())
    assert session.take_client()[:6] == [
        "CopyOut",
        "CopyData 0",
        "CopyData 1",
        "CopyData 2",
        "CopyData 3",
        "CopyDone",
    ]
    assert session.recorder.of("completed") == [(1, "COPY 4", 4, 2)]
    assert session.recorder.outputs(1).count(b"\n") == 2


def test_copy_out_is_masked(session: Conversation) -> None:
    """Invariant 10."""
    masked = Conversation(masking=FakeMasking(active=True), pieces=session.pieces)
    masked.client(QUERY("copy t to stdout"))
    masked.target(COPY_OUT, DATA(b"alice\n"), DATA(b"bob\n"), DONE, COMPLETE("COPY 2"), ready())
    assert masked.take_client() == ["CopyOut", "CopyData *", "CopyData *", "CopyDone", "Complete COPY 2", "Ready I"]
    assert b"alice" not in masked.recorder.outputs(1)


def test_a_row_of_copy_that_cannot_be_masked_ends_the_session(session: Conversation) -> None:
    """Invariant 10: the client must not take what it has for the whole."""
    masked = Conversation(masking=FakeMasking(active=True), pieces=session.pieces)
    masked.client(QUERY("copy t to stdout"))
    masked.target(COPY_OUT, DATA(b"alice\n"), DATA(b"unreadable\n"))
    assert masked.ended == "target-broke-protocol"
    told = masked.take_client()
    assert told[-1] == "Error 08P01 the target broke the protocol: a row of COPY that cannot be masked"
    assert not any("alice" in message or "unreadable" in message for message in told)


@pytest.mark.parametrize("answer", [COPY_IN, COPY_OUT, encode(m.CopyBothResponse, b"\0\0\0")])
def test_a_copy_that_nobody_asked_for_ends_the_session(session: Conversation, answer: bytes) -> None:
    """Invariant 11: a hostile target cannot make the client send or take data."""
    session.client(QUERY("select 1"))
    session.target(answer)
    assert session.ended == "target-broke-protocol"


@pytest.mark.parametrize(("text", "answer"), [("copy t to stdout", COPY_IN), ("copy t from stdin", COPY_OUT)])
def test_a_copy_in_the_other_direction_ends_the_session(session: Conversation, text: str, answer: bytes) -> None:
    """Invariant 11."""
    session.client(QUERY(text))
    session.target(answer)
    assert session.ended == "target-broke-protocol"


def test_two_copies_in_one_query(session: Conversation) -> None:
    session.client(QUERY("copy t from stdin; copy u from stdin; select 1"))
    for _ in range(2):
        session.target(COPY_IN)
        session.client(DATA(b"1\n"), DONE)
        session.target(COMPLETE("COPY 1"))
    session.target(selected("1"))
    assert session.take_client()[-2:] == ["Complete SELECT 1", "Ready I"]
