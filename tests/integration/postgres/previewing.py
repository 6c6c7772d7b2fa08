"""A database with tables to look at, the roles that look, and what a preview says of a statement."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from data_plane.credentials.ports import PasswordCredential
from data_plane.gate.impact import Impact
from data_plane.policy.model import TargetPreview, TargetSpec, TargetTls
from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.catalog import Catalogue
from data_plane.protocols.postgres.catalog_source import AsyncpgCatalogSource
from data_plane.protocols.postgres.core import Limits
from data_plane.protocols.postgres.core.batch import Batch
from data_plane.protocols.postgres.core.context import Context
from data_plane.protocols.postgres.core.planning import plan
from data_plane.protocols.postgres.core.previewing import question
from data_plane.protocols.postgres.core.settings import Settings
from data_plane.protocols.postgres.interface import ChangesNames, SetsParameter
from data_plane.protocols.postgres.preview.looking import Access, Previewer
from data_plane.protocols.postgres.preview.question import Question
from data_plane.protocols.postgres.statements import StatementClassifier
from data_plane.runtime.secret import Secret
from tests.data_plane.protocols.postgres.core.conversation import FakeMasking
from tests.support.postgres import PostgresServer

ALL = ("facts", "estimate", "count", "dry-run")
ROLES = {"pv_app": "app-password", "pv_looker": "looker-password", "pv_runner": "runner-password"}
STATE = {"search_path": '"$user", public', "role": "none", "user": "pv_app", "DateStyle": "ISO, MDY"}
SCHEMA = """
create table orders (id int primary key, region int, tariff int, note text);
insert into orders select i, i % 10, i % 10, 'n' from generate_series(1, {rows}) i;
create table customers (id int primary key, email text unique, name text);
insert into customers select i, 'c' || i || '@canary.example', 'n' from generate_series(1, 20) i;
create table invoices (id int primary key, customer int references customers on delete cascade);
insert into invoices select i, 1 + i % 20 from generate_series(1, 60) i;
create table lines (invoice int references invoices on delete cascade, place int, primary key (invoice, place));
insert into lines select 1 + i % 60, i from generate_series(1, 120) i;
create table payments (id int primary key, invoice int references invoices deferrable initially deferred);
insert into payments values (1, 5);
create table numbered (id serial primary key, n int);
create table secured (id int primary key, owner text);
insert into secured select i, 'pv_app' from generate_series(1, 10) i;
alter table secured enable row level security;
create policy mine on secured using (owner = current_user);
create table guarded (id int primary key);
insert into guarded values (1);
create sequence marks;
create function mark() returns int language sql volatile as 'select nextval(''marks'')::int';
create function noted() returns trigger language plpgsql as
  'begin perform nextval(''marks''); return old; end';
create trigger noted before delete on guarded for each row execute function noted();
create view marked as select id, mark() as m from orders;
create view plain as select id from orders;
create function equal_marked(int, int) returns boolean language plpgsql volatile as
  'begin perform nextval(''marks''); return true; end';
create operator === (leftarg = int, rightarg = int, function = equal_marked);
create function positive(int) returns boolean language plpgsql immutable as
  'begin perform nextval(''marks''); return true; exception when others then return true; end';
