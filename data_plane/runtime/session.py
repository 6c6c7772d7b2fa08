"""The sessions of this process, open or about to be: whom the link, a new snapshot or a drain can end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
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
        self._opening: dict[SessionId, SessionFacts] = {}  # admitted; their targets are being opened
        self._unwanted: dict[SessionId, tuple[str, str]] = {}  # of those: reason and message of what has ended them
        self._draining = False
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
        return len(self._open) + len(self._opening) >= self._most

    @contextlib.contextmanager
    def opening(self, facts: SessionFacts) -> Iterator[None]:
        """From the admission on, so that it can be ended while its target is opened: ask `unwanted` before `add`."""
        self._opening[facts.id] = facts
        if self._draining:
            self._unwanted[facts.id] = ("drained", _DRAINED)
        try:
            yield
        finally:
            self._opening.pop(facts.id, None)
            self._unwanted.pop(facts.id, None)
            self._changed.set()

    def unwanted(self, session: SessionId) -> tuple[str, str] | None:
        """Reason and message of what has ended it while it was opened; it must not be added then."""
        return self._unwanted.get(session)

    def add(self, handle: SessionHandle) -> None:
        self._opening.pop(handle.facts.id, None)
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
        elif session in self._opening:
            self._unwanted.setdefault(session, (reason, message))
        return handle is not None or session in self._opening

    def terminate_where(self, applies: Callable[[SessionFacts], bool], reason: str, message: str) -> int:
        """Ends those that it applies to; how many."""
        every = [*(handle.facts for handle in self._open.values()), *self._opening.values()]
        ending = [facts.id for facts in every if applies(facts)]
        for session in ending:
            self.terminate(session, reason, message)
        return len(ending)

    async def drain(self, seconds: float) -> None:
        """Ends each session as soon as it is idle, the rest after `seconds`; returns when their targets know too.

        Accepting new ones is stopped by the listener before."""
        self._draining = True
        for session in self._opening:
            self.terminate(session, "drained", _DRAINED)
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
        while self._open or self._opening:
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
