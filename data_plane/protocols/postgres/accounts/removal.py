"""Takes one session role away: disabled first, then idle, then without anything that it owns or holds, then gone.

Each step looks at what is there and may be repeated after a crash; the order matters, for a session survives DROP ROLE.
"""

from __future__ import annotations

import asyncio
from typing import Final

import asyncpg
import msgspec

from data_plane.credentials.ports import Lease, StuckError
from data_plane.policy.model import TargetSpec
from data_plane.protocols.postgres.accounts import tasks
from data_plane.protocols.postgres.accounts.connections import Connections, Kept
from data_plane.protocols.postgres.accounts.names import Names

_ENDS_BY_ITSELF: Final = (0.005, 0.01, 0.02, 0.05, 0.1)  # the connection has just been closed
_ENDS_TERMINATED: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 1.0, 1.0, 1.0)
_ROUNDS: Final = 3  # what it holds can come into being until it has no backend: looked for again


class About(msgspec.Struct, frozen=True):
    """A role as it is now. `databases`: where it owns or holds something; "" for what belongs to the whole server."""

    oid: int
    can_sign_in: bool
    comment: str
    backends: tuple[int, ...]
    databases: tuple[str, ...]


async def remove(connections: Connections, names: Names, lease: Lease, role: str) -> None:
    """Raises StuckError, CredentialError, asyncpg.PostgresError and LostError: it is not gone."""
    kept = await connections.kept(lease.spec, lease.database)
    about = await _about(kept, role)
    if about is None:
        return
    if about.can_sign_in:
        await kept.run(tasks.DISABLE, {"role": role})
    removal = _Removal(connections, lease.spec, role, names.owner(role, about.comment))
    try:
        await removal.to_the_end(kept)
    except asyncpg.PostgresError as refused:
        await removal.strip(kept)
        told = str(refused.args[0]) if refused.args else type(refused).__name__
        raise StuckError(f"{role}: {told} ({refused.sqlstate})", disabled=True) from refused


async def hand_over(connection: Kept, role: str, owner: str) -> bool:
    """In the connection's database. False: something is locked, or not committed yet."""
    try:
        await connection.run(tasks.CLEAN, _cleaning(connection, role, owner, drop=False))
    except asyncpg.LockNotAvailableError:
        return False
    return True


class _Removal:
    def __init__(self, connections: Connections, spec: TargetSpec, role: str, owner: str) -> None:
        self._connections, self._spec, self._role, self._owner = connections, spec, role, owner

    async def to_the_end(self, kept: Kept) -> None:
        await self._no_backend(kept)
        await self._no_prepared(kept)
        for _ in range(_ROUNDS):
            about = await _about(kept, self._role)
            if about is None:
                return
            for database in about.databases:
                await self._clean(kept, database)
            try:
                await kept.run(tasks.DROP, {"role": self._role})
            except asyncpg.DependentObjectsStillExistError as error:
                last = error
            else:
                return
        raise last

    # -------------------------------------------------------------- nobody uses it

    async def _no_backend(self, kept: Kept) -> None:
        """By the role's OID: after it the name may be gone and the backend still there."""
        if await self._ended(kept, _ENDS_BY_ITSELF):
            return
        await self.strip(kept)
        about = await _about(kept, self._role)
        if about is not None:
            await kept.rows(tasks.TERMINATE, about.oid)
        if not await self._ended(kept, _ENDS_TERMINATED):
            raise StuckError(f"{self._role}: a backend of it does not end", disabled=True)

    async def _ended(self, kept: Kept, pauses: tuple[float, ...]) -> bool:
        for pause in (*pauses, 0.0):
            about = await _about(kept, self._role)
            if about is None or not about.backends:
                return True
            await asyncio.sleep(pause)
        return False

    async def strip(self, kept: Kept) -> None:
        """Without memberships, it has no rights but those of PUBLIC."""
        await kept.run(tasks.STRIP, {"role": self._role, "options": kept.version.full})

    # -------------------------------------------------------------- nothing belongs to it

    async def _no_prepared(self, kept: Kept) -> None:
        """Prepared transactions outlive their session and keep its locks; only their owner, or a superuser, can undo
        them, in their database."""
        for row in await kept.rows(tasks.PREPARED, self._role):
            async with self._connections.to(self._spec, row["database"]) as connection:
                await connection.run(tasks.CLEAN, _cleaning(connection, self._role, "", drop=False))
                await connection.command(f"set role {_quoted(row['owner'])}")
                await connection.command(f"rollback prepared {_literal(row['gid'])}")

    async def _clean(self, kept: Kept, database: str) -> None:
        if not database:
            await self._clean_here(kept)
            return
        async with self._connections.to(self._spec, database) as connection:
            await self._clean_here(connection)

    async def _clean_here(self, connection: Kept) -> None:
        if not self._owner:
            owned = [row[0] for row in await connection.rows(tasks.OWNED, self._role)]
            if owned:
                raise StuckError(f"{self._role} owns {_listed(owned)}, which nobody approved", disabled=True)
        await connection.run(tasks.CLEAN, _cleaning(connection, self._role, self._owner, drop=True))


def _cleaning(connection: Kept, role: str, owner: str, *, drop: bool) -> dict[str, object]:
    return {
        "role": role,
        "owner": owner,
        "drop": drop,
        "options": connection.version.full,
        "privilege": connection.version.privilege,
    }


async def _about(kept: Kept, role: str) -> About | None:
    rows = await kept.rows(tasks.ABOUT, role)
    return msgspec.convert(dict(rows[0]), About) if rows else None


def _listed(owned: list[str]) -> str:
    return ", ".join(owned[:5]) + (" and more" if len(owned) > 5 else "")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    escaped = text.replace("'", "''").replace("\\", "\\\\")
    return f"E'{escaped}'"
