"""The open sessions of this process: whom the link, a new snapshot or a drain can end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from data_plane.gate.interface import SessionFacts
from data_plane.identifiers import SessionId

MOST_SESSIONS: Final = 10_000


class SessionHandle(Protocol):
    @property
    def facts(self) -> SessionFacts: ...

    @property
    def held(self) -> bool:
        """An operation of it waits for people."""

    def end(self, reason: str, message: str) -> None:
        """Tells the client `message` and closes; `reason` is for the recording. Returns at once, harmless twice."""


class Sessions:
    def __init__(self, most: int = MOST_SESSIONS) -> None:
        self._most = most
        self._open: dict[SessionId, SessionHandle] = {}
        self._changed = asyncio.Event()

    @property
    def count(self) -> int:
        return len(self._open)

    @property
    def held_count(self) -> int:
        return sum(handle.held for handle in self._open.values())

    @property
    def full(self) -> bool:
        return len(self._open) >= self._most

    def add(self, handle: SessionHandle) -> None:
        self._open[handle.facts.id] = handle

    def remove(self, handle: SessionHandle) -> None:
        self._open.pop(handle.facts.id, None)
        self._changed.set()

    def terminate(self, session: SessionId, reason: str, message: str) -> bool:
        """False when it is not open here."""
        handle = self._open.get(session)
        if handle is not None:
            handle.end(reason, message)
        return handle is not None

    def terminate_where(self, applies: Callable[[SessionFacts], bool], reason: str, message: str) -> int:
        """Ends those that it applies to; how many."""
        ending = [handle for handle in self._open.values() if applies(handle.facts)]
        for handle in ending:
            handle.end(reason, message)
        return len(ending)

    async def drain(self, seconds: float, message: str = "the agent is shutting down: connect again") -> None:
        """Waits for sessions to end by themselves, ends the rest and returns when all are gone.

        Accepting new ones is stopped by the listener before."""
        loop = asyncio.get_running_loop()
        if not await self._gone_by(loop.time() + seconds):
            self.terminate_where(lambda _: True, "drained", message)
            await self._gone_by(loop.time() + _LINGER)

    async def _gone_by(self, deadline: float) -> bool:
        while self._open:
            self._changed.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._changed.wait()
            except TimeoutError:
                return False
        return True


_LINGER: Final = 10.0
