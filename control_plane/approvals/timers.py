"""Ends what nobody decided, and what was approved and not used; asks more people and reminds before. One timer for the
nearest deadline, no polling.

Started again it reads the deadlines from the database. Every replica keeps time; the row lock lets one of
them act, and the others find that it has been done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from control_plane.approvals import repository, stages, words
from control_plane.approvals.domain import Event, State
from control_plane.approvals.kinds import Kind
from control_plane.approvals.tables import ApprovalRow
from control_plane.approvals.transitions import TOPIC, audited, move
from control_plane.kit.clock import Clock, milliseconds
from control_plane.kit.events import Events, Subscription
from control_plane.kit.unit_of_work import SYSTEM, Json, UnitOfWork, Units

_log = structlog.get_logger(__name__)

NOBODY_DECIDED: Final = "nobody decided in time"
TIME_IS_OVER: Final = "its time is over"
NOT_USED: Final = "it was not executed in time"
# An agent's report that it used the grant in the last moment is still on its way.
GRACE_MS: Final = 10_000
# A wall clock that jumps is noticed after this long at the latest; deadlines themselves are never late without one.
_LONGEST_SLEEP: Final = 60.0
_AFTER_FAILURE: Final = 1.0
_GATHERING: Final = 0.1  # an operation that is approved is news several times; who waits for it comes first

Sleep = Callable[[Subscription, float | None], Awaitable[None]]


async def news_or_timeout(news: Subscription, seconds: float | None) -> None:
    """Returns shortly after something happened to an approval, or after so long. None: waits for news only."""
    try:
        async with asyncio.timeout(seconds):
            await news.gathered(_GATHERING)
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
        deadline, due = await self._looked()
        for approval_id in due:
            await self._look_at(approval_id)
        if due:
            deadline, _ = await self._looked()
        if deadline is None:
            return None
        return min(max(0.0, (deadline - milliseconds(self._clock.now())) / 1000), _LONGEST_SLEEP)

    async def _looked(self) -> tuple[int | None, list[str]]:
        """The nearest deadline, and whose have come."""
        async with self._units.reading() as uow:
            deadline, now = await repository.next_deadline(uow.session, GRACE_MS), milliseconds(uow.now)
            over = deadline is not None and deadline <= now
            return deadline, await repository.due(uow.session, now, GRACE_MS) if over else []

    async def _look_at(self, approval_id: str) -> None:
        async with self._units() as uow:
            row = await repository.locked(uow.session, approval_id)
            now = milliseconds(uow.now)
            if row is None:
                return
            if row.state == State.PENDING and (row.due_at_ms or 0) <= now:
                _keep(uow, row, now)
            elif row.state == State.APPROVED and row.kind == Kind.ACCESS and (row.execute_by_ms or 0) <= now:
                move(uow, row, Event.ENDED, SYSTEM, TIME_IS_OVER)
            elif row.state == State.WINDOW and (row.window_until_ms or 0) <= now:
                move(uow, row, Event.TIMED_OUT, SYSTEM, TIME_IS_OVER)
            elif row.state == State.APPROVED and (row.execute_by_ms or 0) + GRACE_MS <= now:
                move(uow, row, Event.TIMED_OUT, SYSTEM, NOT_USED)


def _keep(uow: UnitOfWork, row: ApprovalRow, now: int) -> None:
    """Silence never skips a stage: it asks more people, where the chain says so, or it ends the request."""
    if stages.stage_by_ms(row) > now:
        if stages.remind(row, now):
            _tell(uow, row, "reminded")
    elif row.approve_by_ms > now and stages.escalate(row, now):
        _tell(uow, row, "escalated")
    else:
        move(uow, row, Event.TIMED_OUT, SYSTEM, NOBODY_DECIDED)


def _tell(uow: UnitOfWork, row: ApprovalRow, what: str) -> None:
    asks = words.asked(repository.chain_of(row), row.stage, repository.escalated_of(row))
    data: dict[str, Json] = {"stage": row.stage, "stage_by_ms": stages.stage_by_ms(row), "asks": asks}
    uow.session.add(row)
    uow.audit(audited(row, what, SYSTEM, data))
    uow.notice(f"approval.{what}", row.id, data)
    uow.notify(TOPIC, row.id)
