"""What is masked in rows does not come by another way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.integration.attacks.conftest import Connect
from tests.integration.attacks.wire import SYNC, bind, describe, execute, parse, query

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
