"""What rotation needs of PostgreSQL (`credentials.rotation.Accounts`), over short connections of its own.

A role may always change its own password. To let another role sign in, or to stop it, takes CREATEROLE and from
PostgreSQL 16 on ADMIN OPTION on that role. Two roles cannot both have it on each other (a role is never a member of its
own member), so that there at least one of two accounts is put to sleep by itself. Passwords reach the server only as
verifiers, since it may log statements.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import asyncpg

from data_plane.credentials.ports import CredentialError, PasswordCredential
from data_plane.credentials.rotation import NoRightError
from data_plane.policy.model import TargetSpec
from data_plane.protocols.postgres.accounts.verifier import verifier
from data_plane.protocols.postgres.catalog_source import tls_context
from data_plane.protocols.postgres.own_sign_in import sign_in
from data_plane.protocols.postgres.target_connection import read_address
from data_plane.runtime.secret import Secret

_SECONDS: Final = 15.0
_DATABASE: Final = "postgres"  # when the target's definition names none
_NOT_LET_IN: Final = (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError)
_ADMIN_OF_ROLES: Final = 160000

_LACKS_ATTRIBUTES: Final = """
select array_remove(array[
  case when a.rolsuper and not b.rolsuper then 'SUPERUSER' end,
  case when a.rolcreaterole and not (b.rolcreaterole or b.rolsuper) then 'CREATEROLE' end,
  case when a.rolcreatedb and not (b.rolcreatedb or b.rolsuper) then 'CREATEDB' end,
  case when a.rolreplication and not (b.rolreplication or b.rolsuper) then 'REPLICATION' end,
  case when a.rolbypassrls and not (b.rolbypassrls or b.rolsuper) then 'BYPASSRLS' end], null)
from pg_roles a, pg_roles b where a.rolname = $1 and b.rolname = $2
"""
_LACKS_MEMBERSHIPS: Final = """
select distinct g.rolname, m.admin_option
from pg_auth_members m join pg_roles g on g.oid = m.roleid
  join pg_roles a on a.oid = m.member and a.rolname = $1, pg_roles b
where b.rolname = $2 and g.oid <> b.oid and not b.rolsuper and g.rolname not like 'gw\\_%'
  and not exists (select from pg_auth_members n
    where n.member = b.oid and n.roleid = m.roleid and (n.admin_option or not m.admin_option))
"""
_LACKS_OBJECTS: Final = """
select distinct coalesce(d.datname, 'all databases') as place, s.deptype = 'o' as owns,
  s.classid::regclass::text as kind
from pg_shdepend s left join pg_database d on d.oid = s.dbid
  join pg_roles a on a.oid = s.refobjid and a.rolname = $1, pg_roles b
where s.refclassid = 'pg_authid'::regclass and s.classid <> 'pg_auth_members'::regclass and s.deptype in ('o', 'a')
  and b.rolname = $2 and not b.rolsuper
  and not exists (select from pg_shdepend t where t.refclassid = s.refclassid and t.refobjid = b.oid
    and t.deptype = s.deptype and t.dbid = s.dbid and t.classid = s.classid and t.objid = s.objid)
