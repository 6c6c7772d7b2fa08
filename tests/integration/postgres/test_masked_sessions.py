"""Masked sessions of unmodified clients through the real core: what one statement can show that another one made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import asyncpg
import psycopg
import pytest

from data_plane.gate.interface import Subject
from data_plane.policy.model import ColumnMask, MaskSpec
from tests.integration.postgres.test_through_the_gateway import through, until
from tests.support.postgres import PostgresServer
from tests.support.relaying import TOKEN, Relay

SSN = "078-05-1120"
SCHEMA = f"""
create table customers (id int primary key, ssn text, note text);
insert into customers values (1, '{SSN}', 'plain');
create table orders (id int, note text);
insert into orders values (1, 'plain');
create sequence numbers;
"""
HASHED = {"pii": MaskSpec(columns=(ColumnMask(column="public.customers.ssn", strategy="hash"),))}


@pytest.fixture(scope="module")
def database(postgres: PostgresServer) -> str:
    name = postgres.fresh_database()

    async def fill() -> None:
        connection = await asyncpg.connect(postgres.url(name))
        await connection.execute(SCHEMA)
        await connection.close()

    asyncio.run(fill())
    return name


@pytest.fixture
async def relay(postgres: PostgresServer, tmp_path: Path) -> AsyncIterator[Relay]:
    # Not over TLS: on asyncio a connection that is being made when a test ends would not be closed with its loop.
    async with through(postgres, folder=tmp_path, masks=HASHED, mode="disable") as running:
        yield running
    await until(lambda: running.sessions.count == 0)


async def connected(relay: Relay, database: str) -> psycopg.AsyncConnection:
    dsn = f"postgresql://robot:{TOKEN}@127.0.0.1:{relay.port}/{database}"
    return await psycopg.AsyncConnection.connect(dsn, autocommit=True)


async def fetched(connection: psycopg.AsyncConnection, query: str) -> list[tuple[object, ...]]:
    return await (await connection.execute(query)).fetchall()


async def test_hashes_are_equal_inside_a_session_and_nowhere_else(relay: Relay, database: str) -> None:
    seen = []
    for _ in range(2):
        async with await connected(relay, database) as connection:
            once, again = [await fetched(connection, "select ssn from customers") for _ in range(2)]
            assert once == again
            seen.append(once[0][0])
    assert "masked:" in str(seen[0])
    assert seen[0] != seen[1]


async def test_a_rule_on_a_table_holds_whatever_became_of_a_temporary_one(relay: Relay, database: str) -> None:
    """After a rollback, a drop or a commit that takes it along, the name means the real table again."""

    def rule(subjects: Sequence[Subject]) -> bool:
        read = [resource for subject in subjects for resource in subject.resources if "read" in resource.access]
        return not any("public.customers" in resource.candidates for resource in read)

    relay.admission.rule = rule
    async with await connected(relay, database) as connection:
        for made in (
            "begin; create temp table customers (id int); rollback",
            "begin; savepoint s; create temp table customers (id int); rollback to s; commit",
            "begin; create temp table customers (id int) on commit drop; commit",
            "create temp table customers (id int); drop table customers",
            "create temp table customers (id int)",
            "discard temp",
        ):
            await connection.execute(made)
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="rule of the test"):
                await connection.execute("select * from customers")


COPYING = [
    "update customers set note = ssn",
    "update customers set note = (select upper(ssn) from customers limit 1)",
    "update orders set note = c.ssn from customers c where c.id = orders.id",
    "insert into orders select id, ssn from customers",
    "insert into orders select * from customers",
    "insert into orders (note) select s from (select ssn as s from customers) q",
    "insert into orders select (c).id, (c).ssn from customers c",
    "insert into orders select 1, c::text from customers c",
    "insert into orders values (1, (select ssn from customers))",
    "insert into orders values (1, 'x') on conflict do nothing; insert into orders select 1, ssn from customers",
    "merge into orders using customers c on c.id = orders.id when matched then update set note = c.ssn",
    "with moved as (delete from customers returning ssn) insert into orders (note) select ssn from moved",
    "create table copied as select ssn from customers",
    "create temp table copied as table customers",
    "select ssn as harmless into copied from customers",
    "create view copied as select ssn as harmless from customers",
    "create materialized view copied as select ssn as harmless from customers",
    "alter table customers alter note type text using ssn",
    "alter table customers add copied text generated always as (upper(ssn)) stored",
    "explain analyze insert into orders select 1, ssn from customers",
    "begin; create view orders2 as select * from orders; update customers set note = ssn; rollback",
    "begin; alter table customers rename to c; insert into orders select 1, ssn from c; rollback",
    "prepare p as insert into orders select 1, ssn from customers; execute p",
    "prepare q as select ssn from customers; create table copied as execute q",
    "select pg_notify('c', ssn) from customers",
]
STORING = [
    "update customers set note = 'x' where ssn like '0%' returning ssn",
    "update customers set note = upper(note), ssn = '1'",
    "insert into customers (id, ssn) values (2, '1') on conflict (id) do update set ssn = excluded.ssn",
    "insert into orders select id, note from customers",
    "insert into orders select * from orders",
    "delete from customers where ssn = '1'",
    "create table copied as select id, note from customers",
    "create temp table copied (a int); insert into copied values (1); update copied set a = a + 1",
    "begin; create temp table customers (id int, ssn text); insert into customers values (1, '2'); rollback",
    "create view copied as select count(*) from customers",
    "alter table customers add copied text",
    "create index on customers (ssn)",
    "select nextval('numbers')",
]


@pytest.mark.parametrize("statement", COPYING)
async def test_masked_values_are_not_copied(relay: Relay, database: str, statement: str) -> None:
    async with await connected(relay, database) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="masked values may not be copied"):
            await connection.execute(statement)


@pytest.mark.parametrize("statement", STORING)
async def test_what_copies_nothing_masked_is_stored(relay: Relay, database: str, statement: str) -> None:
    async with await connected(relay, database) as connection:
        await connection.execute("begin")
        await connection.execute(statement)
        await connection.execute("rollback")


REDACTED = {"pii": MaskSpec(columns=(ColumnMask(column="public.customers.ssn"),))}


async def test_an_open_session_follows_changes_of_a_mask(relay: Relay, database: str) -> None:
    query = "select ssn, note from customers"
    async with await connected(relay, database) as connection, connection.transaction():
        assert "masked:" in str((await fetched(connection, query))[0][0])
        async with connection.cursor("open") as cursor:
            await cursor.execute(query)
            relay.in_force.masks = REDACTED
            assert await cursor.fetchall() == [("‹masked›", "plain")]
        assert await fetched(connection, query) == [("‹masked›", "plain")]
        relay.in_force.masks = {"pii": MaskSpec(columns=(ColumnMask(column="public.customers.note"),))}
        assert await fetched(connection, query) == [(SSN, "‹masked›")]
        relay.in_force.masks = {}
        assert await fetched(connection, query) == [("‹masked›", "‹masked›")]


async def test_an_open_session_follows_masks_that_are_attached_later(
    postgres: PostgresServer, tmp_path: Path, database: str
) -> None:
    query = "select ssn from customers"
    async with through(postgres, folder=tmp_path, mode="disable") as relay:
        async with await connected(relay, database) as connection:
            assert await fetched(connection, query) == [(SSN,)]
            async with connection.transaction(), connection.cursor("open") as cursor:
                await cursor.execute(query)
                relay.in_force.masks = REDACTED
                relay.admission.admitted[0].gate.masks = ("pii",)
                assert await cursor.fetchall() == [("‹masked›",)]
            assert await fetched(connection, query) == [("‹masked›",)]
            assert await (await connection.execute(query, prepare=True)).fetchall() == [("‹masked›",)]
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="may not be copied"):
                await connection.execute("update customers set note = ssn")
        await until(lambda: relay.sessions.count == 0)


async def test_a_migration_uses_at_once_what_it_has_made(relay: Relay, database: str) -> None:
    """Nothing of it is masked or refused because the catalogue has not been loaded since."""
    async with await connected(relay, database) as connection:
        for turn in ("first", "second", "third"):
            await connection.execute(f"create table {turn} (id int, note text)")
            await connection.execute(f"insert into {turn} values (1, 'plain')")
            assert await fetched(connection, f"select note from {turn}") == [("plain",)]
            await connection.execute(f"alter table {turn} rename note to remark")
            await connection.execute(f"create table {turn}_copy as select t.id, t.remark from {turn} t")
            await connection.execute(f"create view {turn}_view as select t.remark from {turn}_copy t")
            assert await fetched(connection, f"select remark from {turn}_view") == [("plain",)]
