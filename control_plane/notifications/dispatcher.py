"""Carries the outbox to the channels: fans every notice out, and keeps one lane for each channel.

Driven by news, with one timer in each lane for its nearest attempt; nothing is polled. Every replica runs one. Fanning
out is done by one at a time, deliveries are claimed under their row locks with a lease, so whoever dies with one in
its hands is followed by another replica, or by itself after its restart. Lanes share nothing: a dead channel delays no
other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from control_plane.kit.clock import Clock, milliseconds
from control_plane.kit.events import Events, Subscription
from control_plane.kit.ids import new_id
from control_plane.kit.outbox import TOPIC as NOTICE
from control_plane.kit.outbox import NoticeRow
from control_plane.kit.revision import next_revision
from control_plane.kit.tasks import spawn, stop
from control_plane.kit.unit_of_work import SNAPSHOT, UnitOfWork, Units
from control_plane.notifications import repository
from control_plane.notifications.attempts import TOPIC, Attempts, notice_of
from control_plane.notifications.domain import LEASE_MS, DeliveryState, is_too_old
from control_plane.notifications.ports import Approvals, Channel, Channels
from control_plane.notifications.tables import DeliveryRow

_log = structlog.get_logger(__name__)

_AT_ONCE: Final = 8  # deliveries that a channel may have under way, of different keys
_BATCH: Final = 100  # notices fanned out in one transaction
_AFTER_FAILURE: Final = 1.0
_GATHERING: Final = 0.1  # what an operation that is approved is told of comes several times in a row
_LONGEST_SLEEP: Final = 60.0  # a wall clock that jumps is noticed after this long
_CONTENDED: Final = 0.1  # another replica has the row locked and is about to commit


class FanOut:
    """Gives every notice one delivery for each channel that wants it."""

    def __init__(self, units: Units, channels: Channels, approvals: Approvals) -> None:
        self._units = units
        self._channels = channels
        self._approvals = approvals

    async def run(self) -> Mapping[str, Channel]:
        """Until nothing is left. Returns the channels as they are. Without any, notices stay where they are.

        What each channel wants is found out first, so that the turn to write is short."""
        while True:
            async with self._units.reading() as uow:
                channels = await self._channels.present(uow)
                rows = await repository.not_fanned_out(uow.session, _BATCH) if channels else ()
                wanted = {row.id: await self._wanted(uow, row, channels) for row in rows}
            if not wanted:
                return channels
            await self._write(wanted)

    async def _wanted(self, uow: UnitOfWork, row: NoticeRow, channels: Mapping[str, Channel]) -> list[str]:
        if is_too_old(row.at_ms, milliseconds(uow.now)):
            return []
        notice, facts = notice_of(row), await self._approvals.facts(uow, row.key, recipients=False)
        return [channel.name for channel in channels.values() if channel.wants(notice, facts)]

    async def _write(self, wanted: Mapping[int | None, Sequence[str]]) -> None:
        async with self._units() as uow:
            await next_revision(uow.session, "outbox")  # one replica at a time: the order of a key stays
            for row in await repository.not_fanned_out(uow.session, _BATCH):
                if row.id not in wanted:
                    break  # those after it come with it, in the next round
                row.fanned_out = True
                uow.session.add(row)
                for channel in wanted[row.id]:
                    uow.session.add(_delivery(row, channel, milliseconds(uow.now)))
                    uow.notify(TOPIC, channel)


class Lane:
    """The deliveries of one channel: those of one key in order, those of several keys at the same time."""

    def __init__(self, channel: Channel, units: Units, clock: Clock, attempts: Attempts) -> None:
        self.channel = channel
        self._units = units
        self._clock = clock
        self._attempts = attempts
        self._flying: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        """For ever. What is under way when it is cancelled goes on, so that a channel can be changed meanwhile."""
        while True:
            self._woken.clear()
            try:
                seconds = await self.launch()
            except Exception:  # noqa: BLE001 - a lane outlives every failure
                _log.exception("deliveries could not be claimed; trying again", channel=self.channel.name)
                seconds = _AFTER_FAILURE
            await self._woken_within(seconds)

    async def launch(self) -> float | None:
        """Begins what is due. Seconds until there is more to do; None: not before there is news."""
        free = _AT_ONCE - len(self._flying)
        if not free:
            return None
        async with self._units.reading() as uow:
            due = await repository.next_due(uow.session, self.channel.name)
        now = milliseconds(self._clock.now())
        if due is None:
            return None
        if due > now:
            return min((due - now) / 1000, _LONGEST_SLEEP)
        async with self._units() as uow:
            claimed = await repository.claim(uow.session, self.channel.name, now, now + LEASE_MS, free)
        for row in claimed:
            self._fly(row)
        return 0 if claimed else _CONTENDED

    async def landed(self) -> None:
        """Returns when nothing is under way."""
        while self._flying:
            await asyncio.wait(tuple(self._flying))

    async def abandon(self) -> None:
        """Ends what is under way; it is tried again when its lease is over."""
        for task in tuple(self._flying):
            await stop(task)

    def _fly(self, row: DeliveryRow) -> None:
        task = spawn(self._attempts.make(self.channel, row), f"delivery-{row.id}")
        self._flying.add(task)
        task.add_done_callback(self._one_landed)

    def _one_landed(self, task: asyncio.Task[None]) -> None:
        self._flying.discard(task)
        self._woken.set()

    async def _woken_within(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return


class Dispatcher:
    def __init__(
        self,
        *,
        units: Units,
        events: Events,
        clock: Clock,
        channels: Channels,
        fan_out: FanOut,
        attempts: Attempts,
        alone: bool,
    ) -> None:
        """`alone`: no other process works on this database, so at start no lease is anybody's."""
        self._alone = alone
        self._units = units
        self._events = events
        self._clock = clock
        self._channels = channels
        self._fan_out = fan_out
        self._attempts = attempts
        self._lanes: dict[str, tuple[Lane, asyncio.Task[None]]] = {}
        self._looked_for_stranded = False

    async def run(self) -> None:
        """For ever; `assembly` spawns it."""
        async with self._events.subscribe(NOTICE, TOPIC, SNAPSHOT) as news:
            try:
                while True:
                    await self._look(news)
            finally:
                for lane, task in self._lanes.values():
                    await stop(task)
                    await lane.abandon()

    async def _look(self, news: Subscription) -> None:
        try:
            await self._keep(await self._fan_out.run())
        except Exception:  # noqa: BLE001 - the dispatcher outlives every failure
            _log.exception("notices could not be fanned out; trying again")
            await asyncio.sleep(_AFTER_FAILURE)
            return
        for lane, _ in self._lanes.values():
            lane.wake()
        await news.gathered(_GATHERING)

    async def _keep(self, channels: Mapping[str, Channel]) -> None:
        """One lane for each of these, and no other. A channel that has changed gets a new one."""
        stale = [name for name, (lane, _) in self._lanes.items() if channels.get(name) is not lane.channel]
        for name in stale:
            _, task = self._lanes.pop(name)
            await stop(task)
        if not self._looked_for_stranded or any(name not in channels for name in stale):
            await self._strand()
        for name, channel in channels.items():
            if name not in self._lanes:
                lane = Lane(channel, self._units, self._clock, self._attempts)
                self._lanes[name] = (lane, spawn(lane.run(), f"channel-{name}"))

    async def _strand(self) -> None:
        """What waits for a channel that is gone fails, and says so."""
        async with self._units() as uow:
            left = sorted(await self._channels.present(uow))
            if await repository.strand(uow.session, left, milliseconds(uow.now), "the channel is gone"):
                uow.notify(TOPIC)
            if self._alone and not self._looked_for_stranded:
                await repository.release(uow.session, milliseconds(uow.now))
        self._looked_for_stranded = True


def _delivery(row: NoticeRow, channel: str, now_ms: int) -> DeliveryRow:
    return DeliveryRow(
        id=new_id("dlv"),
        notice_id=row.id or 0,
        channel=channel,
        kind=row.kind,
        key=row.key,
        state=DeliveryState.PENDING,
        at_ms=row.at_ms,
        next_at_ms=now_ms,
    )
