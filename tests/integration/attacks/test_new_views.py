"""Views that were made in another way than by CREATE VIEW, or got their name in a roundabout one."""

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
LOADED_SECONDS = 1.5
RULE = 'CREATE RULE "_RETURN" AS ON SELECT TO mine.w DO INSTEAD SELECT id, note FROM public.orders'
AWAY, BACK = "ALTER TABLE mine.w RENAME TO orders", "ALTER TABLE mine.orders RENAME TO former"
VIEW = "CREATE VIEW {} AS SELECT 1 AS x FROM public.orders"

_DROP_VIEWS = (
    "DO $$ DECLARE v text; BEGIN FOR v IN SELECT viewname FROM pg_views WHERE schemaname = 'mine' AND viewname IN "
    "('orders', 'w') LOOP EXECUTE format('DROP VIEW mine.%I', v); END LOOP; END $$"
)


@pytest.fixture(autouse=True)
def as_before(postgres: PostgresServer, attacked: Stack) -> Iterator[None]:
    del attacked
    yield
    drops = [f"DROP TABLE IF EXISTS mine.{name}" for name in ("first", "former")]
    made = ("CREATE TABLE IF NOT EXISTS mine.orders (id integer)", "ALTER TABLE mine.orders OWNER TO attacked")
    postgres.execute(_DROP_VIEWS, *drops, *made, database="renames")


@pytest.fixture
def own_schema(postgres: PostgresServer, attacked: Stack) -> Iterator[None]:
    del attacked
    owned = ("ALTER SCHEMA hidden OWNER TO attacked", "GRANT CREATE ON DATABASE renames TO attacked")
    postgres.execute(*owned, database="renames")
    yield
    made = ("CREATE SCHEMA hidden", "CREATE TABLE hidden.orders (id integer)", "GRANT ALL ON hidden.orders TO attacked")
    postgres.execute("DROP SCHEMA IF EXISTS hidden CASCADE", *made, database="renames")


@pytest.mark.parametrize(
    ("before", "pipelined"),
    [
        (("CREATE TABLE mine.w (id integer, note text)", "wait"), (RULE, "DELETE FROM mine.w")),
        (
            (
                *("CREATE TABLE mine.w (id integer)", "wait", "BEGIN", "ALTER TABLE mine.orders RENAME TO first"),
                *(AWAY, BACK, VIEW.format("mine.w"), AWAY, "wait"),
            ),
            ("COMMIT", "DELETE FROM mine.orders"),
        ),
    ],
    ids=["rule", "name"],
)
async def test_a_write_to_a_new_view_is_not_taken_for_one_to_the_table_of_before(
    connect: Connect, rows_of: Rows, before: tuple[str, ...], pipelined: tuple[str, ...]
) -> None:
    with connect("renames") as client:
        for statement in before:
            if statement == "wait":
                time.sleep(LOADED_SECONDS)
            else:
                client.run(statement)
        client.ask(*map(query, pipelined), ready=len(pipelined))

    assert await rows_of("renames", ORDERS) == LEFT


@pytest.mark.usefixtures("own_schema")
async def test_other_sessions_hear_of_a_view_that_was_made_with_its_schema(connect: Connect, rows_of: Rows) -> None:
    with connect("renames") as client, connect("renames") as other:
        client.run("DROP SCHEMA hidden CASCADE")
        time.sleep(LOADED_SECONDS)
        client.run(f"CREATE SCHEMA hidden {VIEW.format('v')}")
        other.run("DELETE FROM hidden.v")

    assert await rows_of("renames", ORDERS) == LEFT


async def test_a_write_that_waits_for_a_transaction_may_be_to_the_view_that_it_makes(
    connect: Connect, rows_of: Rows
) -> None:
    with connect("renames") as client, connect("renames") as other:
        client.run("BEGIN", "DROP TABLE mine.orders", VIEW.format("mine.orders"))
        time.sleep(LOADED_SECONDS)
        other.send(query("DELETE FROM mine.orders"))
        time.sleep(0.3)
        client.run("COMMIT")
        other.ask(b"")

    assert await rows_of("renames", ORDERS) == LEFT
