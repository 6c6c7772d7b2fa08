"""News of approvals for one reader, as server-sent events: which request changed, never what is in it.

Who may see what is asked again for every event, so a lost role ends the news before it ends the sign-in.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from control_plane.approvals import repository
from control_plane.approvals.domain import State
from control_plane.approvals.grouping import members
from control_plane.approvals.ports import People
from control_plane.approvals.tables import ApprovalRow
from control_plane.approvals.transitions import TOPIC
from control_plane.kit.access import Permission, Principal
from control_plane.kit.events import RESYNC, Events, News
from control_plane.kit.unit_of_work import UnitOfWork, Units

_ALIVE_EVERY: Final = 15.0  # seconds; proxies close what is silent
_ALIVE: Final = ": alive\n\n"
_RESYNC: Final = "event: resync\ndata: {}\n\n"


class NewsFeed:
    def __init__(self, units: Units, events: Events, people: People) -> None:
        self._units = units
        self._events = events
        self._people = people

    async def stream(self, principal: Principal) -> AsyncIterator[str]:
        """Begins with `resync`: what happened before is read from the list. Ends when the reader is disabled."""
        async with self._events.subscribe(TOPIC) as subscription:
            yield _RESYNC
            while True:
                try:
                    async with asyncio.timeout(_ALIVE_EVERY):
                        news = await subscription.get()
                except TimeoutError:
                    yield _ALIVE
                    continue
                told = await self._told(principal, news)
                if told is None:
                    return
                if told:
                    yield told

    async def _told(self, principal: Principal, news: News) -> str | None:
        """Empty: not theirs to know. None: the reader may know nothing any more."""
        if news == RESYNC:
            return _RESYNC
        async with self._units.reading() as uow:
            row = await repository.one(uow.session, news.key)
            found = await self._people.people(uow, [principal.identity])
            if not found or not found[0].enabled:
                return None
            sees_all = found[0].may_review or found[0].may_break_glass or principal.may(Permission.AUDIT)
            if row is None or not (sees_all or principal.identity in {row.requester_id, row.owner_id}):
                return ""
            return _event(await _told_of(uow, row))


async def _told_of(uow: UnitOfWork, row: ApprovalRow) -> ApprovalRow:
    """Of identical requests that wait, the one that lists show."""
    waiting = await members(uow.session, [row.card_id]) if row.state == State.PENDING else {}
    return next(iter(waiting.get(row.card_id, ())), row)


def _event(row: ApprovalRow) -> str:
    data = {"id": row.id, "short_code": row.short_code, "state": row.state}
    return f"event: approval\ndata: {msgspec.json.encode(data).decode()}\n\n"
