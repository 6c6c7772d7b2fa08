"""Drivers, unmodified, through the agent: prepared statements, pipelines, COPY, cursors, transactions; held and not."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import psycopg
import pytest
import sqlalchemy

from tests.support.stack import HOST, REQUESTER, Stack

NODE = """
const { Client } = require("pg");
(async () => {
  const client = new Client({ host: "127.0.0.1", ssl: false });
  await client.connect();
  const read = await client.query("SELECT name FROM customers WHERE id = $1", [1]);
  const named = { name: "by-id", text: "SELECT total FROM orders WHERE id = $1" };
  const first = await client.query({ ...named, values: [10] });
  const second = await client.query({ ...named, values: [11] });
  let refused = "";
  try { await client.query("DROP TABLE orders"); } catch (error) { refused = error.code; }
  const gone = await client.query("DELETE FROM orders WHERE id = $1", [19]);
  console.log(JSON.stringify([read.rows[0].name, first.rows[0].total, second.rows[0].total, refused, gone.rowCount]));
  await client.end();
})().catch((error) => { console.error(error); process.exit(1); });
"""


def dsn(stack: Stack, name: str) -> str:
    return f"host={HOST} port={stack.port(name)} user={REQUESTER} password={stack.token} dbname={name} sslmode=disable"


def test_psycopg_prepares_pipelines_copies_and_streams(stack: Stack) -> None:
    with psycopg.connect(dsn(stack, "open"), autocommit=True) as connection:
        for number in range(8):  # prepared after five
            assert connection.execute("SELECT %s::int + 1", (number,), prepare=True).fetchone() == (number + 1,)
        with connection.pipeline():
            cursors = [connection.execute("SELECT %s::int", (number,)) for number in range(50)]
            assert [cursor.fetchone() for cursor in cursors] == [(number,) for number in range(50)]
        connection.execute("CREATE TABLE copied (a int, b text)")
        with connection.cursor().copy("COPY copied FROM STDIN") as copy:
            for number in range(1000):
                copy.write_row((number, f"row {number}"))
        with connection.cursor().copy("COPY copied TO STDOUT (FORMAT binary)") as copy:
            assert sum(len(block) for block in copy) > 1000
        with connection.transaction(), connection.cursor("named") as cursor:
            cursor.execute("SELECT a FROM copied ORDER BY a")
            assert cursor.fetchmany(10) == [(number,) for number in range(10)]
        connection.execute("DROP TABLE copied")


def test_psycopg_holds_bind_their_parameters(stack: Stack) -> None:
    """Invariant 2: another execution is another operation, with its own parameters."""
    with psycopg.connect(dsn(stack, "shop"), autocommit=True) as connection:
        connection.prepare_threshold = 0
        for number in (6, 7):
            with stack.approving("DELETE FROM orders WHERE id = $1"):
                assert connection.execute("DELETE FROM orders WHERE id = %s", (number,)).rowcount == 1
        decided = stack.reviewer.pages("/v1/approvals", 2, show="decided")
        shown = [stack.reviewer.get(f"/v1/approvals/{item['id']}") for item in decided]
        assert {one["operation"]["parameters"][0]["value"] for one in shown} == {"6", "7"}


def test_a_denied_statement_in_a_pipeline_aborts_the_rest_and_the_connection_lives(stack: Stack) -> None:
    with psycopg.connect(dsn(stack, "shop"), autocommit=True) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.pipeline() as pipeline:
            connection.execute("SELECT 1")
            connection.execute("DROP TABLE orders")
            connection.execute("SELECT 2")
            pipeline.sync()
        assert connection.execute("SELECT count(*) > 5 FROM orders").fetchone() == (True,)


@contextlib.asynccontextmanager
async def connected(stack: Stack, name: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(
        host=HOST, port=stack.port(name), user=REQUESTER, password=stack.token, database=name, ssl=False
    )
    try:
        yield connection
    finally:
        await connection.close()


async def test_asyncpg_prepares_streams_and_copies(stack: Stack) -> None:
    async with connected(stack, "open") as connection:
        statement = await connection.prepare("SELECT $1::int * 2")
        assert [await statement.fetchval(number) for number in range(5)] == [0, 2, 4, 6, 8]
        async with connection.transaction():
            values = [row[0] async for row in connection.cursor("SELECT generate_series(1, 300)", prefetch=50)]
        assert values == list(range(1, 301))
        await connection.execute("CREATE TABLE filled (a int, b text)")
        await connection.copy_records_to_table("filled", records=[(number, "x") for number in range(500)])
        assert await connection.fetchval("SELECT count(*) FROM filled") == 500
        await connection.executemany("INSERT INTO filled VALUES ($1, $2)", [(number, "y") for number in range(50)])
        await connection.execute("DROP TABLE filled")


async def test_asyncpg_waits_for_a_hold_and_its_timeout_cancels_one(stack: Stack) -> None:
    async with connected(stack, "shop") as connection:
        held = asyncio.create_task(connection.execute("DELETE FROM orders WHERE id = $1", 8))
        await asyncio.to_thread(stack.approve, "DELETE FROM orders WHERE id = $1")
        assert await held == "DELETE 1"
        with pytest.raises(TimeoutError):
            await connection.execute("DELETE FROM orders WHERE id = 9", timeout=1)
        assert await connection.fetchval("SELECT count(*) FROM orders WHERE id = 9") == 1


async def test_masked_columns_are_masked_in_binary_too(stack: Stack) -> None:
    async with connected(stack, "shop") as connection:
        rows = await connection.fetch("SELECT id, name, email, card FROM customers ORDER BY id")
        assert [row["name"] for row in rows] == ["Ada", "Grace"]
        assert all("canary" not in (row["email"] or "") and "41111" not in (row["card"] or "") for row in rows)


def test_sqlalchemy_works_with_its_own_pool_and_transactions(stack: Stack) -> None:
    url = f"postgresql+psycopg://{REQUESTER}:{stack.token}@{HOST}:{stack.port('open')}/open?sslmode=disable"
    engine = sqlalchemy.create_engine(url)
    metadata = sqlalchemy.MetaData()
    table = sqlalchemy.Table("made", metadata, sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True))
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(table.insert(), [{"id": number} for number in range(100)])
    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.select(sqlalchemy.func.count()).select_from(table)) == 100
    metadata.drop_all(engine)
    engine.dispose()


def test_node_postgres_works_unmodified(stack: Stack, tmp_path: Path) -> None:
    assert shutil.which("npm"), "npm is not installed: run `make system`"
    subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "pg@8"], cwd=tmp_path, check=True)
    (tmp_path / "try.js").write_text(NODE)
    with stack.approving("DELETE FROM orders WHERE id = $1"):
        done = subprocess.run(
            ["node", "try.js"], cwd=tmp_path, env=stack.environment("shop"), capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == '["Ada","10.00","11.00","42501",1]'
