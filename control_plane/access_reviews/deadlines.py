"""When a campaign's time is over: what nobody confirmed is lost, each thing in its own transaction; then it is closed.

Every replica keeps time; the row lock lets one of them act, and the others find that it has been done.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from control_plane.access_reviews import rows
from control_plane.access_reviews.service import AccessReviews
from control_plane.kit.unit_of_work import Units

_log = structlog.get_logger(__name__)
_LONGEST_SLEEP: Final = 60.0
_AFTER_FAILURE: Final = 5.0


class Deadlines:
    def __init__(self, units: Units, reviews: AccessReviews) -> None:
        self._units = units
        self._reviews = reviews

    async def run(self) -> None:
        """For ever; `assembly` spawns it. A campaign that is opened meanwhile is seen within a minute."""
        while True:
            seconds = _AFTER_FAILURE
            try:
                seconds = min(await self.close_what_is_due(), _LONGEST_SLEEP)
            except Exception:  # noqa: BLE001 - it outlives every failure
                _log.exception("deadlines of access reviews could not be kept; trying again")
            await asyncio.sleep(seconds)

    async def close_what_is_due(self) -> float:
        """Seconds until the next deadline, as far as one is known."""
        async with self._units.reading() as uow:
            due = await rows.due(uow.session, uow.now)
        for review_id in due:
            await self._close(review_id)
        async with self._units.reading() as uow:
            following = await rows.next_deadline(uow.session)
            return _LONGEST_SLEEP if following is None else max(0.0, (following - uow.now).total_seconds())

    async def _close(self, review_id: str) -> None:
        async with self._units.reading() as uow:
            losing = await self._reviews.losing(uow, review_id)
        for number in losing:
            async with self._units() as uow:
                await self._reviews.lose(uow, review_id, number)
        async with self._units() as uow:
            await self._reviews.close(uow, review_id)