create domain amount as int check (positive(value));
create table amounts (id int primary key, a amount);
create table checked (id int primary key, n int check (positive(n)));
create table ruled (id int primary key, n int);
create rule nothing as on delete to ruled do instead insert into guarded select 100 + id from ruled;
create table parts (id int, n int) partition by range (id);
create table parts_1 partition of parts for values from (0) to (100);
insert into parts select i, i from generate_series(1, 50) i;
create schema other;
create table other.orders (id int primary key, region int, tariff int, note text);
insert into other.orders values (1, 0, 0, 'n');
create schema closed;
create table closed.hidden (id int);
analyze;
grant usage on schema public, other to pv_app, pv_looker, pv_runner;
grant all on all tables in schema public, other to pv_app, pv_runner;
grant all on all sequences in schema public to pv_app, pv_runner;
grant select on all tables in schema public, other to pv_looker;
grant usage on schema closed to pv_app;
grant all on closed.hidden to pv_app;
"""


@dataclass
class Shop:
    """`looks(text)` is what the preview role says of a statement of the session's account."""

    server: PostgresServer
    database: str
    catalogue: Catalogue
    classifier: StatementClassifier
    source: AsyncpgCatalogSource

    def spec(self, **preview: Any) -> TargetSpec:
        address = f"{self.server.host}:{self.server.port}"
        return TargetSpec(
            "postgres", "test", "agent", address, preview=TargetPreview(**preview), tls=TargetTls("disable")
        )

    def context(self, settings: dict[str, str | None] | None = None, altered: frozenset[str] = frozenset()) -> Context:
        held = Settings({**STATE, "database": self.database})
        for name, value in (settings or {}).items():
            held.apply(SetsParameter(name, value, local=False), "SET")
        if altered:
            held.apply(ChangesNames(altered), "ALTER TABLE")
        return Context(self.classifier, self.catalogue, FakeMasking(), (), Limits(), held, lambda: None)

    def question(
        self, text: str, wanted: Sequence[str], *, values: Sequence[bytes | None] = (), formats: Sequence[int] = (),
        types: Sequence[int] = (), in_transaction: bool = False, settings: dict[str, str | None] | None = None,
        altered: frozenset[str] = frozenset(),
    ) -> Question:  # fmt: skip
        context = self.context(settings, altered)
        if in_transaction:
            context.status = m.IN_TRANSACTION
        if values:
            frames = [m.encode_parse("", text, types), m.encode_bind("", "", values, formats), m.encode_execute("")]
            unit = plan(Batch(frames), m.SYNC, context)
        else:
            unit = plan(None, m.encode_query(text), context)
        return question(unit, tuple(wanted), context)

    async def looks(
        self, text: str, *wanted: str, role: str | None = "pv_looker", mask: Any = None,
        preview: dict[str, Any] | None = None, **asked: Any,
    ) -> Impact:  # fmt: skip
        async def credential() -> PasswordCredential | None:
            return PasswordCredential(role, Secret(ROLES.get(role, self.server.password))) if role else None

        access = Access(self.spec(**(preview or {})), self.database, credential, asyncio.Semaphore(2))
        previewer = Previewer(access, self.catalogue, mask or (lambda _, rows: rows))
        return await previewer(self.question(text, wanted or ALL, **asked))()

    async def reload(self) -> None:
        """What is in the catalogue now."""
        self.catalogue.loaded(await self.source.load(""), self.catalogue.changes)

    async def value(self, query: str) -> Any:
        """As the superuser sees it."""
        connection = await asyncpg.connect(self.server.url(self.database))
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()


async def a_shop(server: PostgresServer, rows: int) -> Shop:
    """Makes roles and database; called once."""
    database = server.fresh_database()
    classifier = StatementClassifier()
    catalogue = Catalogue(classifier, lambda _: None)

    async def credential() -> tuple[str, str]:
        return server.superuser, server.password

    await server._execute(
        tuple(f"create role {name} login password '{word}'" for name, word in ROLES.items()), "postgres"
    )
    await server._execute((SCHEMA.replace("{rows}", str(rows)),), database)
    source = AsyncpgCatalogSource(f"{server.host}:{server.port}", database, credential, TargetTls("disable"))
    catalogue.loaded(await source.load(""), 0)
    return Shop(server, database, catalogue, classifier, source)


@contextlib.contextmanager
def shop_of(server: PostgresServer, rows: int = 500_000) -> Iterator[Shop]:
    made = asyncio.run(a_shop(server, rows))
    yield made
    drops = [f"drop owned by {name} cascade" for name in ROLES]
    server.execute(*drops, database=made.database)
    server.execute(f"drop database {made.database}", *(f"drop role {name}" for name in ROLES))
