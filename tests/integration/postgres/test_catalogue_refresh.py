"""The catalogue of a real server: loaded with a plain role over TLS, and kept up with what changes."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from data_plane.gate.interface import Action, Resource, Subject
from data_plane.policy.model import ColumnMask, TargetTls
from data_plane.protocols.postgres import catalog_source
from data_plane.protocols.postgres.catalog import Catalogue
from data_plane.protocols.postgres.catalog_data import CatalogData
from data_plane.protocols.postgres.catalog_refresh import Catalogues, KeptCatalogue
from data_plane.protocols.postgres.catalog_source import AsyncpgCatalogSource, Credential
from data_plane.protocols.postgres.interface import SearchPath
from data_plane.protocols.postgres.statements import StatementClassifier
from tests.support.postgres import PostgresServer

PATH = SearchPath(("public",), frozenset())
SSN = (ColumnMask(column="public.customers.ssn"),)


async def credential() -> tuple[str, str]:
    return "plain", "plain-password"


def credentials(server: PostgresServer, database: str) -> tuple[str, str, Credential, TargetTls]:
    return f"{server.host}:{server.port}", database, credential, TargetTls(mode="verify-full", ca=server.ca_pem)


def source(server: PostgresServer, database: str) -> AsyncpgCatalogSource:
    return AsyncpgCatalogSource(*credentials(server, database))


@pytest.fixture
async def admin(postgres: PostgresServer) -> asyncpg.Connection:
    name = await asyncio.to_thread(postgres.fresh_database)
    connection = await asyncpg.connect(postgres.url(name))
    await connection.execute(
        """do $$ begin create role plain login password 'plain-password'; exception when duplicate_object then end $$;
        create table customers (id int, ssn text, shown text generated always as (ssn) stored);
        create view v as select id, ssn from customers"""
    )
    yield connection
    await connection.close()


def catalogues(postgres: PostgresServer, **pace: float) -> Catalogues:
    return Catalogues(lambda database: source(postgres, database), StatementClassifier(), **pace)


def candidates(known: Catalogue, name: str) -> tuple[str, ...]:
    asked = Subject(Action.READ, ("SELECT",), (Resource("relation", (f"?.{name}",), ("read",)),), {}, True)
    return known.resolve(asked, PATH).resources[0].candidates


async def until(known: Catalogue, name: str) -> None:
    async with asyncio.timeout(20):
        while candidates(known, name) != (f"public.{name}",):
            await asyncio.sleep(0.02)


async def database_of(admin: asyncpg.Connection) -> str:
    return str(await admin.fetchval("select current_database()"))


async def test_a_plain_role_reads_all_that_is_needed(postgres: PostgresServer, admin: asyncpg.Connection) -> None:
    async with catalogues(postgres).use(await database_of(admin)) as known:
        assert candidates(known, "customers") == ("public.customers",)
        assert candidates(known, "pg_class") == ("pg_catalog.pg_class",)
        protection = known.protection(SSN)
        oid = await admin.fetchval("select 'customers'::regclass::oid")
        view = await admin.fetchval("select 'v'::regclass::oid")
        assert [protection.strategy(oid, attnum) for attnum in (1, 2, 3)] == [None, "redact", "redact"]
        assert [protection.strategy(view, attnum) for attnum in (1, 2)] == [None, "redact"]
        assert known.data.relations[oid].generated == {3}
        assert known.data.user == "plain"


async def test_a_change_that_is_told_is_seen_soon(postgres: PostgresServer, admin: asyncpg.Connection) -> None:
    async with catalogues(postgres, poll_seconds=3600).use(await database_of(admin)) as known:
        await admin.execute("create table told (a int)")
        known.changed(())
        assert known.stale
        await until(known, "told")
        assert not known.stale


async def test_an_unknown_name_is_looked_for(postgres: PostgresServer, admin: asyncpg.Connection) -> None:
    async with catalogues(postgres, poll_seconds=3600, unknown_seconds=0.05).use(await database_of(admin)) as known:
        assert candidates(known, "later") == ("?.later",)
        await admin.execute("create table later (a int)")
        await until(known, "later")


async def test_what_others_change_is_seen_at_the_next_poll(postgres: PostgresServer, admin: asyncpg.Connection) -> None:
    async with catalogues(postgres, poll_seconds=0.05, unknown_seconds=0.01).use(await database_of(admin)) as known:
        epoch = known.epoch
        await admin.execute("alter table customers rename ssn to harmless")
        async with asyncio.timeout(20):
            while known.epoch == epoch:
                await asyncio.sleep(0.02)
        oid = await admin.fetchval("select 'customers'::regclass::oid")
        assert known.data.relations[oid].columns[2] == "harmless"


async def test_a_column_stays_protected_over_a_rename(postgres: PostgresServer, admin: asyncpg.Connection) -> None:
    kept = catalogues(postgres, idle_seconds=0)
    oid = await admin.fetchval("select 'customers'::regclass::oid")
    database = await database_of(admin)
    async with kept.use(database) as known:
        assert known.protection(SSN).strategy(oid, 2) == "redact"
    await admin.execute("alter table customers rename ssn to harmless")
    await asyncio.sleep(0)  # the refresh stops
    async with kept.use(database) as known:
        assert known.data.relations[oid].columns[2] == "harmless"
        assert known.protection(SSN).strategy(oid, 2) == "redact"


async def test_nothing_is_loaded_again_when_nothing_changed(
    postgres: PostgresServer, admin: asyncpg.Connection
) -> None:
    reading = source(postgres, await database_of(admin))
    first = await reading.load("")
    assert first is not None
    await admin.execute("analyze")
    assert await reading.load(first.fingerprint) is None
    await admin.execute("comment on table customers is 'x'; create index on customers (id)")
    assert await reading.load(first.fingerprint) is not None


async def test_a_session_right_after_another_does_not_wait_for_the_target(
    postgres: PostgresServer, admin: asyncpg.Connection
) -> None:
    loads = []

    class Counting(AsyncpgCatalogSource):
        async def load(self, known: str) -> CatalogData | None:
            loads.append(known)
            return await super().load(known)

    kept = Catalogues(lambda name: Counting(*credentials(postgres, name)), StatementClassifier())
    database = await database_of(admin)
    for _ in range(3):
        async with kept.use(database):
            pass
    assert loads == [""]


async def test_a_database_that_is_not_there_is_a_connection_error(postgres: PostgresServer) -> None:
    kept = catalogues(postgres)
    for _ in range(2):
        with pytest.raises(ConnectionError, match="cannot be read"):
            async with kept.use("no_such_database"):
                pass


async def test_a_server_with_another_authority_is_refused(postgres: PostgresServer) -> None:
    reading = AsyncpgCatalogSource(f"{postgres.host}:{postgres.port}", "postgres", credential, TargetTls())
    with pytest.raises(ConnectionError, match="certificate verify failed"):
        await reading.load("")


async def test_hidden_calls_and_closed_schemas_are_told(postgres: PostgresServer, admin: asyncpg.Connection) -> None:
    await admin.execute(
        """create function one(a int, b int default 1) returns int language sql as 'select 1';
        create function rows(customers) returns int language sql as 'select 1';
        create function nothing() returns int language sql as 'select 1';
        create function two(a int, b int) returns int language sql as 'select 1';
        create domain checked as int check (one(value) > 0); create domain bare as int check (value > 0 and lower('A') = 'a'); create domain over as checked;
        create type holder as (a checked); create type mood as enum ('a');
        create type made as (a int); create function to_made(int) returns made language sql as 'select row($1)::made';
        create cast (int as made) with function to_made(int);
        create schema shut; create schema open; grant usage on schema open to plain"""
    )
    reading = source(postgres, await database_of(admin))
    first = await reading.load("")
    assert first is not None
    assert {"one", "rows", "to_made"} <= first.code.attribute_functions
    assert first.code.attribute_functions.isdisjoint({"nothing", "two", "lower"})
    assert {"checked", "over", "holder", "made", "_checked"} <= first.code.coded_types
    assert first.code.coded_types.isdisjoint({"bare", "mood", "int4", "customers"})
    assert {"mood", "bare"} <= first.code.types
    assert "shut" in first.closed_schemas
    assert first.closed_schemas.isdisjoint({"open", "public", "pg_catalog"})
    await admin.execute("grant usage on schema shut to public")
    second = await reading.load(first.fingerprint)
    assert second is not None
    assert "shut" not in second.closed_schemas
    await admin.execute("alter domain bare add check (one(value) > 0)")
    third = await reading.load(second.fingerprint)
    assert third is not None
    assert "bare" in third.code.coded_types


async def test_a_session_opens_while_a_view_that_is_being_read_is_dropped(
    postgres: PostgresServer, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a temporary one is when its session ends."""
    reading = catalog_source._read

    async def dropped_first(connection: asyncpg.Connection, fingerprint: str) -> CatalogData:
        await admin.execute("drop view if exists v")
        return await reading(connection, fingerprint)

    monkeypatch.setattr(catalog_source, "_read", dropped_first)
    async with catalogues(postgres).use(await database_of(admin)) as known:
        assert candidates(known, "customers") == ("public.customers",)
        assert candidates(known, "v") == ("?.v",)


