"""The end date of an identity has come: it is ended, like one that an admin disables. Every replica keeps time; the row
lock lets one of them act."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from sqlmodel import col, select

from control_plane.identities.ending import Ending
from control_plane.identities.tables import IdentityRow
from control_plane.kit.unit_of_work import SYSTEM, Units

_log = structlog.get_logger(__name__)
REASON: Final = "its end date has come"
# A date that is set meanwhile is noticed after this long at the latest.
_LONGEST_SLEEP: Final = 10.0


class EndDates:
    def __init__(self, units: Units, ending: Ending) -> None:
        self._units = units
        self._ending = ending

    async def run(self) -> None:
        """For ever. A database that fails for a while delays it, nothing more."""
        while True:
            seconds = _LONGEST_SLEEP
            try:
                seconds = min(seconds, await self.end_what_is_due())
            except Exception:  # noqa: BLE001 - the keeper of end dates outlives every failure
                _log.exception("end dates could not be kept; trying again")
            await asyncio.sleep(seconds)

    async def end_what_is_due(self) -> float:
        """Each in its own transaction. Seconds until the next end date, as far as one is known."""
        ends_at = col(IdentityRow.ends_at)
        living = (ends_at.is_not(None), col(IdentityRow.disabled).is_(False))
        async with self._units.reading() as uow:
            due = (await uow.session.exec(select(IdentityRow.id).where(*living, ends_at <= uow.now))).all()
        for identity_id in due:
            await self._end(identity_id)
        async with self._units.reading() as uow:
            following = select(IdentityRow.ends_at).where(*living, ends_at > uow.now).order_by(ends_at).limit(1)
            found = (await uow.session.exec(following)).first()
            return _LONGEST_SLEEP if found is None else (found - uow.now).total_seconds()

    async def _end(self, identity_id: str) -> None:
        async with self._units() as uow:
            row = await uow.session.get(IdentityRow, identity_id, with_for_update=True)
            if row is not None and row.ends_at is not None and row.ends_at <= uow.now:
                await self._ending.end(uow, SYSTEM, identity_id, REASON)
