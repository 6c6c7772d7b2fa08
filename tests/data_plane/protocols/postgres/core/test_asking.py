"""What people are told of a held unit: which others have its shape, and what the client says it is for."""

from __future__ import annotations

import struct

import pytest

from data_plane.gate.interface import Operation
from tests.data_plane.protocols.postgres.core.conversation import (
    BIND,
    COMPLETE,
    EXECUTE,
    PARSE,
    QUERY,
    SYNC,
    Conversation,
    ready,
)


def held(*messages: bytes, before: tuple[bytes, ...] = (), status: str = "I") -> Operation:
    talk = Conversation()
    for said in before:
        talk.client(said)
        talk.target(COMPLETE("SET") + ready(status))
    talk.client(*messages)
    return talk.operations[-1]


def deletes(text: str = "DELETE FROM t WHERE id = 1", **named: object) -> Operation:
    return held(QUERY(text), **named)  # type: ignore[arg-type]


def bound(value: bytes | None, types: tuple[int, ...] = (23,)) -> bytes:
    return PARSE("", "DELETE FROM t WHERE id = $1", types) + BIND("", "", [value]) + EXECUTE("") + SYNC


def test_statements_that_differ_in_a_value_have_one_shape_and_different_digests() -> None:
    one, other = deletes(), deletes("DELETE FROM t WHERE id = 2")
    assert one.shape == other.shape
    assert len(one.shape) == 32
    assert one.shape_text == "DELETE FROM t WHERE id = ‹value›"
    assert one.digest != other.digest


def test_the_shape_of_an_operation_is_never_its_digest() -> None:
    assert deletes().shape != deletes().digest


@pytest.mark.parametrize(
    "other",
    [
        deletes("DELETE FROM u WHERE id = 1"),
        deletes(before=(QUERY("SET search_path = evil"),)),
        deletes(before=(QUERY("SET work_mem = '1MB'"),)),
        deletes(before=(QUERY("BEGIN"),), status="T"),
        held(bound(b"1")),
    ],
)
def test_another_statement_or_another_state_of_the_session_is_another_shape(other: Operation) -> None:
    assert other.shape
    assert other.shape != deletes().shape


def test_bound_values_may_differ_but_not_their_types_nor_whether_they_are_null() -> None:
    one = held(bound(b"1"))
    assert one.shape == held(bound(b"2")).shape
    assert one.shape != held(bound(None)).shape
    assert one.shape != held(bound(b"1", (20,))).shape


def test_a_statement_that_was_prepared_before_has_the_shape_of_one_that_is_prepared_along() -> None:
    talk = Conversation()
    talk.client(PARSE("p", "DELETE FROM t WHERE id = $1", (23,)) + SYNC)
    talk.target(b"1" + struct.pack("!I", 4) + ready())
    talk.client(BIND("", "p", [b"7"]) + EXECUTE("") + SYNC)
    assert talk.operations[-1].shape == held(bound(b"1")).shape


@pytest.mark.parametrize(
    "said",
    [
        QUERY("DELETE FROM t WHERE id = 1; DELETE FROM t WHERE id = 2"),
        QUERY("BEGIN; DELETE FROM t WHERE id = 1"),
        QUERY("SET a.b = 1; DELETE FROM t WHERE id = 1"),
        bound(b"1")[: -len(SYNC)] + BIND("", "", [b"2"]) + EXECUTE("") + SYNC,
        PARSE("p", "SELECT 1") + bound(b"1"),
        QUERY("WITH d AS (DELETE FROM t WHERE id = 1 RETURNING *) SELECT unheard_of(d.id) FROM d"),
    ],
)
def test_more_than_one_statement_and_what_is_not_known_have_no_shape(said: bytes) -> None:
    talk = Conversation()
    talk.client(said)
    for operation in talk.operations:
        assert (operation.shape, operation.shape_text) == (b"", "")


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ((), ""),
        ((QUERY("SET assentry.reason = 'ticket 7'"),), "ticket 7"),
        ((QUERY("SET assentry.reason TO 'a'"), QUERY("RESET assentry.reason")), ""),
        ((QUERY("SELECT set_config('assentry.reason', 'b', false)"),), "b"),
        ((QUERY("SET assentry.reason = 'a'"), QUERY("SET assentry.reason = 'b'")), "b"),
        ((QUERY("SET assentry.reason = 'a'"), QUERY("DISCARD ALL")), ""),
    ],
)
def test_the_client_says_why_by_a_parameter_of_its_session(before: tuple[bytes, ...], reason: str) -> None:
    operation = deletes(before=before)
    assert operation.reason == reason
    assert (operation.digest, operation.shape) == (deletes().digest, deletes().shape)


def test_a_reason_in_the_same_query_counts_too() -> None:
    assert deletes("SET assentry.reason = 'why'; DELETE FROM t WHERE id = 1").reason == "why"


def test_a_reason_that_is_too_long_says_how_much_is_missing() -> None:
    assert (
        deletes(before=(QUERY(f"SET assentry.reason = '{'x' * 1200}'"),)).reason
        == "x" * 1000 + " … and 200 more characters"
    )
