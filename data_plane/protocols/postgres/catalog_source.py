"""Reads the catalogue of one database over asyncpg, on a connection of its own that is closed again at once.

Everything is read in one read-only, repeatable-read transaction, so that it is one state. VACUUM must keep what is
deleted while it is open, so it is short: JIT, which compiles these queries for longer than they run, is off. The
fingerprint covers the rows' `xmin` of what is read: a change that commits changes it, `ANALYZE` does not.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

import asyncpg

from data_plane.policy.model import TargetTls
from data_plane.protocols.postgres.catalog_code import doing_anything, read_code
from data_plane.protocols.postgres.catalog_data import CatalogData, Relation, View
from data_plane.protocols.postgres.own_connection import connect

Credential = Callable[[], Awaitable[tuple[str, ...]]]
"""Gives the agent's user name and password at the target, then what else may be the password by now."""

_ATTEMPTS: Final = 3
_HAS_JIT: Final = (11, 0)
_HAS_GENERATED: Final = (12, 0)
_FINGERPRINT: Final = """
select concat_ws('/',
  (select concat(count(*), ':', sum((oid::bigint << 8) # xmin::text::bigint)) from pg_class),
  (select concat(count(*), ':', sum((attrelid::bigint << 16) + attnum # xmin::text::bigint))
     from pg_attribute where attnum > 0),
  (select concat(count(*), ':', sum((inhrelid::bigint << 8) # xmin::text::bigint)) from pg_inherits),
  (select concat(count(*), ':', sum((oid::bigint << 8) # xmin::text::bigint)) from pg_rewrite),
  (select concat(count(*), ':', sum((oid::bigint << 8) # xmin::text::bigint)) from pg_proc),
  (select concat(count(*), ':', sum((oid::bigint << 8) # xmin::text::bigint)) from pg_namespace),
  (select concat(count(*), ':', sum(oid::bigint)) from pg_namespace where has_schema_privilege(oid, 'USAGE')),
  (select concat(count(*), ':', sum((oid::bigint << 8) # xmin::text::bigint)) from pg_type where oid >= 16384),
  (select concat(count(*), ':', sum((oid::bigint << 8) # xmin::text::bigint)) from pg_constraint where contypid <> 0),
  (select concat(count(*), ':', sum((oid::bigint << 8) # xmin::text::bigint)) from pg_cast where oid >= 16384),
  (select concat(count(*), ':', sum((oid::bigint << 8) # xmin::text::bigint)) from pg_operator where oid >= 16384))
"""
_RELATIONS: Final = """
select c.oid, n.nspname, c.relname, c.relkind::text as relkind, c.relpersistence = 't' as temporary,
       array_remove(array[c.reltype, t.typarray], 0) as row_types
from pg_class c join pg_namespace n on n.oid = c.relnamespace left join pg_type t on t.oid = c.reltype
where c.relkind <> 't'
"""
_COLUMNS: Final = """
select a.attrelid, a.attnum, a.attname, a.atttypid, {generated} as generated
from pg_attribute a join pg_class c on c.oid = a.attrelid
where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p', 'v', 'm', 'f')
"""
_GENERATED: Final = """
select d.objid as oid, d.objsubid as attnum, d.refobjsubid as reads from pg_depend d
where d.classid = 'pg_class'::regclass and d.refclassid = d.classid and d.objid = d.refobjid
  and d.objsubid > 0 and d.refobjsubid > 0
union
select a.adrelid, a.adnum, d.refobjsubid from pg_attrdef a join pg_depend d
  on d.classid = 'pg_attrdef'::regclass and d.objid = a.oid and d.refobjid = a.adrelid
where d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0 and d.refobjsubid <> a.adnum
"""
_VIEWS: Final = """
select c.oid, case when c.oid <> all($1::oid[]) then pg_get_viewdef(c.oid) else '' end as definition
from pg_class c where c.relkind in ('v', 'm') and c.oid >= 16384
"""
_LOCKED: Final = """
select distinct relation from pg_locks where mode = 'AccessExclusiveLock'
  and database = (select oid from pg_database where datname = current_database())
"""
_VIEW_READS: Final = doing_anything("""
select distinct r.ev_class as oid, d.refobjid as reads, d.refclassid = 'pg_proc'::regclass as function
from pg_rewrite r join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
where r.ev_type = '1' and r.ev_class >= 16384 and d.refobjid <> r.ev_class
  and (d.refclassid = 'pg_class'::regclass or d.refclassid = 'pg_proc'::regclass and d.refobjid in
    (select oid from pg_proc where oid >= 16384 and (
       oid in (select oid from anything) or prokind <> 'a' and not (provolatile = 'i' and prolang in (12, 13)))))
""")
_FUNCTIONS: Final = doing_anything("""
select distinct proname, oid < 16384 and pronamespace = 'pg_catalog'::regnamespace
  or prokind <> 'a' and provolatile = 'i' and prolang in (12, 13)
  or prokind = 'a' and oid not in (select oid from anything) as builtin
from pg_proc p where oid >= 16384 or pronamespace = 'pg_catalog'::regnamespace
""")


def tls_context(tls: TargetTls) -> ssl.SSLContext | bool:
    """What asyncpg takes as `ssl`: False for no TLS."""
    if tls.mode == "disable":
        return False
    context = ssl.create_default_context(cadata=tls.ca or None)
    context.check_hostname = tls.mode == "verify-full"
    if tls.mode == "require":
        context.verify_mode = ssl.CERT_NONE
    return context


