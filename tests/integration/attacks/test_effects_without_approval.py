"""Whatever the spelling, what policy holds or refuses has no effect at the target."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import pytest

from tests.integration.attacks.conftest import Connect
from tests.integration.attacks.wire import query

Rows = Callable[[str, str], Awaitable[int]]
ORDERS = "SELECT count(*) FROM public.orders"
LEFT = 9


@pytest.mark.parametrize(
    ("target", "statement"),
    [
        ("held", "SELECT (1).zap"),
        ("held", "SELECT (id).zap FROM orders"),
        ("held", "SELECT count(*) FROM orders WHERE (2).zap = 0"),
        ("held", "VALUES ((3).zap)"),
        ("held", "EXPLAIN ANALYZE DECLARE c CURSOR FOR SELECT zap(4)"),
        ("shut", "EXPLAIN ANALYZE DECLARE c CURSOR FOR SELECT zap(4)"),
        ("shut", "EXPLAIN (ANALYZE, VERBOSE) DECLARE c CURSOR FOR SELECT zap(id) FROM orders"),
        ("held", "CREATE TEMP TABLE x AS WITH d AS (DELETE FROM orders RETURNING *) SELECT * FROM d"),
        ("held", "WITH d AS (DELETE FROM orders RETURNING *) SELECT * INTO TEMP y FROM d"),
        (
            "held",
            (
                "CREATE TEMP TABLE m (a integer) PARTITION BY LIST (a); "
                "CREATE TEMP TABLE n PARTITION OF m FOR VALUES IN (zap(5))"
            ),
        ),
        ("held", "PREPARE p AS DELETE FROM orders; EXPLAIN ANALYZE EXECUTE p"),
        ("held", "PREPARE q AS DELETE FROM orders RETURNING id; CREATE TEMP TABLE z AS EXECUTE q"),
    ],
)
async def test_a_spelling_does_not_get_a_write_past_the_gate(
    connect: Connect, rows_of: Rows, target: str, statement: str
) -> None:
    with connect(target) as client:
        client.run(statement)

    assert await rows_of(target, ORDERS) == LEFT


DELETE = "DELETE FROM orders WHERE id = 5"


@pytest.mark.parametrize(
    "before",
    [
        ("CREATE TEMP TABLE orders (id integer)", "DROP TABLE orders"),
        ("BEGIN", "CREATE TEMP TABLE orders (id integer)", "ROLLBACK"),
        ("BEGIN", "SAVEPOINT a", "CREATE TEMP TABLE orders (id integer)", "ROLLBACK TO a"),
        ("CREATE TEMP TABLE orders (id integer) ON COMMIT DROP",),
        ("CREATE TEMP TABLE orders (id integer)", "DISCARD TEMP"),
        ("CREATE TEMP TABLE orders (id integer)", "SET search_path = public, pg_temp"),
        ("SELECT set_config('search_path', '\u00a0mine, public', false)",),
        ("SELECT set_config('search_path', 'MINE\u2003, public', false)",),
        ("SET search_path = hidden, public",),
    ],
)
async def test_a_table_is_not_taken_for_another_of_its_name(
    connect: Connect, rows_of: Rows, before: tuple[str, ...]
) -> None:
    with connect("paths") as client:
        client.run(*before, DELETE)

    assert await rows_of("paths", ORDERS) == LEFT


@pytest.mark.parametrize(
    "script",
    [
        f"ROLLBACK; BEGIN; SET search_path = public; COMMIT; {DELETE}",
        f"ROLLBACK AND CHAIN; SET search_path = public; COMMIT; {DELETE}",
    ],
)
async def test_a_path_set_after_a_failed_transaction_is_followed(connect: Connect, rows_of: Rows, script: str) -> None:
    with connect("paths") as client:
        client.run("SET search_path = mine, public", "BEGIN", "SELECT 1 / 0", script)

    assert await rows_of("paths", ORDERS) == LEFT


@pytest.mark.parametrize(
    ("reset", "table"),
    [
        ("RESET ALL", "orders"),  # it leaves the role
        ("RESET SESSION AUTHORIZATION", "customers"),  # and these do not
        ("SET SESSION AUTHORIZATION attacked", "customers"),
        ("DISCARD ALL", "customers"),
    ],
)
async def test_a_path_of_the_role_is_that_of_the_role_there_is(
    connect: Connect, rows_of: Rows, reset: str, table: str
) -> None:
    ask = f"SELECT count(*) FROM public.{table}"
    before = await rows_of("roles", ask)
    with connect("roles") as client:
        client.run("SET ROLE deputy", reset, f"DELETE FROM {table}")

    assert await rows_of("roles", ask) == before


async def test_a_start_up_search_path_does_not_give_built_in_names_to_others(connect: Connect, rows_of: Rows) -> None:
    try:
        with connect("held", search_path="public, pg_catalog") as client:
            client.run("SELECT upper('x'::text)")
    except (EOFError, ConnectionError):
        pass  # refused at the start is right too

    assert await rows_of("held", ORDERS) == LEFT


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 'a'" + "\n" * 8000 + "'" + "c" * 8000 + "\\'",
        "WITH " + ", ".join(f"a{i} AS (SELECT 1)" for i in range(20_000)) + " SELECT 1",
    ],
    ids=["many-newlines-between-strings", "many-common-table-expressions"],
)
def test_one_text_does_not_stop_the_other_sessions(connect: Connect, text: str) -> None:
    with connect("held") as attacker, connect("held") as other:
        attacker.send(query(text))
        started = time.monotonic()
        other.run("SELECT 1", "SELECT 1")

        assert time.monotonic() - started < 2
