"""Right after a definition a name counts as all that it may mean by now, not as what it meant before."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.integration.attacks.conftest import Connect
from tests.integration.attacks.wire import query
from tests.support.postgres import PostgresServer
from tests.support.stack import Stack

Rows = Callable[[str, str], Awaitable[int]]
ORDERS = "SELECT count(*) FROM public.orders"
LEFT = 9
PATH = "SET search_path = mine, public"
VIEW = "CREATE VIEW mine.w AS SELECT * FROM public.orders"
RENAME = "ALTER TABLE mine.w RENAME TO orders"
MAKE = "CREATE FUNCTION public.sqrt(t text) RETURNS int LANGUAGE sql AS 'DELETE FROM public.orders RETURNING 1'"
_OWN = ("CREATE TABLE mine.orders (id integer)", "ALTER TABLE mine.orders OWNER TO attacked")


@pytest.fixture(autouse=True)
def as_before(postgres: PostgresServer, attacked: Stack) -> Iterator[None]:
    del attacked
    yield
    drops = ("VIEW IF EXISTS mine.w", "FUNCTION IF EXISTS public.sqrt(text)", "TABLE IF EXISTS mine.orders CASCADE")
    postgres.execute(*(f"DROP {each}" for each in drops), *_OWN, database="renames")


@pytest.mark.parametrize(
    ("before", "pipelined"),
    [
        ((PATH,), ("DROP TABLE mine.orders", "DELETE FROM orders WHERE id > 0")),
        ((PATH, "DELETE FROM orders", "DROP TABLE mine.orders"), ("DELETE FROM orders",)),
        ((PATH,), ("ALTER TABLE mine.orders RENAME TO former", "DELETE FROM orders", "DROP TABLE mine.former")),
        (("DELETE FROM mine.w", VIEW), ("DELETE FROM mine.w",)),
        ((), (f"DROP TABLE mine.orders; {VIEW}; {RENAME}", "DELETE FROM mine.orders", "DROP VIEW mine.orders")),
        (("BEGIN READ ONLY", MAKE, "ROLLBACK") * 3, (MAKE, "SELECT sqrt('x'::text)")),
    ],
)
async def test_a_write_right_after_a_definition_is_judged_by_what_it_may_be(
    connect: Connect, rows_of: Rows, before: tuple[str, ...], pipelined: tuple[str, ...]
) -> None:
    with connect("renames") as client:
        client.run(*before)
        if MAKE in before:
            time.sleep(1.5)  # the catalogue is loaded again, without the function
        client.ask(*map(query, pipelined), ready=len(pipelined))

    assert await rows_of("renames", ORDERS) == LEFT
