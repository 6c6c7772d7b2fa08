"""Temporary relations that do not say so, and such as went without being named: what hides behind their names."""

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
LOADED_SECONDS = 1.5
BACKENDS = range(1, 25)  # one of them is that of the session
TABLE = "CREATE TEMP TABLE w (id integer, note text)"
RULE = 'CREATE RULE "_RETURN" AS ON SELECT TO {} DO INSTEAD SELECT id, note FROM public.orders'
_OWN = ("CREATE TABLE mine.orders (id integer)", "ALTER TABLE mine.orders OWNER TO attacked")


@pytest.fixture(autouse=True)
def as_before(postgres: PostgresServer, attacked: Stack) -> Iterator[None]:
    del attacked
    yield
    postgres.execute("DROP TABLE IF EXISTS mine.orders CASCADE", *_OWN, database="renames")


@pytest.mark.parametrize(
    "statements",
    [
        (
            *("CREATE TEMP TABLE t AS SELECT i FROM generate_series(1, 9) i", PATH),
            "CREATE VIEW orders AS SELECT 1 AS x FROM public.orders WHERE id IN (SELECT i FROM t)",
        ),
        ("SET search_path = pg_temp, mine, public", "CREATE VIEW orders AS SELECT 1 AS x FROM public.orders"),
        (
            *("CREATE TEMP VIEW v AS SELECT 1 AS x FROM public.orders", PATH),
            *(f"ALTER VIEW pg_temp_{backend}.v RENAME TO orders" for backend in BACKENDS),
        ),
        (
            *("CREATE TEMP TABLE t (i integer)", PATH),
            *(f"CREATE VIEW pg_temp_{each}.orders AS SELECT 1 AS x FROM public.orders" for each in BACKENDS),
        ),
        (TABLE, PATH, RULE.format("w"), "ALTER VIEW w RENAME TO orders"),
        (TABLE.replace("w", "orders"), PATH, RULE.format("pg_temp.orders")),
        (
            *("SET search_path = pg_temp", TABLE.replace(" TEMP", ""), PATH, RULE.format("w")),
            "ALTER VIEW w RENAME TO orders",
        ),
    ],
    ids=["by-what-it-reads", "by-the-path", "renamed", "schema", "rule-and-name", "rule", "rule-by-the-path"],
)
async def test_a_temporary_view_does_not_hide_behind_a_table_of_its_name(
    connect: Connect, rows_of: Rows, statements: tuple[str, ...]
) -> None:
    with connect("renames") as client:
        for statement in statements:
            client.run(statement)
        time.sleep(LOADED_SECONDS)
        client.run("DELETE FROM orders", "DELETE FROM pg_temp.orders")

    assert await rows_of("renames", ORDERS) == LEFT


@pytest.mark.parametrize(
    "statements",
    [
        ("EXPLAIN CREATE TEMP TABLE orders AS SELECT 1",),
        ("CREATE TEMP TABLE b (i int)", "CREATE TEMP VIEW orders AS SELECT * FROM b", "DROP TABLE b CASCADE"),
        ("CREATE TEMP TABLE b (i int)", "CREATE TEMP SEQUENCE orders OWNED BY b.i", "DROP TABLE b"),
        (
            *("CREATE TEMP TABLE b (i int) PARTITION BY LIST (i)", "CREATE TEMP TABLE orders PARTITION OF b DEFAULT"),
            "DROP TABLE b",
        ),
        (
            *("CREATE TEMP TABLE b (i int) PARTITION BY LIST (i)", "CREATE TEMP TABLE orders (i int)"),
            *("ALTER TABLE b ATTACH PARTITION orders DEFAULT", "DROP TABLE b"),
        ),
        (
            *("CREATE TEMP TABLE b (i int)", "CREATE TEMP VIEW orders AS SELECT * FROM b"),
            *("CREATE TEMP TABLE IF NOT EXISTS orders (i int)", "DROP TABLE b CASCADE"),
        ),
    ],
    ids=["explained", "view", "sequence", "partition", "attached", "unless-there"],
)
async def test_others_hear_of_a_drop_behind_the_name_of_a_temporary_relation_that_went_along(
    connect: Connect, rows_of: Rows, statements: tuple[str, ...]
) -> None:
    with connect("renames") as client, connect("renames") as other:
        other.run(PATH)
        client.run(*statements, PATH)
        time.sleep(LOADED_SECONDS)
        client.ask(query("DROP TABLE orders"))
        other.run("DELETE FROM orders")

    assert await rows_of("renames", ORDERS) == LEFT


def test_a_temporary_view_can_be_used_in_the_transaction_that_makes_it(connect: Connect) -> None:
    made = (
        "CREATE TEMP TABLE t (i integer)",
        "CREATE TEMP VIEW w AS SELECT i FROM t",
        "SELECT i FROM w",
        "DROP VIEW w",
    )
    with connect("renames") as client:
        client.run("BEGIN")
        answers = [client.run(statement) for statement in made]

    assert not [payload for answer in answers for kind, payload in answer if kind == "E"]
