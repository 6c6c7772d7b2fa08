"""When identities were last seen, and what of their permissions they used: to the hour, never on the way of a request.

A request only notes it in memory; a loop writes what is new every few seconds in one transaction. What a crash loses of
it is seconds of something that is kept to the hour.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlmodel import col, update

from control_plane.access_reviews.tables import PermissionUseRow
from control_plane.identities.tables import IdentityRow, ServiceAccountKeyRow
from control_plane.kit.access import Permission, Principal
from control_plane.kit.clock import Clock
from control_plane.kit.unit_of_work import UnitOfWork, Units

_log = structlog.get_logger(__name__)
EVERY: Final = timedelta(hours=1)
_WRITTEN_AFTER: Final = 5.0  # seconds: many notes are one transaction
_MOST_REMEMBERED: Final = 100_000

_Note = tuple[str, str, str, str]  # identity, permission, kind of credential, credential


class Uses:
    """The port `kit.access.Uses`."""

    def __init__(self, units: Units, clock: Clock) -> None:
        self._units = units
        self._clock = clock
        self._noted: dict[_Note, datetime] = {}
        self._unwritten: dict[_Note, datetime] = {}
        self._new = asyncio.Event()

    def note(self, principal: Principal, permission: Permission) -> None:
        now = self._clock.now()
        key = (principal.identity, permission.value, principal.credential_kind, principal.credential_id)
        before = self._noted.get(key)
        if before is not None and now - before < EVERY:
            return
        if len(self._noted) >= _MOST_REMEMBERED:
            self._noted.clear()
        self._noted[key] = self._unwritten[key] = now
        self._new.set()

    async def write(self) -> None:
        """What was noted since the last time."""
        notes, self._unwritten = self._unwritten, {}
        self._new.clear()
        if not notes:
            return
        async with self._units() as uow:
            for (identity_id, permission, kind, credential_id), at in sorted(notes.items()):
                await _keep(uow, identity_id, permission, at)
                if kind == "key":
                    of_key = col(ServiceAccountKeyRow.id) == credential_id
                    await uow.session.exec(update(ServiceAccountKeyRow).where(of_key).values(last_used_at=at))

    async def run(self) -> None:
        """For ever; `assembly` spawns it."""
        while True:
            await self._new.wait()
            await asyncio.sleep(_WRITTEN_AFTER)
            try:
                await self.write()
            except Exception:  # noqa: BLE001 - it outlives every failure; what is lost is when somebody was seen
                _log.exception("it could not be written who was seen")


async def _keep(uow: UnitOfWork, identity_id: str, permission: str, at: datetime) -> None:
    identity = await uow.session.get(IdentityRow, identity_id)
    if identity is None:
        return
    identity.last_seen_at = at
    uow.session.add(identity)
    use = await uow.session.get(PermissionUseRow, (identity_id, permission))
    if use is None:
        use = PermissionUseRow(identity_id=identity_id, permission=permission, last_at=at)
    use.last_at = at
    uow.session.add(use)
    await uow.session.flush()
