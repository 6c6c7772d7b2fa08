"""What people approve is done by a session that may not do it; what a lying gate lets through is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.errors import (
    AdminShutdown,
    DivisionByZero,
    InsufficientPrivilege,
    ProgramLimitExceeded,
    QueryCanceled,
)

from tests.integration.postgres.accounts.gateway import Gateway, gateway
from tests.integration.postgres.accounts.world import READ, WRITE, World, eventually

ASK = "/* ask */"
DELETE = "delete from notes where id = %s"
COUNT = "select count(*) from notes"


@pytest.fixture
async def reader(world: World, tmp_path: Path) -> AsyncIterator[Gateway]:
    """An endpoint whose sessions policy lets read, and no more."""
    async with gateway(world, tmp_path, "read") as running:
        yield running


async def value(connection: psycopg.AsyncConnection[Any], question: str) -> Any:
    row = await (await connection.execute(question)).fetchone()
    assert row is not None
    return row[0]


async def changes(connection: psycopg.AsyncConnection[Any], statement: str = "update notes set note = 'x'") -> bool:
    """Whether a change that no person has seen passes; within a transaction that goes on afterwards."""
    try:
        async with connection.transaction():
            await connection.execute(statement)
    except InsufficientPrivilege:
        return False
    return True


async def test_what_is_approved_is_done_and_the_next_is_not(reader: Gateway) -> None:
    connection = await reader.psycopg()
    assert not await changes(connection)
    await connection.execute(f"delete from notes where id = 1 {ASK}")
    assert await value(connection, COUNT) == 2
    assert not await changes(connection)
    await connection.execute(f"delete from notes where id = %s {ASK}", [2])
    assert not await changes(connection)
    assert await value(connection, COUNT) == 1


async def test_within_a_transaction_too(reader: Gateway) -> None:
    """The table is locked, the statement is prepared, and so planned, with the wider account: none of it helps."""
    connection = await reader.psycopg()
    await connection.execute("prepare change as update notes set note = note || 'x'")
    for asked in (f"update notes set note = 'y' {ASK}", f"execute change {ASK}"):
        await connection.execute("begin")
        assert not await changes(connection, "execute change")
        await connection.execute(asked)
        assert not await changes(connection)
        assert not await changes(connection, "execute change")
        await connection.execute(asked)
        assert not await changes(connection, "execute change")
        await connection.execute("commit")
    assert await value(connection, "select string_agg(distinct note, ' ') from notes") == "yxx"


async def test_a_function_that_ran_with_the_wider_right_does_not_run_with_it_again(
    world: World, reader: Gateway
) -> None:
    await world.do("create function cleaned() returns bigint language sql as 'with d as (delete from notes where id "
                   "= (select min(id) from notes) returning 1) select count(*) from d'",
                   "create function dynamic() returns void language plpgsql as $$ begin delete from notes; end $$")  # fmt: skip
    await world.do("alter table notes add foreign key (id) references notes")
    connection = await reader.psycopg()
    await connection.execute("begin")
    assert not await changes(connection, "select cleaned(), dynamic()")
    await connection.execute(f"select cleaned() {ASK}; delete from notes where false")
    assert not await changes(connection, "select cleaned()")
    assert not await changes(connection, "select dynamic()")
    await connection.execute("commit")
    assert not await changes(connection, "select dynamic()")
    assert await value(connection, COUNT) == 2


@pytest.mark.parametrize("open_", ["", "begin"], ids=["alone", "in a transaction"])
async def test_what_was_planned_with_the_wider_right_shows_no_rows_to_the_narrow_one(
    world: World, reader: Gateway, open_: str
) -> None:
    """A plan holds the row security of its time, also in functions; nothing plans anew because a membership ended."""
    await world.do("alter table notes enable row level security",
                   f"create policy few on notes for select to {READ} using (id = 1)",
                   f"create policy every on notes to {WRITE} using (true)",
                   "create function counted() returns bigint language plpgsql as "
                   "$$ begin return (select count(*) from notes); end $$")  # fmt: skip
    connection = await reader.psycopg()
    seen = "select counted() * 10 + count(*) from notes"
    if open_:
        await connection.execute(open_)
    await connection.execute(f"prepare kept as {seen}; execute kept; delete from notes where false {ASK}")
    assert [await value(connection, question) for question in (seen, "execute kept")] == [11, 11]


async def test_a_large_object_cannot_be_kept_open_with_the_wider_right(world: World, reader: Gateway) -> None:
    """Whether it may be written to is asked when it is opened, and never again."""
    await world.do("select lo_from_bytea(4711, 'good')", f"grant select, update on large object 4711 to {WRITE}")
    connection = await reader.psycopg()
    await connection.execute("begin")
    with pytest.raises(InsufficientPrivilege, match="kept open"):
        await connection.execute(f"select lo_open(4711, 131072) {ASK}")
    await connection.execute("rollback")
    await connection.execute(f"select lo_put(4711, 0, 'well') {ASK}")
    assert await world.ask("select lo_get(4711)") == b"well"


async def test_a_transaction_that_failed_with_the_wider_right_gives_nothing_when_it_goes_on(reader: Gateway) -> None:
    connection = await reader.psycopg()
    await connection.execute("begin")
    await connection.execute(f"update notes set note = 'y' {ASK}")
    await connection.execute("savepoint a")
    with pytest.raises(DivisionByZero):
        await connection.execute(f"update notes set note = 1 / 0 {ASK}")
    with pytest.raises(psycopg.errors.InFailedSqlTransaction, match="one statement at a time"):
        await connection.execute("rollback to a; update notes set note = 'z'")
    await connection.execute("rollback to a")
    assert not await changes(connection)
    await connection.execute(f"update notes set note = note || 'x' {ASK}")
    await connection.execute("commit")
    assert await value(connection, "select distinct note from notes") == "yx"


async def test_what_is_sent_along_behind_it_is_no_wider(reader: Gateway) -> None:
    connection = await reader.psycopg()
    with pytest.raises(InsufficientPrivilege):
        async with connection.pipeline() as pipeline:
            await connection.execute(f"delete from notes where id = 1 {ASK}")
            await pipeline.sync()
            await connection.execute("delete from notes")
    assert await value(connection, COUNT) == 2
    other = await reader.asyncpg()
    with pytest.raises(Exception, match="permission denied"):
        await other.execute("select 1; delete from notes")
    await other.execute(f"begin; delete from notes where id = 2 {ASK}; commit")
    assert await other.fetchval(COUNT) == 1
    await other.close()


async def test_copy_is_approved(reader: Gateway) -> None:
    connection = await reader.psycopg()
    async with connection.cursor() as cursor:
        async with cursor.copy(f"copy notes from stdin {ASK}") as copy:
            await copy.write_row([7, "seven"])
        with pytest.raises(InsufficientPrivilege):
            async with cursor.copy("copy notes from stdin") as copy:
                await copy.write_row([8, "eight"])
    assert await value(connection, COUNT) == 4


async def test_a_row_guard_undoes_it(reader: Gateway) -> None:
    connection = await reader.psycopg()
    with pytest.raises(ProgramLimitExceeded, match="at most 2 were approved"):
        await connection.execute("delete from notes /* ask most 2 */")
    await connection.execute("delete from notes where id < 3 /* ask most 2 */")
    assert not await changes(connection)
    assert await value(connection, COUNT) == 1


async def test_what_people_let_a_session_make_belongs_to_the_owner_at_once(reader: Gateway, world: World) -> None:
    connection = await reader.psycopg()
    assert not await changes(connection, "create table made (id int)")
    await connection.execute(f"create table made (id int) {ASK}")
    owner = "select tableowner from pg_tables where tablename = 'made'"
    assert not await changes(connection, "drop table made")
    assert await world.ask(owner) == "app_owner"


async def test_what_people_let_a_session_make_for_itself_stays_its_own(reader: Gateway) -> None:
    connection = await reader.psycopg()
    made = "create temp table mine as with d as (delete from notes where id = 1 returning *) select * from d"
    await connection.execute(f"{made} {ASK}")
    await connection.execute("insert into mine select * from notes")
    assert await value(connection, "select count(*) from mine") == 3
    assert await value(connection, COUNT) == 2


async def test_a_role_that_is_taken_on_with_the_wider_right_ends_the_session(world: World, reader: Gateway) -> None:
    """Until PostgreSQL 15 a member of a group can become it; what it has become outlives the membership."""
    await world.do(
        "create function becomes() returns text language sql as $$ select set_config('role', 'app_rw', false) $$"
    )
    connection = await reader.psycopg()
    taken = f"select becomes() {ASK}; delete from notes where false"
    if await world.ask("select current_setting('server_version_num')::int >= 160000"):
        with pytest.raises(InsufficientPrivilege):
            await connection.execute(taken)
    else:
        await connection.execute(taken)
        with pytest.raises(AdminShutdown, match="taken on a role"):
            await connection.execute("delete from notes")
    assert await world.ask(COUNT) == 3


async def test_a_role_or_an_open_batch_cannot_be_approved_with_a_wider_account(reader: Gateway) -> None:
    connection = await reader.psycopg()
    with pytest.raises(InsufficientPrivilege, match="a role that only this operation may use cannot be kept"):
        await connection.execute(f"set role app_rw; delete from notes {ASK}")
    assert reader.gate.holds == [], "nobody is asked"
    assert await value(connection, COUNT) == 3


async def test_what_cannot_be_given_is_refused_and_the_session_goes_on(world: World, reader: Gateway) -> None:
    connection = await reader.psycopg()
    await world.do("alter role app_rw rename to moved")
    try:
        with pytest.raises(InsufficientPrivilege, match="not run: it was approved"):
            await connection.execute(f"delete from notes {ASK}")
        outcome, detail = reader.gate.executions[-1]
        assert (outcome, detail.startswith("not run: ")) == ("failed", True)
    finally:
        await world.do("alter role moved rename to app_rw")
    assert await value(connection, COUNT) == 3
    await connection.execute(f"delete from notes {ASK}")
    assert await value(connection, COUNT) == 0


async def test_what_cannot_be_taken_back_ends_the_session_and_its_account(world: World, reader: Gateway) -> None:
    before = await reader.roles()
    connection = await reader.psycopg()
    lock = await psycopg.AsyncConnection.connect(world.server.url(world.database))
    await lock.execute("lock table notes in exclusive mode")
    asked = asyncio.ensure_future(connection.execute(f"update notes set note = 'y' {ASK}"))
    waiting = "select count(*) from pg_locks where not granted and relation = 'notes'::regclass"
    await eventually(lambda: world.ask(waiting), "the operation runs")
    await world.do("alter role app_rw rename to moved")
    try:
        await lock.close()
        assert (await asked).rowcount == 3
        with pytest.raises(AdminShutdown, match="could not be made narrow again"):
            await connection.execute(COUNT)
    finally:
        await world.do("alter role moved rename to app_rw")

    async def gone() -> bool:
        return await reader.roles() == before

    await eventually(gone, "the role is gone")


async def slowly(world: World) -> psycopg.AsyncConnection[Any]:
    """Nothing can be granted until this connection is closed."""
    admin = await psycopg.AsyncConnection.connect(world.server.url(world.database))
    await admin.execute("lock table pg_auth_members in share mode")
    return admin


async def widening(world: World) -> None:
    waiting = "select count(*) from pg_locks where not granted and relation = 'pg_auth_members'::regclass"
    await eventually(lambda: world.ask(waiting), "the account is being widened")


async def test_a_client_that_gives_up_while_the_account_is_widened_has_changed_nothing(
    world: World, reader: Gateway
) -> None:
    connection = await reader.psycopg()
    lock = await slowly(world)
    asked = asyncio.ensure_future(connection.execute(f"delete from notes {ASK}"))
    await widening(world)
    await connection.cancel_safe()
    await lock.close()
    with pytest.raises(QueryCanceled):
        await asked
    assert not await changes(connection)
    assert await value(connection, COUNT) == 3


async def test_a_client_that_goes_away_while_the_account_is_widened_leaves_nothing_behind(
    world: World, reader: Gateway
) -> None:
    before = await reader.roles()
    connection = await reader.asyncpg()
    lock = await slowly(world)
    asked = asyncio.ensure_future(connection.execute(f"delete from notes {ASK}"))
    await widening(world)
    connection.terminate()
    await asyncio.wait([asked])
    assert asked.exception() is not None
    await lock.close()

    async def gone() -> bool:
        return await reader.roles() == before

    await eventually(gone, "the role is gone")
    assert await world.ask(COUNT) == 3


async def test_a_session_that_may_write_is_not_widened_for_it(world: World, tmp_path: Path) -> None:
    async with gateway(world, tmp_path, "read", "write") as writer:
        connection = await writer.psycopg()
        lock = await slowly(world)
        await connection.execute(f"delete from notes {ASK}")
        await lock.close()
        assert await value(connection, COUNT) == 0


async def test_copy_in_a_batch_of_the_extended_protocol_is_refused(reader: Gateway) -> None:
    connection = await reader.psycopg()
    with pytest.raises(InsufficientPrivilege, match="simple query"):
        async with connection.pipeline():
            await connection.execute(f"copy notes from stdin {ASK}")
