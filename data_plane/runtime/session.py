"""The open sessions of this process: whom the link, a new snapshot or a drain can end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from data_plane.gate.interface import SessionFacts
from data_plane.identifiers import SessionId
from data_plane.runtime.tasks import spawn

MOST_SESSIONS: Final = 10_000


class SessionHandle(Protocol):
    @property
    def facts(self) -> SessionFacts: ...

    @property
    def held(self) -> bool:
        """An operation of it waits for people."""

    @property
    def idle(self) -> bool:
        """Nothing of it is begun: ending it now interrupts nothing."""

    def end(self, reason: str, message: str) -> None:
        """Tells the client `message` and closes; `reason` is for the recording. Returns at once, harmless twice."""


class Sessions:
    def __init__(self, most: int = MOST_SESSIONS) -> None:
        self._most = most
        self._open: dict[SessionId, SessionHandle] = {}
        self._changed = asyncio.Event()
        self._aftermath: set[asyncio.Task[None]] = set()

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

    def afterwards(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """What an ended session leaves to be done at its target; an agent that stops waits for it."""
        task = spawn(work, name)
        self._aftermath.add(task)
        task.add_done_callback(self._aftermath.discard)

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

    async def drain(self, seconds: float) -> None:
        """Ends each session as soon as it is idle, the rest after `seconds`; returns when their targets know too.

        Accepting new ones is stopped by the listener before."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not await self._gone_by(min(deadline, self._end_idle())):
            if asyncio.get_running_loop().time() >= deadline:
                break
        for handle in tuple(self._open.values()):
            handle.end("drained", _HELD if handle.held else _DRAINED)
        await self._gone_by(asyncio.get_running_loop().time() + _LINGER)
        if self._aftermath:
            await asyncio.wait(self._aftermath, timeout=_LINGER)

    def _end_idle(self) -> float:
        """When to look again."""
        for handle in tuple(self._open.values()):
            if handle.idle:
                handle.end("drained", _DRAINED)
        return asyncio.get_running_loop().time() + _LOOK

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
_LOOK: Final = 0.05
_DRAINED: Final = "the agent is shutting down: connect again"
_HELD: Final = "the agent is shutting down: what waited for approval was not run; connect again and send it again"
