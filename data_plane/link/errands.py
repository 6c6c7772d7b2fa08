"""What the control plane asks this agent to do at a target: one thing at a time for each target, answered once.

An errand goes on when the stream ends, since half a rotation is worse than a whole one that nobody hears of; only its
answer is lost, and whoever asked has been told so. A handler that only looks says so (`Handler.harmless`).
Nothing that a handler raises reaches the control plane but an ErrandError's own words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
import structlog

from data_plane.credentials.ports import CredentialError
from data_plane.identifiers import TargetName
from data_plane.link.messages import Errand, ErrandDone
from data_plane.runtime.tasks import spawn

log = structlog.get_logger(__name__)

_FAILED: Final = "the agent failed at it; its log says why"

Do = Callable[[TargetName, Mapping[str, Any]], Awaitable[Any]]
"""Gets the target and the arguments; what it returns is sent as JSON, and holds no secret. Raises ErrandError."""


class ErrandError(Exception):
    """It cannot be done; `args[0]` says why and what to do, for whoever asked."""


class Handler(msgspec.Struct, frozen=True, eq=False):
    do: Do
    harmless: bool = False  # it only looks: broken off when nobody hears the answer any more


class Errands:
    """Of one process; it outlives the streams. `handlers` by kind."""

    def __init__(self, handlers: Mapping[str, Handler], serves: Callable[[str], bool]) -> None:
        self._handlers = handlers
        self._serves = serves
        self._turns: dict[str, asyncio.Lock] = {}
        self._done: asyncio.Queue[ErrandDone] = asyncio.Queue()
        self._harmless: set[asyncio.Task[None]] = set()
        self._working: set[asyncio.Task[None]] = set()

    def asked(self, errand: Errand) -> None:
        handler = self._handlers.get(errand.kind)
        if handler is None:
            self._done.put_nowait(ErrandDone(errand.id, problem=f"this agent does not know {errand.kind!r}: update it"))
        elif not self._serves(errand.target):
            why = f"this agent has no [targets.{errand.target}] in its configuration"
            self._done.put_nowait(ErrandDone(errand.id, problem=why))
        else:
            task = spawn(self._run(errand, handler), f"errand {errand.kind} {errand.target}")
            tasks = self._harmless if handler.harmless else self._working
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def answering(self, send: Callable[[ErrandDone], Awaitable[None]]) -> None:
        """Sends what is done for as long as one stream lasts; never returns. What an older stream had asked is not
        answered on this one."""
        self._done = asyncio.Queue()
        try:
            while True:
                await send(await self._done.get())
        finally:
            for task in tuple(self._harmless):
                task.cancel()

    async def finished(self) -> None:
        """Nothing is half done any more: before the agent ends."""
        while self._working:
            await asyncio.wait(set(self._working))

    async def _run(self, errand: Errand, handler: Handler) -> None:
        answers = self._done
        async with self._turns.setdefault(errand.target, asyncio.Lock()):
            if answers is self._done:  # else whoever asked has been told that it will not be done
                answers.put_nowait(await _outcome(errand, handler))


async def _outcome(errand: Errand, handler: Handler) -> ErrandDone:
    log.info("an errand of the control plane", kind=errand.kind, target=errand.target)
    try:
        arguments = msgspec.json.decode(errand.arguments or "{}", type=dict[str, Any])
        result = await handler.do(TargetName(errand.target), arguments)
        return ErrandDone(errand.id, msgspec.json.encode(result).decode())
    except (ErrandError, CredentialError) as error:
        log.warning("an errand could not be done", kind=errand.kind, target=errand.target, why=str(error))
        return ErrandDone(errand.id, problem=str(error))
    except Exception:
        log.exception("an errand failed", kind=errand.kind, target=errand.target)
        return ErrandDone(errand.id, problem=_FAILED)
