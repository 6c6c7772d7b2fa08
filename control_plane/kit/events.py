"""News between parts and replicas: that something changed, never what. A subscriber reads the database.

`LocalEvents` serves one process over SQLite. `PostgresEvents` (postgres_events.py) carries the same over
LISTEN/NOTIFY, so whichever replica commits, every replica hears of it. Nothing is stored: when news may
have been lost (a reconnect, a subscriber too slow for its bounded queue) the subscriber gets one
`RESYNC` and reads everything again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Protocol, Self

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

_QUEUE_LENGTH = 1024


class News(msgspec.Struct, frozen=True):
    topic: str
    key: str = ""


RESYNC = News("resync")


class Subscription:
    """A bounded queue of the news of some topics. Use as an async context manager, then `get`, `some` or
    `gathered`."""

    def __init__(self, topics: Iterable[str], owner: Subscribers) -> None:
        self.topics = frozenset(topics)
        self._owner = owner
        self._queue: asyncio.Queue[News] = asyncio.Queue(_QUEUE_LENGTH)

    def offer(self, news: News) -> None:
        if news != RESYNC and news.topic not in self.topics:
            return
        if self._queue.full():
            while not self._queue.empty():
                self._queue.get_nowait()
            news = RESYNC
        self._queue.put_nowait(news)

    async def get(self) -> News:
        return await self._queue.get()

    async def some(self) -> list[News]:
        """The next news with all that has come by now, each once, in order."""
        found = {await self._queue.get(): None}
        while not self._queue.empty():
            found[self._queue.get_nowait()] = None
        return list(found)

    async def gathered(self, seconds: float) -> None:
        """Returns so long after the next news, with everything that has come by then: for who looks at it all at once,
        and need not be the first to hear."""
        await self._queue.get()
        await asyncio.sleep(seconds)
        while not self._queue.empty():
            self._queue.get_nowait()

    def close(self) -> None:
        self._owner.remove(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Events(Protocol):
    def subscribe(self, *topics: str) -> Subscription:
        """From now on; nothing earlier is told, so subscribe first and read the database then."""

    async def announce(self, session: AsyncSession, news: Sequence[News]) -> None:
        """Inside the transaction, before it commits."""

    def committed(self, news: Sequence[News]) -> None:
        """After the transaction has committed."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class Subscribers:
    """The subscriptions of one process."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()

    def add(self, *topics: str) -> Subscription:
        subscription = Subscription(topics, self)
        self._subscriptions.add(subscription)
        return subscription

    def remove(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)

    def tell(self, news: Sequence[News]) -> None:
        for subscription in tuple(self._subscriptions):
            for item in news:
                subscription.offer(item)


class LocalEvents:
    """Everything happens in this process."""

    def __init__(self) -> None:
        self._subscribers = Subscribers()

    def subscribe(self, *topics: str) -> Subscription:
        return self._subscribers.add(*topics)

    async def announce(self, session: AsyncSession, news: Sequence[News]) -> None:
        """Nothing to do before the commit."""

    def committed(self, news: Sequence[News]) -> None:
        self._subscribers.tell(news)

    async def start(self) -> None:
        """Nothing to open."""

    async def stop(self) -> None:
        """Nothing to close."""
