"""Takes one session role away: disabled first, then idle, then without anything that it owns or holds, then gone.

Each step looks at what is there and may be repeated after a crash; the order matters, for a session survives DROP ROLE.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import asyncpg
import msgspec

from data_plane.credentials.ports import CredentialError, Lease, StuckError
from data_plane.policy.model import TargetSpec
from data_plane.protocols.postgres.accounts import tasks
from data_plane.protocols.postgres.accounts.connections import CLEANING_SECONDS, Connections, Kept
from data_plane.protocols.postgres.accounts.names import Handover, Names

_ENDS_BY_ITSELF: Final = (0.005, 0.01, 0.02, 0.05, 0.1)  # the connection has just been closed
_ENDS_TERMINATED: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 1.0, 1.0, 1.0)
_ROUNDS: Final = 3  # what others give it, they can give it until it is gone


class About(msgspec.Struct, frozen=True):
    """A role as it is now. `databases`: where it owns or holds something; "" for what belongs to the whole server."""

    oid: int
    may_sign_in: bool
    in_time: bool
    comment: str
    backends: tuple[int, ...]
    prepared: tuple[str, ...]
    databases: tuple[str, ...]


async def remove(connections: Connections, names: Names, lease: Lease, role: str) -> None:
    """Raises StuckError, CredentialError, asyncpg.PostgresError and LostError: it is not gone."""
    kept = await connections.kept(lease.spec, lease.database)
    about = await _about(kept, role)
    if about is not None and about.may_sign_in:
        await _disable(kept, role, about)
        about = await _about(kept, role)
    if about is not None:
        removal = _Removal(connections, kept, lease.spec, role, names.handover(role, about.comment))
        await removal.to_the_end(about)


async def hand_over(connections: Connections, lease: Lease, role: str, handover: Handover) -> None:
    """What it owns in its session's database. What is not committed yet is not seen. Raises as `remove` does."""
    about = await _about(await connections.kept(lease.spec, lease.database), role)
    if about is not None and lease.database in about.databases:
        async with connections.to(lease.spec, lease.database) as connection:
            await connection.run(tasks.CLEAN, _cleaning(connection, role, handover, drop=False))


async def _disable(kept: Kept, role: str, about: About) -> None:
    try:
        await kept.run(tasks.DISABLE, {"role": role})
    except asyncpg.InsufficientPrivilegeError as refused:
        raise StuckError(f"{role}: {_told(refused)}", disabled=not about.in_time) from refused


class _Removal:
    """Of a role that nobody can sign in with any more."""

    def __init__(self, connections: Connections, kept: Kept, spec: TargetSpec, role: str, handover: Handover) -> None:
        self._connections, self._kept, self._spec = connections, kept, spec
        self._role, self._handover = role, handover

    async def to_the_end(self, about: About) -> None:
        try:
            await self._to_the_end(about)
        except asyncpg.LockNotAvailableError as refused:
            told = f"{self._role}: nobody can sign in with it any more, but somebody holds a lock that it needs to go"
            raise CredentialError(told) from refused
        except asyncpg.PostgresError as refused:
            await self._strip()
            raise StuckError(f"{self._role}: {_told(refused)}", disabled=True) from refused

    async def _to_the_end(self, about: About) -> None:
        if about.backends:
            await self._no_backend(about)
            await self._no_prepared()
        elif about.prepared:
            await self._no_prepared()
        elif not about.databases:
            await self._drop()
            return
        await self._nothing_left()

    async def _nothing_left(self) -> None:
        for last in (*[False] * (_ROUNDS - 1), True):
            about = await _about(self._kept, self._role)
            if about is None:
                return
            for database in about.databases:
                await self._clean(database)
            try:
                await self._drop()
            except asyncpg.DependentObjectsStillExistError:
                if last:
                    raise
            else:
                return

    async def _drop(self) -> None:
        try:
            await self._kept.run(tasks.DROP, {"role": self._role})
        except asyncpg.LockNotAvailableError:
            if not await self._no_prepared():
                raise
            await self._kept.run(tasks.DROP, {"role": self._role})

    # -------------------------------------------------------------- nobody uses it

    async def _no_backend(self, about: About) -> None:
        """By the role's OID: its name may be gone while a backend is still there."""
        if await self._ended(_ENDS_BY_ITSELF):
            return
        await self._strip()
        await self._kept.rows(tasks.TERMINATE, about.oid)
        if not await self._ended(_ENDS_TERMINATED):
            raise StuckError(f"{self._role}: a backend of it does not end", disabled=True)

    async def _ended(self, pauses: tuple[float, ...]) -> bool:
        for pause in pauses:
            about = await _about(self._kept, self._role)
            if about is None or not about.backends:
                return True
            await asyncio.sleep(pause)
        return False

    async def _strip(self) -> None:
        """Without memberships, it has no rights but those of PUBLIC, whatever a backend of it still does."""
        with contextlib.suppress(asyncpg.PostgresError):
            await self._kept.run(tasks.STRIP, {"role": self._role, "options": self._kept.version.full})

    # -------------------------------------------------------------- nothing belongs to it

    async def _no_prepared(self) -> bool:
        """Prepared transactions outlive their session and keep its locks; only their owner, or a superuser, can undo
        them, in their database. Returns whether there were any."""
        rows = await self._kept.rows(tasks.PREPARED, self._role)
        for row in rows:
            async with self._connections.to(self._spec, row["database"]) as connection:
                await connection.run(tasks.BECOME, _cleaning(connection, row["owner"], Handover(), drop=False))
                await connection.command(f"rollback prepared {_literal(row['gid'])}")
                await connection.command(tasks.COME_BACK)
        return bool(rows)

    async def _clean(self, database: str) -> None:
        if not database:
            await self._clean_here(self._kept)
            return
        async with self._connections.to(self._spec, database, CLEANING_SECONDS) as connection:
            await self._clean_here(connection)

    async def _clean_here(self, connection: Kept) -> None:
        """DROP OWNED only where nothing is owned any more that somebody may miss."""
        given = _cleaning(connection, self._role, self._handover, drop=False)
        if not self._handover.everything:
            await connection.run(tasks.CLEAN, given)
            if owned := [row[0] for row in await connection.rows(tasks.OWNED, self._role)]:
                await self._strip()
                raise StuckError(self._unapproved(owned), disabled=True)
        await connection.run(tasks.CLEAN, {**given, "drop": True})

    def _unapproved(self, owned: list[str]) -> str:
        what = ", ".join(owned[:5]) + (" and more" if len(owned) > 5 else "")
        return (
            f"{self._role} owns {what}, which neither policy nor people let its session make: look at it, then give it"
            f" to somebody (REASSIGN OWNED BY {self._role} TO ...) or drop it (DROP OWNED BY {self._role})"
        )


def _cleaning(connection: Kept, role: str, handover: Handover, *, drop: bool) -> dict[str, object]:
    return {
        "role": role,
        "owner": handover.owner,
        "everything": handover.everything,
        "drop": drop,
        "options": connection.version.full,
        "privilege": connection.version.privilege,
    }


async def _about(kept: Kept, role: str) -> About | None:
    rows = await kept.rows(tasks.ABOUT, role)
    return msgspec.convert(dict(rows[0]), About) if rows else None


def _told(refused: asyncpg.PostgresError) -> str:
    """With what PostgreSQL lists: names of objects."""
    listed = f": {refused.detail}" if refused.detail else ""
    return f"{refused.args[0] if refused.args else type(refused).__name__} ({refused.sqlstate}){listed}"


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"E'{escaped}'"
