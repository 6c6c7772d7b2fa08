"""What is under the names of a held statement changes while people decide: what they saw runs, or nothing does."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.integration.attacks.conftest import Connect
from tests.integration.attacks.wire import SYNC, Answer, Client, bind, execute, parse, query
from tests.support.stack import Stack

ORDERS = "SELECT count(*) FROM public.orders"
LEFT = 9
DELETE = "DELETE FROM orders"
BATCH = parse("", DELETE) + bind("", "") + execute("") + SYNC
LOADED_SECONDS = 1.0  # the catalogue has what another session has changed


@pytest.fixture(autouse=True)
def as_it_was(connect: Connect) -> Iterator[None]:
    yield
    with connect("moved") as client:  # what is changed elsewhere is seen at the next poll only
        client.run("DROP TABLE IF EXISTS mine.orders", "CREATE TABLE mine.orders (id integer)")
        time.sleep(LOADED_SECONDS)


def decided_after(stack: Stack, client: Client, asked: bytes, other: Client, *changes: str) -> list[Answer]:
    """The answers to what is approved when another session has changed the schema."""
    client.run("SET search_path = mine, public")
    client.send(asked)
    pending = stack.pending("DELETE")
    seen = stack.reviewer.get(f"/v1/approvals/{pending['id']}")
    assert "mine.orders" in str(seen["operation"]["resources"])
    assert "public.orders" not in str(seen["operation"]["resources"])
    for change in changes:
        assert "C" in [kind for kind, _ in other.run(change)]
    time.sleep(LOADED_SECONDS)
    stack.reviewer.post(f"/v1/approvals/{pending['id']}/approve", {"digest": seen["digest"], "channel": "cli"})
    return client.ask(b"")


@pytest.mark.parametrize("asked", [query(DELETE), BATCH], ids=["query", "batch"])
@pytest.mark.parametrize("change", ["DROP TABLE mine.orders", "ALTER TABLE mine.orders RENAME TO away"])
async def test_rows_that_nobody_saw_are_not_deleted(
    connect: Connect, attacked: Stack, rows_of: Callable[[str, str], Awaitable[int]], asked: bytes, change: str
) -> None:
    with connect("moved") as client, connect("moved") as other:
        answers = decided_after(attacked, client, asked, other, change)
        other.run("DROP TABLE IF EXISTS mine.away")

    assert [payload for kind, payload in answers if kind == "E" and b"what its names mean has changed" in payload]
    assert await rows_of("moved", ORDERS) == LEFT


async def test_a_table_that_was_only_made_anew_is_what_people_saw(
    connect: Connect, attacked: Stack, rows_of: Callable[[str, str], Awaitable[int]]
) -> None:
    anew = ("DROP TABLE mine.orders", "CREATE TABLE mine.orders (id integer)")
    with connect("moved") as client, connect("moved") as other:
        answers = decided_after(attacked, client, query(DELETE), other, *anew)

    assert [payload for kind, payload in answers if kind == "C"] == [b"DELETE 0\0"]
    assert await rows_of("moved", ORDERS) == LEFT


async def test_what_people_approved_does_not_wait_for_a_transaction_that_changes_it(
    connect: Connect, attacked: Stack, rows_of: Callable[[str, str], Awaitable[int]]
) -> None:
    with connect("moved") as client, connect("moved") as other:
        client.run("SET search_path = mine, public")
        client.send(query(DELETE))
        pending = attacked.pending("DELETE")
        seen = attacked.reviewer.get(f"/v1/approvals/{pending['id']}")
        other.run("BEGIN", "DROP TABLE mine.orders")
        attacked.reviewer.post(f"/v1/approvals/{pending['id']}/approve", {"digest": seen["digest"], "channel": "cli"})
        time.sleep(LOADED_SECONDS)
        other.run("COMMIT")
        answers = client.ask(b"")

    assert [payload for kind, payload in answers if kind == "E" and b"what its names mean has changed" in payload]
    assert await rows_of("moved", ORDERS) == LEFT