limit 5
"""
_MADE_HERE: Final = """
select g.rolname, to_jsonb(m) ->> 'inherit_option' = 'true' as inherits, to_jsonb(m) ->> 'set_option' = 'true' as sets
from pg_auth_members m join pg_roles g on g.oid = m.roleid join pg_roles a on a.oid = m.member
where a.rolname = $1 and m.admin_option and g.rolname like 'gw\\_%'
"""
_SESSIONS: Final = """
select count(*) from pg_stat_activity
where usesysid = (select oid from pg_roles where rolname = $1) and pid <> pg_backend_pid()
"""


class RotatingAccounts:
    """Implements `credentials.rotation.Accounts` at one target."""

    def __init__(self, spec: TargetSpec) -> None:
        self._spec = spec
        self._address = read_address(spec.address)

    async def opens(self, credential: PasswordCredential) -> bool:
        try:
            async with self._connected(credential):
                return True
        except _NOT_LET_IN:
            return False

    async def lacks(self, active: PasswordCredential, other: str) -> Sequence[str]:
        async with self._as(active) as connection:
            if not await connection.fetchval("select count(*) from pg_roles where rolname = $1", other):
                return [f"there is no role {other}: create it"]
            attributes = await connection.fetchval(_LACKS_ATTRIBUTES, active.username, other)
            groups = await connection.fetch(_LACKS_MEMBERSHIPS, active.username, other)
            objects = await connection.fetch(_LACKS_OBJECTS, active.username, other)
        return [
            *(f"it is not {attribute}" for attribute in attributes or ()),
            *(f"it is no member of {name}{' WITH ADMIN OPTION' if admin else ''}" for name, admin in groups),
            *(f"{_held(active.username, owns, kind, place)}" for place, owns, kind in objects),
        ]

    async def change(self, credential: PasswordCredential, password: Secret) -> None:
        async with self._as(credential) as connection:
            await connection.execute(f"ALTER ROLE CURRENT_USER PASSWORD {_verifier(password)}")

    async def awaken(self, active: PasswordCredential, other: str, password: Secret) -> None:
        await self._alter(active, other, f"LOGIN PASSWORD {_verifier(password)}")

    async def disable(self, active: PasswordCredential, other: str) -> None:
        await self._alter(active, other, "NOLOGIN PASSWORD NULL")

    async def _alter(self, active: PasswordCredential, other: str, change: str) -> None:
        async with self._as(active) as connection:
            try:
                await connection.execute(f"ALTER ROLE {_name(other)} {change}")
            except asyncpg.InsufficientPrivilegeError:
                raise NoRightError(
                    f"{active.username} may not alter {other}: it needs CREATEROLE, and from PostgreSQL 16 on "
                    f"ADMIN OPTION on it; or write {other}'s present password into the secret"
                ) from None

    async def hand_over(self, old: PasswordCredential, new: str) -> None:
        """From PostgreSQL 16 on only a role's administrators may drop it."""
        async with self._as(old) as connection:
            if int(await connection.fetchval("select current_setting('server_version_num')")) < _ADMIN_OF_ROLES:
                return
            for role, inherits, sets in await connection.fetch(_MADE_HERE, old.username):
                options = f"ADMIN TRUE, INHERIT {inherits}, SET {sets}"
                with contextlib.suppress(asyncpg.UndefinedObjectError):  # its session has ended meanwhile
                    await connection.execute(f"GRANT {_name(role)} TO {_name(new)} WITH {options}")

    async def sessions(self, active: PasswordCredential, other: str) -> int:
        async with self._as(active) as connection:
            return int(await connection.fetchval(_SESSIONS, other))

    # -------------------------------------------------------------- connections

    @contextlib.asynccontextmanager
    async def _as(self, credential: PasswordCredential) -> AsyncIterator[asyncpg.Connection[Any]]:
        """Raises CredentialError for whatever the target says, without the text of a statement."""
        try:
            async with self._connected(credential) as connection:
                yield connection
        except _NOT_LET_IN:
            raise CredentialError(f"the target does not let {credential.username} in") from None
        except asyncpg.PostgresError as error:
            raise CredentialError(f"the target refuses it to {credential.username}: {error.sqlstate}") from None

    @contextlib.asynccontextmanager
    async def _connected(self, credential: PasswordCredential) -> AsyncIterator[asyncpg.Connection[Any]]:
        try:
            connection = await sign_in(
                PasswordCredential(credential.username, credential.password),  # this very password
                host=self._address.host,
                port=self._address.port,
                database=self._spec.database or _DATABASE,
                ssl=tls_context(self._spec.tls),
                timeout=_SECONDS,
                command_timeout=_SECONDS,
                statement_cache_size=0,
                server_settings={"application_name": "assentry rotation", "search_path": "pg_catalog"},
            )
        except _NOT_LET_IN:
            raise
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise CredentialError(f"{self._spec.address} cannot be reached: {type(error).__name__}") from None
        try:
            yield connection
        except (OSError, asyncpg.InterfaceError) as error:
            raise CredentialError(f"{self._spec.address} went away: {type(error).__name__}") from None
        finally:
            connection.terminate()


def _held(account: str, owns: bool, kind: str, place: str) -> str:  # noqa: FBT001 - a column of the query
    what = kind.removeprefix("pg_")
    if owns:
        return f"{account} itself owns something ({what} in {place}): give it to a group role of both"
    return f"{account} itself was granted something ({what} in {place}): grant it to a group role of both"


def _verifier(password: Secret) -> str:
    return f"'{verifier(password)}'"  # base64, digits, $ and : only


def _name(role: str) -> str:
    return '"' + role.replace('"', '""') + '"'
