"""A post office for tests: notifications over the world of approvals, with channels that do as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import msgspec
from sqlmodel import col, select

from control_plane.assembly import ControlPlane
from control_plane.identities.domain import Identity
from control_plane.kit.clock import Clock, milliseconds
from control_plane.kit.outbox import NoticeRow
from control_plane.kit.tasks import spawn, stop
from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.notifications import repository
from control_plane.notifications.attempts import Attempts
from control_plane.notifications.directory import KnownApprovals
from control_plane.notifications.dispatcher import Dispatcher, FanOut, Lane
from control_plane.notifications.domain import DeliveryState
from control_plane.notifications.ports import Channel, Facts, Notice, Told
from control_plane.notifications.repository import Filter
from control_plane.notifications.tables import DeliveryRow

Answer = Callable[[Notice, Facts], Told | None]


@dataclass
class Scripted:
    """A channel that remembers what it was told, and fails or waits when the test wants."""

    name: str
    events: tuple[str, ...] = ()
    error: Exception | None = None
    gate: asyncio.Event | None = None
    answer: Told | None = None
    told: list[tuple[Notice, Facts]] = field(default_factory=list)
    arrived: asyncio.Queue[Notice] = field(default_factory=asyncio.Queue)

    def wants(self, notice: Notice, _facts: Facts) -> bool:
        return not self.events or notice.kind in self.events

    async def deliver(self, notice: Notice, facts: Facts) -> Told | None:
        self.arrived.put_nowait(notice)
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.told.append((notice, facts))
        return self.answer

    @property
    def kinds(self) -> list[str]:
        return [notice.kind for notice, _ in self.told]

    @property
    def states(self) -> list[str]:
        return [facts.view.row.state for _, facts in self.told if facts.view]

    async def next(self) -> Notice:
        async with asyncio.timeout(10):
            return await self.arrived.get()


class _Milliseconds:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> datetime:
        return self._clock.now()

    @property
    def ms(self) -> int:
        return milliseconds(self._clock.now())


class Addresses:
    """Everybody has the address of their name."""

    async def find_all(self, _uow: UnitOfWork, ids: Iterable[str]) -> dict[str, Identity]:
        return {one: _identity(one) for one in ids}


def _identity(identity_id: str) -> Identity:
    name = identity_id.removeprefix("idn_")
    return Identity(identity_id, name, "person", f"{name}@example.org", None, "", False, True, (), frozenset())


class Fixed:
    """The port Channels."""

    def __init__(self, *channels: Channel) -> None:
        self.channels = {channel.name: channel for channel in channels}

    async def present(self, _uow: UnitOfWork) -> Mapping[str, Channel]:
        return self.channels


@dataclass
class Post:
    world: Any  # a World, or what of it a whole control plane has
    channels: Fixed
    limit_seconds: float = 5.0

    @classmethod
    def of(cls, control_plane: ControlPlane, *channels: Channel) -> Post:
        """Over a whole control plane."""
        found = SimpleNamespace(
            units=control_plane.units,
            clock=_Milliseconds(control_plane.clock),
            events=control_plane.events,
            review=control_plane.approvals.review,
        )
        return cls(found, Fixed(*channels))

    @property
    def approvals(self) -> KnownApprovals:
        return KnownApprovals(self.world.review, Addresses(), "https://assentry.example/")

    async def given(self, kind: str, key: str, **own: Any) -> tuple[Notice, Facts]:
        """What a channel is given for a notice of this kind, at this moment."""
        async with self.world.units.reading() as uow:
            facts = await self.approvals.facts(uow, key)
        own = {"idempotency_key": "dlv_aaaaaaaaaaaaaaaaaaaa", "attempt": 1, **own}
        notice = Notice(1, kind, key, {"by": "ada"}, self.world.clock.ms)
        return notice, msgspec.structs.replace(facts, **own)

    def attempts(self) -> Attempts:
        return Attempts(self.world.units, self.approvals, lambda: 0.5, self.limit_seconds)

    def fan_out(self) -> FanOut:
        return FanOut(self.world.units, self.channels, self.approvals)

    def lane(self, name: str) -> Lane:
        return Lane(self.channels.channels[name], self.world.units, self.world.clock, self.attempts())

    async def round(self) -> None:
        """Everything that is due now, once."""
        await self.fan_out().run()
        for name in self.channels.channels:
            lane = self.lane(name)
            while await lane.launch() == 0:
                await lane.landed()

    @asynccontextmanager
    async def running(self, *, alone: bool = False) -> AsyncIterator[Dispatcher]:
        dispatcher = Dispatcher(
            units=self.world.units,
            events=self.world.events,
            clock=self.world.clock,
            channels=self.channels,
            fan_out=self.fan_out(),
            attempts=self.attempts(),
            alone=alone,
        )
        task = spawn(dispatcher.run(), "dispatcher")
        try:
            yield dispatcher
        finally:
            await stop(task)

    async def deliveries(self, **wanted: str) -> list[DeliveryRow]:
        """Oldest first."""
        async with self.world.units.reading() as uow:
            return list(reversed(await repository.listed(uow.session, Filter(**wanted), None, 1000)))

    async def states(self, **wanted: str) -> list[str]:
        return [row.state for row in await self.deliveries(**wanted)]

    async def settled(self, count: int) -> list[DeliveryRow]:
        """Waits for so many deliveries to be over."""
        async with asyncio.timeout(10), self.world.events.subscribe("delivery") as news:
            while True:
                rows = [row for row in await self.deliveries() if row.state != DeliveryState.PENDING]
                if len(rows) >= count:
                    return rows
                await news.get()

    async def notices(self, kind: str = "") -> list[NoticeRow]:
        async with self.world.units.reading() as uow:
            rows = (await uow.session.exec(select(NoticeRow).order_by(col(NoticeRow.id)))).all()
        return [row for row in rows if not kind or row.kind == kind]

    async def notice(self, kind: str, key: str) -> None:
        async with self.world.units() as uow:
            uow.notice(kind, key, {"by": "somebody"})
