"""Changes of names that hide: behind names of temporary relations, in what goes along with something else, and in
sessions that do not wait for the answer."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.integration.attacks.conftest import Connect
from tests.integration.attacks.wire import message, query
from tests.support.postgres import PostgresServer
from tests.support.stack import Stack

Rows = Callable[[str, str], Awaitable[int]]
ORDERS = "SELECT count(*) FROM public.orders"
LEFT = 9
PATH = "SET search_path = mine, public"
VIEW = "CREATE VIEW mine.orders AS SELECT * FROM public.orders"
MAKE = "CREATE FUNCTION public.sqrt(t text) RETURNS int LANGUAGE sql AS 'DELETE FROM public.orders RETURNING 1'"
TERMINATE = message("X")
LOADED_SECONDS = 1.5
_DROP_VIEW = (
    "DO $$ BEGIN IF (SELECT relkind = 'v' FROM pg_class WHERE oid = to_regclass('mine.orders')) THEN "
    "DROP VIEW mine.orders; END IF; END $$"
)
_OWN = ("CREATE TABLE mine.orders (id integer)", "ALTER TABLE mine.orders OWNER TO attacked")


@pytest.fixture(autouse=True)
def as_before(postgres: PostgresServer, attacked: Stack) -> Iterator[None]:
    del attacked
    yield
    for name in ("renames", "definitions"):
        drops = (
            _DROP_VIEW,
            "DROP TABLE IF EXISTS mine.orders, mine.p CASCADE",
            "DROP FUNCTION IF EXISTS public.sqrt(text)",
        )
        postgres.execute(*drops, *_OWN, database=name)


@pytest.mark.parametrize(
    "statements",
    [
        (
            *("CREATE TEMP TABLE orders (i int)", "CREATE TEMP TABLE n (i int)", "DROP TABLE orders, n", "BEGIN"),
            *("ALTER TABLE orders RENAME TO n", "DELETE FROM n", "ALTER TABLE n RENAME TO orders", "COMMIT"),
        ),
        (
            *("SET search_path = public, pg_temp", "CREATE TEMP TABLE orders (i int)", "CREATE TEMP TABLE n (i int)"),
            *("BEGIN", "ALTER TABLE orders RENAME TO n", "DELETE FROM n", "ALTER TABLE n RENAME TO orders", "COMMIT"),
        ),
        ("CREATE TEMP TABLE orders (i int)", "DROP TABLE mine.orders", VIEW, "DELETE FROM mine.orders"),
        ("CREATE TEMP TABLE sqrt (i int)", "BEGIN", MAKE, "wait", "SELECT sqrt('x'::text)", "COMMIT"),
    ],
    ids=["gone", "not-first", "qualified", "function"],
)
async def test_the_name_of_a_temporary_relation_hides_no_change_of_another(
    connect: Connect, rows_of: Rows, statements: tuple[str, ...]
) -> None:
    with connect("renames") as client:
        for statement in statements:
            if statement == "wait":
                time.sleep(LOADED_SECONDS)
            else:
                client.run(statement)

    assert await rows_of("renames", ORDERS) == LEFT


async def test_a_temporary_view_is_not_forgotten_because_others_are_tried(connect: Connect, rows_of: Rows) -> None:
    many = [";".join(f"CREATE VIEW mine.x_{part}_{i} AS SELECT 1" for i in range(1000)) for part in range(11)]
    with connect("paths") as client:
        client.run("CREATE TEMP VIEW v AS SELECT * FROM public.orders", *many)
        time.sleep(LOADED_SECONDS)
        client.run("DELETE FROM v")

    assert await rows_of("paths", ORDERS) == LEFT


@pytest.mark.parametrize(
    "last",
    [
        ("DROP TABLE mine.p", "DELETE FROM orders WHERE id > 0"),
        ("BEGIN; DROP TABLE mine.p", "DELETE FROM orders WHERE id > 0", "COMMIT"),
    ],
)
async def test_a_partition_goes_with_its_parent(connect: Connect, rows_of: Rows, last: tuple[str, ...]) -> None:
    with connect("renames") as client:
        client.run(
            *("DROP TABLE mine.orders", "CREATE TABLE mine.p (id integer) PARTITION BY LIST (id)"),
            *("CREATE TABLE mine.orders PARTITION OF mine.p DEFAULT", PATH),
        )
        time.sleep(LOADED_SECONDS)
        client.ask(*map(query, last), ready=len(last))

    assert await rows_of("renames", ORDERS) == LEFT


async def test_a_view_goes_with_a_constraint_that_it_is_grouped_by(connect: Connect) -> None:
    with connect("renames") as client:
        client.run("DROP TABLE mine.orders", "CREATE TABLE mine.p (id integer PRIMARY KEY, note text)", PATH)
        time.sleep(LOADED_SECONDS)
        client.run("CREATE VIEW mine.orders AS SELECT id, note FROM mine.p GROUP BY id")
        time.sleep(LOADED_SECONDS)
        drop = "ALTER TABLE mine.p DROP CONSTRAINT p_pkey CASCADE"
        answers = client.ask(query(f"BEGIN; {drop}"), query("SELECT count(*) FROM orders"), ready=2)

    assert answers[-2][0] == "E", answers


async def test_what_a_session_did_that_did_not_wait_for_the_answer_is_known(connect: Connect, rows_of: Rows) -> None:
    with connect("renames") as client:
        client.run(PATH)
        with connect("renames") as other:
            other.send(query("DROP TABLE mine.orders"), TERMINATE)
        time.sleep(LOADED_SECONDS)
        client.run("DELETE FROM orders")

    assert await rows_of("renames", ORDERS) == LEFT


async def test_a_definition_after_another_is_judged_by_what_its_name_may_be(connect: Connect, rows_of: Rows) -> None:
    with connect("definitions") as client:
        client.run(PATH, "BEGIN", "DROP TABLE mine.orders", "DROP TABLE orders", "COMMIT")

    assert await rows_of("definitions", "SELECT to_regclass('public.orders')::text") is not None


async def test_what_a_transaction_is_changing_is_not_known_to_others(connect: Connect, rows_of: Rows) -> None:
    """The server looks a name up again when it has waited for the lock of what had it."""
    with connect("renames") as client, connect("renames") as other, connect("renames") as third:
        client.run(PATH)
        third.run("BEGIN", "SELECT * FROM mine.orders")
        other.send(query("DROP TABLE mine.orders"))
        time.sleep(0.5)
        client.send(query("DELETE FROM orders"))
        time.sleep(0.5)
        third.run("COMMIT")
        client.ask(b"")
        other.ask(b"")

    assert await rows_of("renames", ORDERS) == LEFT
