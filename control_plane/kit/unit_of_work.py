"""One transaction for one use case, with the audit events and the news of what it did.

    async with units() as uow:            # writes: the only writer at a time on SQLite
        ...
        uow.audit(AuditEvent(...))        # in this transaction, last before the commit
        uow.notify("approval", id)        # told to subscribers when it has committed
        uow.notice("approval.pending", id, {…})   # into the outbox, for the channels that tell people
    async with units.reading() as uow:    # a consistent read; writing in it is a bug

Leaving the block normally commits; an exception rolls everything back and nobody hears of it. Never
open one inside another: services take the `uow` of their caller.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import datetime
from typing import Protocol

import msgspec
from sqlmodel.ext.asyncio.session import AsyncSession

from control_plane.db.engine import Database
from control_plane.kit.clock import Clock, milliseconds
from control_plane.kit.errors import UnavailableError
from control_plane.kit.events import Events, News
from control_plane.kit.outbox import TOPIC as NOTICE
from control_plane.kit.outbox import NoticeRow
from control_plane.kit.revision import next_revision

Json = str | int | bool | None | Sequence["Json"] | Mapping[str, "Json"]

SNAPSHOT = "snapshot"
_WRITER_PATIENCE = 30.0  # seconds that a writer waits for its turn


class Actor(msgspec.Struct, frozen=True):
    """Who did it: a person, a machine, an agent, or the system itself."""

    id: str
    name: str
    kind: str  # person, machine, agent, system, nobody


SYSTEM = Actor("system", "system", "system")
NOBODY = Actor("", "", "nobody")  # not authenticated


class AuditEvent(msgspec.Struct, frozen=True):
    """What goes into the audit log. `sealed`: a batch of decisions in one event, as the agent packed it."""

    kind: str  # noun.verb in the past: policy.updated, approval.approved
    actor: Actor
    subject: str  # the id or name of what it was done to
    data: Mapping[str, Json] = {}
    sealed: bytes = b""


class AuditTrail(Protocol):
    async def append(self, session: AsyncSession, events: Sequence[AuditEvent], at: datetime) -> None: ...


Check = Callable[["UnitOfWork"], Awaitable[None]]


class UnitOfWork:
    def __init__(self, session: AsyncSession, now: datetime, *, writes: bool) -> None:
        self.session = session
        self.now = now  # one instant for the whole use case
        self.writes = writes
        self.events: list[AuditEvent] = []
        self.news: list[News] = []
        self.checks: list[Check] = []

    def audit(self, event: AuditEvent) -> None:
        self._must_write()
        self.events.append(event)

    def notify(self, topic: str, key: str = "") -> None:
        self._must_write()
        self.news.append(News(topic, key))

    def notice(self, kind: str, key: str, data: Mapping[str, Json] | None = None) -> None:
        """Leaves with this transaction; every channel that is configured for it tells it, at least once, in the
        order of the key. `data` must hold no secret: it goes to other systems."""
        self._must_write()
        self.session.add(NoticeRow(kind=kind, key=key, data=dict(data or {}), at_ms=milliseconds(self.now)))
        self.notify(NOTICE, key)

    async def snapshot_changed(self) -> int:
        """Something that agents must know has changed. Returns the new snapshot revision."""
        self._must_write()
        revision = await next_revision(self.session, SNAPSHOT)
        self.notify(SNAPSHOT, str(revision))
        return revision

    def check_last(self, check: Check) -> None:
        """Called once before the commit, when everything is in place; what it raises undoes everything."""
        if check not in self.checks:
            self.checks.append(check)

    def _must_write(self) -> None:
        if not self.writes:
            raise RuntimeError("this unit of work only reads; open it with units()")


class Units:
    """Opens units of work."""

    def __init__(self, database: Database, clock: Clock, events: Events, trail: AuditTrail) -> None:
        self._database = database
        self._clock = clock
        self._events = events
        self._trail = trail
        self._turn = asyncio.Lock() if database.single_writer else None

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[UnitOfWork]:
        async with self._writer_turn(), self._database.session() as session:
            uow = UnitOfWork(session, self._clock.now(), writes=True)
            async with session.begin():
                yield uow
                await session.flush()
                for check in uow.checks:
                    await check(uow)
                if uow.events:
                    await self._trail.append(session, uow.events, uow.now)
                if uow.news:
                    await self._events.announce(session, uow.news)
        self._events.committed(uow.news)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[UnitOfWork]:
        async with self._database.reading_session() as session, session.begin():
            yield UnitOfWork(session, self._clock.now(), writes=False)

    def _writer_turn(self) -> AbstractAsyncContextManager[None]:
        return nullcontext() if self._turn is None else _turn(self._turn)


@asynccontextmanager
async def _turn(lock: asyncio.Lock) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_WRITER_PATIENCE):
            await lock.acquire()
    except TimeoutError as error:
        raise UnavailableError("the database is busy; try again") from error
    try:
        yield
    finally:
        lock.release()
