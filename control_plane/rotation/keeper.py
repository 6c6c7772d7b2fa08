"""Rotates what is due, goes on with what failed, and asks agents now and then which accounts they use."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from control_plane.kit.errors import ConflictError, NotFoundError
from control_plane.kit.unit_of_work import SYSTEM, Units
from control_plane.rotation import repository
from control_plane.rotation.domain import Cause, due_at
from control_plane.rotation.report import cadence
from control_plane.rotation.service import RotationService
from control_plane.rotation.tables import TargetAccountRow
from control_plane.targets.service import TargetService

_log = structlog.get_logger(__name__)

_PAUSE_SECONDS: Final = 30.0
_AT_ONCE: Final = 8
_LOOK_AGAIN: Final = timedelta(hours=1)
_LOOK_AGAIN_AFTER_FAILURE: Final = timedelta(minutes=5)


class RotationKeeper:
    def __init__(self, units: Units, targets: TargetService, service: RotationService) -> None:
        self._units = units
        self._targets = targets
        self._service = service

    async def run(self) -> None:
        """For ever; `assembly` spawns it in every replica."""
        while True:
            try:
                await self.once()
            except Exception:  # noqa: BLE001 - the keeper outlives every failure
                _log.exception("accounts could not be rotated; trying again")
            await asyncio.sleep(_PAUSE_SECONDS)

    async def once(self) -> None:
        await self._service.close_abandoned()
        await _together(self._rotate(*due) for due in await self._due())
        await _together(self._service.look(name) for name in await self._to_look_at())

    async def _due(self) -> Sequence[tuple[str, Cause]]:
        async with self._units.reading() as uow:
            found = []
            for target in await self._targets.all(uow):
                rotate = target.spec.credential.rotate
                if rotate is None:
                    continue
                past = await repository.past(uow.session, target.name)
                at = due_at(past, cadence(rotate.every), uow.now)
                if at is not None and at <= uow.now:
                    found.append((target.name, Cause.RETRY if past.failures else Cause.CADENCE))
            return found

    async def _rotate(self, name: str, cause: Cause) -> None:
        try:
            async with self._units() as uow:
                row = await self._service.begin(uow, SYSTEM, name, cause)
        except (ConflictError, NotFoundError):  # another replica was quicker, or the target has changed
            return
        await self._service.run(row.id, name)

    async def _to_look_at(self) -> Sequence[str]:
        async with self._units.reading() as uow:
            known = await repository.accounts(uow.session)
            return [one.name for one in await self._targets.all(uow) if _is_old(known.get(one.name), uow.now)]


async def _together(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Not one after the other: an agent that does not answer holds up no other target."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(each: Coroutine[Any, Any, None]) -> None:
        async with places:
            await each

    await asyncio.gather(*map(one, work))


def _is_old(known: TargetAccountRow | None, now: datetime) -> bool:
    if known is None:
        return True
    return known.told_at + (_LOOK_AGAIN_AFTER_FAILURE if known.problem else _LOOK_AGAIN) <= now
