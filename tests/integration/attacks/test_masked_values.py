"""What is masked in rows does not come by another way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.integration.attacks.conftest import Connect
from tests.integration.attacks.wire import SYNC, Client, bind, describe, execute, parse, query

CANARY = b"canary"


@pytest.mark.parametrize("in_one_batch", [False, True])
def test_a_cursor_that_is_declared_anew_under_a_described_fetch_is_masked(
    connect: Connect, *, in_one_batch: bool
) -> None:
    harmless, secret = (f"DECLARE c CURSOR FOR SELECT {column} FROM customers" for column in ("name", "email"))
    bound = [parse("f", "FETCH ALL c"), bind("p", "f"), describe("p")]
    if in_one_batch:
        swap = [part for sql in ("CLOSE c", secret) for part in (parse("", sql), bind("", ""), execute(""))]
        sent, ready = [*bound, *swap, execute("p"), SYNC], 1
    else:
        sent, ready = [*bound, SYNC, query("CLOSE c"), query(secret), execute("p"), SYNC], 4
    with connect("held") as client:
        client.run("BEGIN", harmless)

        assert CANARY not in client.said(*sent, ready=ready)


async def test_a_notification_does_not_carry_masked_values(
    connect: Connect, rows_of: Callable[[str, str], Awaitable[object]]
) -> None:
    with connect("held") as client:
        client.run("LISTEN changes")
        await rows_of("held", "SELECT pg_notify('changes', (SELECT row_to_json(c)::text FROM customers c LIMIT 1))")

        assert CANARY not in client.said(query("SELECT pg_sleep(0.2)"), query("SELECT 1"), ready=2)


CAST = "SELECT email::integer FROM customers"
DECLARED = f"DECLARE c CURSOR FOR {CAST}"
BOUND = (parse("s", CAST), bind("p", "s"), SYNC)


@pytest.mark.parametrize("policy", ["held", "masking"])
@pytest.mark.parametrize(
    ("before", "reads"),
    [
        ((query(DECLARED),), (query("FETCH c"),)),
        ((query(DECLARED),), (execute("c"), SYNC)),
        ((query(DECLARED.replace("CURSOR", "CURSOR WITH HOLD")),), (query("COMMIT"),)),
        (BOUND, (execute("p"), SYNC)),
        (BOUND, (query("FETCH p"),)),
    ],
)
def test_what_fails_when_it_is_read_tells_no_masked_value(
    connect: Connect, policy: str, before: tuple[bytes, ...], reads: tuple[bytes, ...]
) -> None:
    with connect(policy) as client:
        client.run("BEGIN")
        client.ask(*before)

        assert _failed_with(client, *reads) == b"22P02"


@pytest.mark.parametrize(
    ("call", "state"),
    [
        ("to_ascii('x', left(email, 63)::name)", b"42704"),
        ("lo_tell(('x' || substr(md5(email), 1, 7))::bit(28)::integer)", b"42704"),
        ("chr(7 + ('x' || substr(md5(email), 1, 7))::bit(28)::integer)", b"54000"),
        ("pg_database_size((7 + ('x' || substr(md5(email), 1, 7))::bit(28)::integer)::oid)", b"3D000"),
    ],
)
def test_a_value_that_an_error_does_not_quote_is_not_told_either(connect: Connect, call: str, state: bytes) -> None:
    with connect("held") as client:
        assert _failed_with(client, query(f"SELECT {call} FROM customers")) == state


def _failed_with(client: Client, *messages: bytes) -> bytes:
    """The SQLSTATE of an error whose message says nothing but that."""
    (error,) = (payload for type_, payload in client.ask(*messages) if type_ == "E")
    fields = {field[:1]: field[1:] for field in error.split(b"\0")}
    assert fields[b"M"].endswith(b"(the message is withheld: it may quote masked data)")
    assert CANARY not in error
    return fields[b"C"]
