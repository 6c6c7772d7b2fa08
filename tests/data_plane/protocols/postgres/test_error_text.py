"""Error and notice texts: the data is gone, what the client needs is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_plane.masking.marks import MARK
from data_plane.policy.in_force import InForce
from data_plane.protocols.postgres.error_text import without_values
from data_plane.protocols.postgres.masking import SessionMasking

from .masking_catalogue import KEY, catalogue, masking

CANARY = b"078-05-1120"
NAMES = frozenset({"customers", "ssn", "public"})


def payload(**fields: bytes) -> bytes:
    return b"".join(code.encode() + value + b"\0" for code, value in fields.items()) + b"\0"


def cleaned(**fields: bytes) -> dict[str, bytes]:
    out = without_values(payload(**fields), NAMES.__contains__)
    assert out.endswith(b"\0\0")
    return {chr(field[0]): field[1:] for field in out[:-2].split(b"\0")}


LEAKS = [
    {"C": b"22P02", "M": b'invalid input syntax for type integer: "' + CANARY + b'"'},
    {"C": b"23505", "M": b'duplicate key value violates unique constraint "k"', "D": b"Key (ssn)=(" + CANARY + b")"},
    {"C": b"P0001", "M": b"no " + CANARY, "W": b"PL/pgSQL function f() line 1 at RAISE"},
    {"C": b"42P01", "M": b'relation "' + CANARY + b'" does not exist'},
    {"C": b"42883", "M": b"operator does not exist: " + CANARY},
    {"C": b"42601", "M": b'syntax error in tsquery: "' + CANARY + b'"'},
    {"C": b"42704", "M": b'type "' + CANARY + b'" does not exist'},
    {"C": b"42P01", "M": b'"x" then ' + CANARY + b' then "y"'},
    {"C": b"42P01", "M": b'an odd "quote ' + CANARY},
    {"C": b"42P01", "M": b"raised " + CANARY, "W": b"PL/pgSQL function f() line 1 at RAISE"},
    {"C": b"00000", "M": b"note " + CANARY, "W": b"PL/pgSQL function f() line 1 at RAISE"},
    {"C": b"42P01", "M": b"x", "P": b"1", "q": CANARY, "W": CANARY, "H": CANARY},
    {"C": b"42704", "M": CANARY + b" is not a valid encoding name"},
    {"C": b"42704", "M": b"database with OID " + CANARY + b" does not exist"},
    {"C": b"55000", "M": b'cannot insert into view "x" ' + CANARY + b' "y"'},
    {"C": b"55000", "M": b'cannot insert into view "' + CANARY + b'"'},
    {"C": b"42703", "M": b'column "ssn" 078-05-1120 "ssn" of relation "customers" does not exist'},
    {"C": b"54000", "M": b"requested character too large for encoding: " + CANARY},
    {"C": b"42501", "M": b"permission denied for large object 1 " + CANARY},
    {"C": b"22012", "M": CANARY, "c": CANARY, "t": CANARY, "n": CANARY, "s": CANARY, "d": CANARY, "p": CANARY},
    {"C": b"XX000", "M": CANARY},
    {"C": b"55000", "M": "fehlt: „".encode() + CANARY + "“".encode()},
    {"M": CANARY},
    {"C": b"23505", "Z": CANARY},
]


@pytest.mark.parametrize("fields", LEAKS)
def test_no_value_is_left_in_any_field(fields: dict[str, bytes]) -> None:
    assert CANARY not in without_values(payload(S=b"ERROR", V=b"ERROR", **fields), NAMES.__contains__)


def test_what_the_client_needs_is_kept() -> None:
    kept = cleaned(S=b"ERROR", V=b"ERROR", C=b"23505", M=b"duplicate", D=b"Key", P=b"7", F=b"x.c", L=b"1", R=b"f")
    assert {code: kept[code] for code in "SVCPFLR"} == {
        "S": b"ERROR", "V": b"ERROR", "C": b"23505", "P": b"7", "F": b"x.c", "L": b"1", "R": b"f",
    }  # fmt: skip
    assert kept["M"] == b"duplicate"  # it has a position: the parser said it of the client's own text
    assert b"unique constraint" in cleaned(C=b"23505", M=b"duplicate")["M"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"C": b"42703", "M": b'column "typo" does not exist', "P": b"8"}, b'column "typo" does not exist'),
        (
            {"C": b"42P01", "M": b'relation "public.customers" already exists'},
            b'relation "public.customers" already exists',
        ),
        ({"C": b"42P01", "M": b'table "typo" does not exist'}, b'table "' + MARK + b'" does not exist'),
        (
            {"C": b"42703", "M": b'column "ssn" of relation "public.customers" does not exist'},
            b'column "ssn" of relation "public.customers" does not exist',
        ),
        # What a function was given as the name of a column, with quotes in it.
        (
            {"C": b"42703", "M": b'column "ssn" SMITH "ssn" of relation "customers" does not exist'},
            b'column "' + MARK + b'" does not exist',
        ),
        (
            {"C": b"42703", "M": b'column "ssn" not "ssn" of relation "customers" does not exist'},
            b'column "' + MARK + b'" does not exist',
        ),
        (
            {"C": b"42703", "M": b'column "ssn.public.ssn.ssn" does not exist'},
            b'column "' + MARK + b'" does not exist',
        ),
        ({"C": b"25P02", "M": b"current transaction is aborted"}, b"current transaction is aborted"),
        ({"C": b"57014", "M": b"canceling statement due to user request"}, b"canceling statement due to user request"),
        ({"C": b"42501", "M": b"permission denied for table x"}, b"permission denied for table x"),
        *(
            ({"C": state, "M": message}, message)
            for state, message in (
                (b"40001", b"could not serialize access due to read/write dependencies among transactions"),
                (b"40P01", b"deadlock detected"),
                (b"25001", b"CREATE INDEX CONCURRENTLY cannot run inside a transaction block"),
                (b"25P03", b"terminating connection due to idle-in-transaction timeout"),
                (b"42501", b'new row violates row-level security policy for table "customers"'),
                (b"55000", b"lastval is not yet defined in this session"),
                (b"55P03", b'could not obtain lock on row in relation "customers"'),
                (b"25006", b"cannot execute INSERT in a read-only transaction"),
                (b"25P01", b"SET LOCAL can only be used in transaction blocks"),
                (b"25P02", b"current transaction is aborted, commands ignored until end of transaction block"),
                (b"57P01", b"terminating connection due to administrator command"),
                (b"00000", b'table "customers" does not exist, skipping'),
                (b"00000", b"drop cascades to 3 other objects"),
                (b"2BP01", b"cannot drop table x because other objects depend on it"),
            )
        ),
    ],
)
def test_messages_that_speak_of_names_stay_readable(fields: dict[str, bytes], message: bytes) -> None:
    assert cleaned(**fields)["M"] == message


def test_a_session_without_masks_gets_the_target_s_own_words() -> None:
    raw = payload(C=b"22P02", M=CANARY)
    using = SessionMasking(catalogue(), InForce({}), (), KEY)
    assert using.message(raw, masked=False) is raw
    assert CANARY not in using.message(raw, masked=True)
    assert CANARY not in masking().message(raw, masked=False)


@given(st.binary(max_size=200))
def test_any_payload_gives_a_well_formed_one(data: bytes) -> None:
    out = without_values(data, NAMES.__contains__)
    assert out.endswith(b"\0")
