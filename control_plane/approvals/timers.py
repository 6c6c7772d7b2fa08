"""Ends what nobody decided, and what was approved and not used. One timer for the nearest deadline, no polling.

Started again it reads the deadlines from the database. Every replica keeps time; the row lock lets one of
them act, and the others find that it has been done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from control_plane.approvals import repository
from control_plane.approvals.domain import Event, State
from control_plane.approvals.transitions import TOPIC, move
from control_plane.kit.clock import Clock, milliseconds
from control_plane.kit.events import Events, Subscription
from control_plane.kit.unit_of_work import SYSTEM, Units

_log = structlog.get_logger(__name__)

NOBODY_DECIDED: Final = "nobody decided in time"
NOT_USED: Final = "it was not executed in time"
# An agent's report that it used the grant in the last moment is still on its way.
GRACE_MS: Final = 10_000
# A wall clock that jumps is noticed after this long at the latest; deadlines themselves are never late without one.
_LONGEST_SLEEP: Final = 60.0
_AFTER_FAILURE: Final = 1.0

Sleep = Callable[[Subscription, float | None], Awaitable[None]]


async def news_or_timeout(news: Subscription, seconds: float | None) -> None:
    """Returns when something happened to an approval, or after so long. None: waits for news only."""
    try:
        async with asyncio.timeout(seconds):
            await news.get()
    except TimeoutError:
        return


class DeadlineKeeper:
    def __init__(self, units: Units, events: Events, clock: Clock, wait: Sleep = news_or_timeout) -> None:
        self._units = units
        self._events = events
        self._clock = clock
        self._wait = wait

    async def run(self) -> None:
        """For ever; `assembly` spawns it. A database that fails for a while delays it, nothing more."""
        with_news = self._events.subscribe(TOPIC)
        async with with_news as news:
            while True:
                try:
                    seconds = await self.end_what_is_due()
                except Exception:  # noqa: BLE001 - the keeper of deadlines outlives every failure
                    _log.exception("deadlines could not be kept; trying again")
                    seconds = _AFTER_FAILURE
                await self._wait(news, seconds)

    async def end_what_is_due(self) -> float | None:
        """Ends it, each in its own transaction. Seconds until the next deadline; None: there is none."""
        async with self._units.reading() as uow:
            due = await repository.due(uow.session, milliseconds(uow.now), GRACE_MS)
        for approval_id in due:
            await self._end(approval_id)
        async with self._units.reading() as uow:
            deadline = await repository.next_deadline(uow.session, GRACE_MS)
        if deadline is None:
            return None
        return min(max(0.0, (deadline - milliseconds(self._clock.now())) / 1000), _LONGEST_SLEEP)

    async def _end(self, approval_id: str) -> None:
        async with self._units() as uow:
            row = await repository.locked(uow.session, approval_id)
            now = milliseconds(uow.now)
            if row is None:
                return
            if row.state == State.PENDING and row.approve_by_ms <= now:
                move(uow, row, Event.TIMED_OUT, SYSTEM, NOBODY_DECIDED)
            elif row.state == State.APPROVED and (row.execute_by_ms or 0) + GRACE_MS <= now:
                move(uow, row, Event.TIMED_OUT, SYSTEM, NOT_USED)
