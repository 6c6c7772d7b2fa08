"""What a read would run of the database's own code without calling it by a name of its own."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from tests.integration.attacks.conftest import FILL, Connect
from tests.integration.attacks.wire import SYNC, message, text
from tests.support.postgres import PostgresServer

Rows = Callable[[str, str], Awaitable[int]]
ORDERS = "SELECT count(*) FROM public.orders"
LEFT = 9

ATTACKS = (
    "SELECT (id).zap FROM owned",
    "SELECT (1).zap FROM owned",
    "SELECT x.zap FROM generate_series(1, 3) x",
    "SELECT x.zap FROM generate_series(1, 3) x, owned",
    "SELECT generate_series.zap FROM generate_series(1, 3), owned",
    "SELECT x.zap FROM owned o, unnest(ARRAY[1, 2]) AS x",
    "SELECT x.zap FROM unnest(ARRAY[1, 2]) AS x, owned x2",
    "SELECT (SELECT x.zap FROM generate_series(1, 2) x LIMIT 1) FROM owned x",
    "SELECT lower(ROW(1)::own)",
    "SELECT lower(value) FROM owned",
    "SELECT pg_catalog.count(lower(value)) FROM owned",
    "SELECT uuidv7(value) FROM owned",
    "SELECT value + 1 FROM owned",
    "SELECT 1 FROM owned WHERE value + 1 = 1",
    "SELECT max(value) FROM owned",
    "SELECT max(value) OVER () FROM owned",
    "SELECT value::integer FROM owned",
    "SELECT CAST(value AS integer) FROM owned",
    "SELECT (SELECT array_agg(value) FROM owned)::integer[]",
    "SELECT substr(value, 1) FROM silent",
    "SELECT length(value) FROM silent",
    "SELECT upper(value) FROM silent",
    "SELECT id FROM silent WHERE value = 'x'::text",
    "SELECT 'x'::mood::json",
    "SELECT length(ROW(1)::quiet)",
    "SELECT to_json(value) FROM moods",
    "SELECT row_to_json(m) FROM moods m",
    "SELECT jsonb_agg(value) FROM moods",
    "SELECT json_build_object('a', value) FROM moods",
    "SELECT 1::checked",
    "SELECT json_populate_record(NULL::with_checked, '{\"value\": 1}')",
    "SELECT (json_populate_record(w, '{\"value\": 1}')).id FROM (SELECT NULL::with_checked) q(w)",
    "SELECT jsonb_populate_record(w, '{\"value\": 1}') FROM with_checked w",
    "PREPARE p (checked) AS SELECT $1; EXECUTE p (1)",
    "SELECT set_config('application_name', 'x', 'false')",
)
# Calls to a server before PostgreSQL 16 or 17, whose grammar has no such syntax.
OF_NEWER_GRAMMAR = (
    "SELECT json_scalar(1)",
    "SELECT json_serialize(1)",
    "SELECT json_value('1'::json, 'x')",
    "SELECT json_query('1'::json, 'x')",
    "SELECT json_exists('1'::json, 'x')",
    "SELECT json_array(1)",
    "SELECT json_arrayagg(1)",
    "SELECT json_object()",
    "SELECT json_object(1)",
    "SELECT json('1'::text)",
    "SELECT merge_action()",
    "SELECT 1 FROM owned WHERE json_scalar(id) = 1",
    "SELECT * FROM json_scalar(1)",
    "PREPARE p AS SELECT 1 LIMIT json_scalar(1); EXECUTE p",
    "PREPARE p (integer) AS SELECT $1; EXECUTE p (json_scalar(1))",
)


BY_WAY_OF_OTHERS = (
    "CREATE TEMP VIEW v AS SELECT zap(5); SELECT * FROM v",
    "CREATE TEMP TABLE t (a integer DEFAULT zap(5)); INSERT INTO t DEFAULT VALUES",
    "CREATE TEMP TABLE t (a integer CHECK (zap(a) > 0)); INSERT INTO t VALUES (5)",
    "CREATE TEMP TABLE t (a integer); ALTER TABLE t ALTER a SET DEFAULT zap(5); INSERT INTO t DEFAULT VALUES",
    "CREATE TEMP TABLE t (a integer); ALTER TABLE pg_temp.t ADD b int DEFAULT zap(5); INSERT INTO t DEFAULT VALUES",
    (
        "CREATE TEMP TABLE t (a integer); CREATE TRIGGER g AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION fires(); "
        "INSERT INTO t VALUES (1)"
    ),
    "CREATE TEMP TABLE t (a integer); CREATE RULE g AS ON INSERT TO t DO ALSO SELECT zap(5); INSERT INTO t VALUES (1)",
    "CREATE TEMP VIEW v AS SELECT * FROM orders; DELETE FROM pg_temp.v",
    "CREATE TEMP VIEW v AS SELECT * FROM orders; DELETE FROM v WHERE id = 5",
    "BEGIN; CREATE TEMP VIEW v AS SELECT * FROM orders; ALTER TABLE v RENAME TO w; DELETE FROM w; COMMIT",
    "DELETE FROM mine.through WHERE id = 5",
    "DELETE FROM mine.twice WHERE id = 5",
    "UPDATE mine.through SET id = id + 100; DELETE FROM mine.through",
)


@pytest.fixture(autouse=True)
async def with_a_row_of_checked(postgres: PostgresServer) -> None:
    connection = await asyncpg.connect(postgres.url("calls"))
    await connection.execute(
        f"DELETE FROM with_checked; INSERT INTO with_checked VALUES (1, 1); DELETE FROM orders; {FILL}"
    )
    await connection.close()


@pytest.mark.parametrize("statement", [*ATTACKS, *OF_NEWER_GRAMMAR])
async def test_a_read_runs_no_code_of_the_database_unseen(connect: Connect, rows_of: Rows, statement: str) -> None:
    with connect("calls") as client:
        client.run(*statement.split("; "))

    assert await rows_of("calls", ORDERS) == LEFT


@pytest.mark.parametrize("statement", BY_WAY_OF_OTHERS)
async def test_what_is_free_leads_to_nothing_that_is_not(connect: Connect, rows_of: Rows, statement: str) -> None:
    with connect("paths") as client:
        client.run(*statement.split("; "))

    assert await rows_of("paths", ORDERS) == LEFT


@pytest.mark.parametrize("statement", [*ATTACKS, *BY_WAY_OF_OTHERS, *OF_NEWER_GRAMMAR])
async def test_these_attacks_would_delete_rows_if_no_gateway_stood_there(
    postgres: PostgresServer, statement: str
) -> None:
    connection = await asyncpg.connect(postgres.url("calls"))
    try:
        if statement in OF_NEWER_GRAMMAR and connection.get_server_version() >= (16, 0):
            pytest.skip("its grammar knows them, or some of them")
        for part in statement.split("; "):
            with contextlib.suppress(asyncpg.PostgresError):
                await connection.execute(part)
        assert await connection.fetchval(ORDERS) < LEFT
    finally:
        await connection.close()


@pytest.mark.parametrize("statement", ["SELECT 5::small + 1", "SELECT max(id) + 1 FROM customers", "SELECT upper('x')"])
def test_what_only_looks_like_them_is_read(connect: Connect, statement: str) -> None:
    with connect("held") as client:
        assert "D" in [kind for kind, _ in client.run(statement)]


async def test_a_parameter_does_not_bring_such_a_type(connect: Connect, rows_of: Rows) -> None:
    oid = await rows_of("calls", "SELECT 'checked'::regtype::oid::integer")
    value = struct.pack("!HHi", 0, 1, 1) + b"5" + b"\0\0"
    with connect("calls") as client:
        client.ask(
            message("P", text("") + text("SELECT $1") + struct.pack("!HI", 1, oid)),
            message("B", b"\0\0" + value),
            message("E", b"\0\0\0\0\0"),
            SYNC,
        )

    assert await rows_of("calls", ORDERS) == LEFT
