"""What a transaction has changed and not committed: the catalogue does not have it, and nothing is judged by the old."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.integration.attacks.conftest import Connect
from tests.integration.attacks.wire import query
from tests.support.postgres import PostgresServer
from tests.support.stack import Stack

CANARY = b"canary"
ORDERS = "SELECT count(*) FROM public.orders"
LEFT = 9


@pytest.fixture(autouse=True)
def as_it_was(postgres: PostgresServer, attacked: Stack) -> Iterator[None]:
    del attacked
    yield
    postgres.execute(
        """DO $$BEGIN ALTER TABLE public.customers RENAME x TO email; EXCEPTION WHEN undefined_column THEN END$$""",
        "DROP VIEW IF EXISTS public.v",
        database="renames",
    )


@pytest.mark.parametrize(
    "script",
    [
        "ALTER TABLE customers RENAME email TO x; SELECT x || '' FROM customers",
        "ALTER TABLE customers RENAME email TO x; SELECT max(x) FROM customers",
        "ALTER TABLE customers RENAME email TO x; COPY (SELECT x || '' FROM customers) TO STDOUT",
        "ALTER TABLE customers RENAME email TO x; COPY customers (x) TO STDOUT",
        "ALTER TABLE customers RENAME email TO x; INSERT INTO orders SELECT 77, x FROM customers; SELECT note FROM orders",
        "ALTER TABLE customers RENAME email TO x; CREATE TEMP TABLE t AS SELECT x FROM customers; TABLE t",
        "ALTER TABLE customers RENAME email TO x; CREATE VIEW v AS SELECT x AS y FROM customers; SELECT y || '' FROM v",
        (
            "ALTER TABLE customers RENAME email TO x; CREATE OR REPLACE VIEW people AS SELECT id, x AS name FROM customers; "
            "SELECT name FROM people"
        ),
        "CREATE VIEW v AS SELECT email AS y FROM customers; SELECT y || '' FROM v",
        "ALTER TABLE customers RENAME TO c2; SELECT email || '' FROM c2",
        (
            "ALTER TABLE customers RENAME TO c2; ALTER TABLE orders RENAME TO customers; ALTER TABLE c2 RENAME TO orders; "
            "SELECT email || '' FROM orders"
        ),
        "ALTER SCHEMA public RENAME TO q; SELECT email || '' FROM q.customers",
        "SAVEPOINT a; ALTER TABLE customers RENAME email TO x; SAVEPOINT b; ROLLBACK TO b; SELECT x || '' FROM customers",
        "ALTER TABLE customers RENAME email TO x; EXPLAIN ANALYZE SELECT x FROM customers; SELECT x || '' FROM customers",
        "ALTER TABLE customers RENAME email TO x; PREPARE p AS SELECT x || '' FROM customers; EXECUTE p",
        "ALTER TABLE customers RENAME email TO x; DECLARE c CURSOR FOR SELECT x || '' FROM customers; FETCH ALL c",
        "ALTER TABLE customers RENAME email TO x; SELECT set_config('application_name', (SELECT x FROM customers), false)",
    ],
)
@pytest.mark.parametrize("at_once", [False, True])
def test_a_masked_value_is_not_shown_under_a_name_that_is_not_committed(
    connect: Connect, script: str, *, at_once: bool
) -> None:
    parts = ["BEGIN", *script.split("; ")]
    with connect("renames") as client:
        messages = [query("; ".join(parts))] if at_once else [query(part) for part in parts]
        said = b"".join(client.said(message) for message in messages) + client.said(query("ROLLBACK"))

    assert CANARY not in said


def test_nor_right_after_it_was_committed(connect: Connect) -> None:
    with connect("renames") as client:
        said = client.said(query("ALTER TABLE customers RENAME email TO x"))
        assert b"ALTER TABLE" in said
        said = client.said(query("SELECT x || '' FROM customers"))
        said += client.said(query("BEGIN; ALTER TABLE customers RENAME x TO email; COMMIT AND CHAIN"))
        said += client.said(query("SELECT concat(email) FROM customers"), query("COMMIT"), ready=2)

    assert CANARY not in said


@pytest.mark.parametrize(
    "script",
    [
        "BEGIN; CREATE VIEW mine.v AS SELECT * FROM public.orders; DELETE FROM mine.v; COMMIT",
        "CREATE VIEW mine.w AS SELECT * FROM public.orders; DELETE FROM mine.w",
        "BEGIN; ALTER TABLE mine.orders RENAME TO gone; ALTER TABLE public.orders SET SCHEMA mine; DELETE FROM mine.orders; ROLLBACK",
        "BEGIN; CREATE FUNCTION public.abs(t text) RETURNS int LANGUAGE sql AS 'SELECT zap(5)'; SELECT abs('x'::text); COMMIT",
        (
            "BEGIN; CREATE FUNCTION public.abs(t text) RETURNS int LANGUAGE sql AS 'DELETE FROM public.orders RETURNING 1'; "
            "SELECT abs('x'::text); COMMIT"
        ),
        (
            "CREATE FUNCTION public.sqrt(t text) RETURNS int LANGUAGE sql AS 'DELETE FROM public.orders RETURNING 1'; "
            "SELECT sqrt('x'::text)"
        ),
        (
            "BEGIN; CREATE FUNCTION public.f(t text, u int) RETURNS int LANGUAGE sql AS 'DELETE FROM public.orders RETURNING 1'; "
            "CREATE OPERATOR public.* (LEFTARG = text, RIGHTARG = int, FUNCTION = public.f); SELECT 'x'::text * 1; COMMIT"
        ),
    ],
)
async def test_a_write_is_not_judged_by_names_that_a_transaction_changed(
    connect: Connect, rows_of: Callable[[str, str], Awaitable[int]], script: str
) -> None:
    with connect("renames") as client:
        client.run(*script.split("; "))

    assert await rows_of("renames", ORDERS) == LEFT


def test_what_a_transaction_left_alone_is_read_and_written(connect: Connect) -> None:
    with connect("renames") as client:
        client.run(
            "BEGIN", "CREATE FUNCTION fresh() RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE TABLE mine.t (a int)"
        )

        assert "C" in [kind for kind, _ in client.run("INSERT INTO mine.t VALUES (1)")]
        assert "D" in [kind for kind, _ in client.run("SELECT upper(note) FROM orders")]
        client.run("ROLLBACK")
