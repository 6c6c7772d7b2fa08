"""Which held operations a plan covers, and why it does not cover the others."""

from __future__ import annotations

import msgspec
import pytest

from control_plane.approvals.coverage import expected_state, item_of
from control_plane.approvals.reports import Parameter, ReportedOperation
from control_plane.approvals.shown import Plan
from tests.control_plane.world import operation_of

FIRST, SECOND = "DELETE FROM orders WHERE id = 1", "UPDATE orders SET paid = true WHERE id = 2"
STATE = (
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "Etc/UTC"),
    ("client_encoding", "UTF8"),
    ("database", "shop"),
    ("role", "none"),
    ("search_path", "shop_agent, public"),
    ("standard_conforming_strings", "on"),
    ("user", "shop_agent"),
)
PLAN = Plan((FIRST, SECOND, FIRST), ordered=False, session_state=expected_state("postgres", "shop", {}))
ORDERED = msgspec.structs.replace(PLAN, ordered=True)


def asked(text: str, **state: str) -> ReportedOperation:
    now = tuple(sorted({**dict(STATE), **state}.items()))
    return operation_of(text=text, raw=frame(b"Q", text.encode() + b"\0"), session_state=now)


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    return kind + (len(payload) + 4).to_bytes(4) + payload


def test_a_session_with_an_account_of_its_own_tells_no_name_of_it() -> None:
    told = {**dict(STATE), "search_path": "$user, public"}
    del told["user"]
    operation = msgspec.structs.replace(asked(FIRST), session_state=tuple(sorted(told.items())))
    assert item_of(PLAN, (), operation) == 1
    other = msgspec.structs.replace(operation, session_state=tuple(sorted({**told, "role": "owner"}.items())))
    assert "role" in str(item_of(PLAN, (), other))


PARSE, BIND, EXECUTE, SYNC = (frame(kind) for kind in (b"P", b"B", b"E", b"S"))


def test_an_equal_operation_is_the_first_unused_statement_of_its_text() -> None:
    assert item_of(PLAN, (), asked(FIRST)) == 1
    assert item_of(PLAN, {1}, asked(FIRST)) == 3
    assert item_of(PLAN, (), asked(SECOND)) == 2
    assert "none of those that are left" in str(item_of(PLAN, {1, 3}, asked(FIRST)))


@pytest.mark.parametrize("text", [f"{FIRST};", f"\n {FIRST} ;\n", f"{FIRST};;"])
def test_blanks_and_semicolons_at_the_ends_mean_nothing(text: str) -> None:
    assert item_of(PLAN, (), asked(text)) == 1


@pytest.mark.parametrize("blank", ["\u00a0", "\u2003", "\u3000", "\u0085", "\x1c", "\u2028"])
def test_what_only_looks_like_a_blank_is_part_of_a_name(blank: str) -> None:
    """DELETE FROM orders, with a no-break space behind it, is for another table to a server."""
    plan = msgspec.structs.replace(PLAN, statements=("DELETE FROM orders",))
    assert item_of(plan, (), asked("DELETE FROM orders ")) == 1
    for text in (f"DELETE FROM orders{blank}", f"DELETE FROM orders{blank};", f"{blank}DELETE FROM orders"):
        assert "text" in str(item_of(plan, (), asked(text)))


@pytest.mark.parametrize("text", [f"{FIRST} OR true", FIRST.lower(), f"{FIRST} -- x", f"{FIRST}; {SECOND}", ""])
def test_any_other_text_is_not_covered(text: str) -> None:
    assert "text" in str(item_of(PLAN, (), asked(text)))


def test_an_ordered_plan_covers_only_what_comes_next() -> None:
    assert item_of(ORDERED, (), asked(SECOND)) == "the plan is ordered and number 1 comes first"
    assert item_of(ORDERED, (), asked(FIRST)) == 1
    assert item_of(ORDERED, {1}, asked(SECOND)) == 2
    assert item_of(ORDERED, {1, 2}, asked(FIRST)) == 3


def test_parameters_are_never_covered() -> None:
    operation = msgspec.structs.replace(asked(FIRST), parameters=(Parameter("$1", "int4", "1"),))
    assert "parameters" in str(item_of(PLAN, (), operation))


def test_a_batch_that_runs_the_statement_once_is_covered() -> None:
    batch = PARSE + BIND + frame(b"D", b"P\0") + EXECUTE + SYNC
    assert item_of(PLAN, (), msgspec.structs.replace(asked(FIRST), raw=batch)) == 1
    assert item_of(PLAN, (), msgspec.structs.replace(asked(FIRST), raw=BIND + EXECUTE + SYNC)) == 1


@pytest.mark.parametrize(
    "raw",
    [
        PARSE + BIND + EXECUTE + BIND + EXECUTE + SYNC,
        PARSE + BIND + EXECUTE + EXECUTE + SYNC,
        frame(b"Q", FIRST.encode() + b"\0") * 2,
        frame(b"Q", FIRST.encode() + b"; " + SECOND.encode() + b"\0"),
        frame(b"F"),
        PARSE + BIND + EXECUTE + SYNC + b"S",
        b"Q\0\0\0\1",
        b"",
    ],
)
def test_bytes_that_run_anything_else_are_not_covered(raw: bytes) -> None:
    """A batch names a statement once, however often it is bound."""
    operation = msgspec.structs.replace(asked(FIRST), raw=raw)
    assert item_of(PLAN, (), operation) == "its bytes run more than its text once"


def test_a_protocol_that_nobody_can_read_is_not_covered() -> None:
    assert isinstance(item_of(PLAN, (), msgspec.structs.replace(asked(FIRST), protocol="mysql")), str)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("search_path", "evil, public"),
        ("search_path", "public"),
        ("TimeZone", "Europe/Berlin"),
        ("DateStyle", "SQL, DMY"),
        ("role", "owner"),
        ("database", "other"),
        ("temporary", "orders"),
        ("lock_timeout", "1s"),
        ("session_authorization", "owner"),
    ],
)
def test_a_session_in_another_state_is_not_covered(name: str, value: str) -> None:
    assert item_of(PLAN, (), asked(FIRST, **{name: value})) == f"its session state differs from the plan's in {name}"


def test_a_state_that_the_plan_tells_is_the_one_that_is_needed() -> None:
    told = {"search_path": "app,public", "TimeZone": "Europe/Berlin", "lock_timeout": "1s"}
    plan = msgspec.structs.replace(PLAN, session_state=expected_state("postgres", "shop", told))
    now = {"search_path": "app, public", "TimeZone": "Europe/Berlin", "lock_timeout": "1s"}
    assert item_of(plan, (), asked(FIRST, **now)) == 1
    assert "lock_timeout, search_path" in str(item_of(plan, (), asked(FIRST, TimeZone="Europe/Berlin")))
