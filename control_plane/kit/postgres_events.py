"""News over PostgreSQL's LISTEN/NOTIFY: sent inside the transaction, delivered by the server at commit.

One connection of its own listens. When it is lost it is opened again, with a growing pause, and every
subscriber is told to read everything again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import msgspec
import structlog
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.kit.events import RESYNC, News, Subscribers, Subscription
from control_plane.kit.tasks import spawn, stop

_CHANNEL = "assentry"
_PAUSES = (0.1, 0.5, 1.0, 2.0, 5.0)  # seconds between attempts; the last one repeats
_log = structlog.get_logger(__name__)


class PostgresEvents:
    def __init__(self, url: URL) -> None:
        self._dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._subscribers = Subscribers()
        self._task: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()

    def subscribe(self, *topics: str) -> Subscription:
        return self._subscribers.add(*topics)

    async def announce(self, session: AsyncSession, news: Sequence[News]) -> None:
        for item in dict.fromkeys(news):
            connection = await session.connection()
            await connection.execute(text("SELECT pg_notify(:channel, :payload)"), _parameters(item))

    def committed(self, news: Sequence[News]) -> None:
        """The server has told every listener already, this one among them."""

    async def start(self) -> None:
        self._task = spawn(self._listen_for_ever(), "postgres-events")
        await self._listening.wait()

    async def stop(self) -> None:
        if self._task is not None:
            await stop(self._task)

    async def _listen_for_ever(self) -> None:
        attempt = 0
        while True:
            try:
                await self._listen()
                attempt = 0
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                _log.warning("lost the news from PostgreSQL", error=str(error))
            await asyncio.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])
            attempt += 1

    async def _listen(self) -> None:
        """Returns when the connection has ended."""
        connection = await asyncpg.connect(self._dsn)
        ended = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _connection: ended.set())
            await connection.add_listener(_CHANNEL, self._heard)
            self._subscribers.tell([RESYNC])
            self._listening.set()
            await ended.wait()
        finally:
            connection.terminate()

    def _heard(self, _connection: Any, _process: int, _channel: str, payload: object) -> None:
        try:
            news = msgspec.json.decode(str(payload), type=News)
        except msgspec.DecodeError:
            _log.warning("news that nobody understands", channel=_CHANNEL)
            return
        self._subscribers.tell([news])


def _parameters(news: News) -> dict[str, str]:
    return {"channel": _CHANNEL, "payload": msgspec.json.encode(news).decode()}