async def test_a_refresh_that_was_to_stop_goes_on_when_a_session_comes_in_time(
    postgres: PostgresServer, admin: asyncpg.Connection
) -> None:
    kept = KeptCatalogue(source(postgres, await database_of(admin)), StatementClassifier(), 3600, 1)
    kept.enter()
    await kept.ready()
    kept.leave(0)
    kept.enter()
    kept.leave(3600)  # as short as this session was
    await asyncio.sleep(0.01)
    assert kept.refreshed
    kept.enter()
    kept.leave(0)
    await asyncio.sleep(0.01)
    assert not kept.refreshed


async def test_a_session_opens_while_a_migration_holds_what_a_view_reads(
    postgres: PostgresServer, admin: asyncpg.Connection
) -> None:
    database = await database_of(admin)
    view = await admin.fetchval("select 'v'::regclass::oid")
    await admin.execute("begin; alter table customers add later int")
    async with catalogues(postgres, poll_seconds=0.05, unknown_seconds=0.01).use(database) as known:
        shown = lambda: [known.protection(SSN).strategy(view, attnum) for attnum in (1, 2)]  # noqa: E731
        assert shown() == ["redact", "redact"]
        await admin.execute("rollback")
        async with asyncio.timeout(20):
            while shown() != [None, "redact"]:
                await asyncio.sleep(0.02)


async def test_who_waits_for_a_load_is_told_when_it_came_and_when_it_failed_for_whatever_reason() -> None:
    class Failing:
        fails: Exception | None = None

        async def load(self, known: str) -> CatalogData | None:
            del known
            if self.fails is not None:
                raise self.fails
            return None

    source, told = Failing(), asyncio.Event()
    kept = KeptCatalogue(source, StatementClassifier(), 20.0, 0.01)
    kept.enter()
    await kept.ready()
    for source.fails in (None, ConnectionError("gone"), ValueError("not a catalogue")):
        told.clear()
        kept.catalogue.changed(())
        kept.catalogue.when_loaded(told.set)
        await asyncio.wait_for(told.wait(), 5)
        assert kept.catalogue.stale is (source.fails is not None)
    kept.leave(0)


def test_a_load_that_began_before_the_change_is_not_the_one() -> None:
    told: list[int] = []
    known = Catalogue(StatementClassifier(), lambda changed: None)
    known.changed(())
    known.when_loaded(lambda: told.append(1))
    known.tell(known.changes - 1)
    assert told == []
    known.tell(known.changes)
    assert told == [1]