class AsyncpgCatalogSource:
    """Implements `catalog_data.CatalogSource`."""

    def __init__(
        self, address: str, database: str, credential: Credential, tls: TargetTls, timeout_seconds: float = 10
    ) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._database = database
        self._credential = credential
        self._tls = tls
        self._timeout_seconds = timeout_seconds

    async def load(self, known: str) -> CatalogData | None:
        """Raises ConnectionError when the target cannot be asked."""
        try:
            async with self._connected() as connection:
                for _ in range(_ATTEMPTS - 1):
                    with contextlib.suppress(asyncpg.InternalServerError, asyncpg.LockNotAvailableError):
                        return await _look(connection, known)
                return await _look(connection, known)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise ConnectionError(f"the catalogue of {self._database} cannot be read: {error}") from error

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        user, *passwords = await self._credential()
        connection = await self._signed_in(user, passwords)
        try:
            await connection.execute("set lock_timeout = '1s'")
            if connection.get_server_version() >= _HAS_JIT:
                await connection.execute("set jit = off")
            yield connection
        finally:
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):  # it is cut off then
                await connection.close(timeout=1)

    async def _signed_in(self, user: str, passwords: Sequence[str]) -> asyncpg.Connection[Any]:
        for password in passwords[:-1]:
            with contextlib.suppress(asyncpg.InvalidPasswordError):
                return await self._connect(user, password)
        return await self._connect(user, passwords[-1])

    async def _connect(self, user: str, password: str) -> asyncpg.Connection[Any]:
        return await connect(
            host=self._host.strip("[]"),
            port=self._port,
            user=user,
            password=password,
            database=self._database,
            ssl=tls_context(self._tls),
            timeout=self._timeout_seconds,
            command_timeout=self._timeout_seconds,
            statement_cache_size=0,
            server_settings={"application_name": "assentry catalogue", "search_path": "pg_catalog"},
        )


async def _look(connection: asyncpg.Connection[Any], known: str) -> CatalogData | None:
    """Raises asyncpg.InternalServerError when a view is dropped meanwhile, as temporary ones are when a session ends:
    the server takes a definition apart by what there is now, not by the transaction's snapshot. It locks what the view
    reads for that: asyncpg.LockNotAvailableError."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        fingerprint = await connection.fetchval(_FINGERPRINT)
        return None if fingerprint == known else await _read(connection, fingerprint)


async def _read(connection: asyncpg.Connection[Any], fingerprint: str) -> CatalogData:
    functions = await connection.fetch(_FUNCTIONS)
    views = await _views(connection)
    return CatalogData(
        fingerprint=fingerprint,
        complete=all(view.definition for view in views.values()),
        user=await connection.fetchval("select current_user"),
        relations=await _relations(connection),
        views=views,
        inherits=tuple(map(tuple, await connection.fetch("select inhparent, inhrelid from pg_inherits"))),
        generated=tuple(map(tuple, await connection.fetch(_GENERATED))),
        schemas=await _names(connection, "select nspname from pg_namespace"),
        closed_schemas=await _names(
            connection, "select nspname from pg_namespace where not has_schema_privilege(oid, 'USAGE')"
        ),
        builtin_functions=frozenset(row["proname"] for row in functions if row["builtin"]),
        user_functions=frozenset(row["proname"] for row in functions if not row["builtin"]),
        code=await read_code(connection),
    )


async def _names(connection: asyncpg.Connection[Any], query: str) -> frozenset[str]:
    return frozenset(row[0] for row in await connection.fetch(query))


async def _relations(connection: asyncpg.Connection[Any]) -> dict[int, Relation]:
    names: dict[int, dict[int, str]] = {}
    types: dict[int, dict[int, int]] = {}
    generated: dict[int, set[int]] = {}
    marked = "a.attgenerated <> ''" if connection.get_server_version() >= _HAS_GENERATED else "false"
    for oid, attnum, name, type_, is_generated in await connection.fetch(_COLUMNS.format(generated=marked)):
        names.setdefault(oid, {})[attnum] = name
        types.setdefault(oid, {})[attnum] = type_
        if is_generated:
            generated.setdefault(oid, set()).add(attnum)
    return {
        row["oid"]: Relation(
            oid=row["oid"],
            schema=row["nspname"],
            name=row["relname"],
            kind=row["relkind"],
            temporary=row["temporary"],
            row_types=tuple(row["row_types"]),
            columns=names.get(row["oid"], {}),
            generated=frozenset(generated.get(row["oid"], ())),
            types=types.get(row["oid"], {}),
        )
        for row in await connection.fetch(_RELATIONS)
    }


async def _views(connection: asyncpg.Connection[Any]) -> dict[int, View]:
    reads: dict[int, set[int]] = {}
    users: set[int] = set()
    for oid, read, is_function in await connection.fetch(_VIEW_READS):
        if is_function:
            users.add(oid)
        else:
            reads.setdefault(oid, set()).add(read)
    locked = {row["relation"] for row in await connection.fetch(_LOCKED)}
    unread = locked.union(oid for oid, read in reads.items() if read & locked)
    return {
        oid: View(definition=definition, reads=frozenset(reads.get(oid, ())), calls_users=oid in users)
        for oid, definition in await connection.fetch(_VIEWS, list(unread))
    }
