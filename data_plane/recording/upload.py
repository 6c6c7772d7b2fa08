"""Ships sealed segments to the control plane, in order, each acknowledged; forgets a recording when it is stored.

The control plane says from which segment to go on, so a cut costs one segment at most and nothing is kept here about
progress. A recording that the control plane calls broken is left in the spool as evidence and not sent again by
this process. Knows no wire: `Uploads` is a port, implemented in `link/`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Protocol

import structlog

from data_plane.recording.format import RecordingEnd
from data_plane.recording.shelf import Shelf, Spooled
from data_plane.runtime.tasks import spawn

log = structlog.get_logger(__name__)

_AT_ONCE = 2
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 60.0
_REPORTED_SECONDS = 5.0


class UploadInterruptedError(Exception):
    """Whatever was acknowledged is kept; to be tried again."""


class BrokenRecordingError(Exception):
    """A segment does not continue the chain that the control plane has. Not tried again."""


class Upload(Protocol):
    async def begin(self, session_id: str, instance_id: str) -> int: ...

    async def segment(self, index: int, sealed: bytes) -> int:
        """The next segment that is wanted."""

    async def end(self, end: RecordingEnd) -> bool:
        """True: the whole recording is durable."""


class Uploads(Protocol):
    instance_id: str

    def open(self) -> AbstractAsyncContextManager[Upload]: ...


class Uploader:
    """One for each process. `broken(session_id, why)` tells the admin; `stored(session_id)`: it has left the spool.
    `reported(seconds)`: whether all reports so far are on disk, which may take as long: until then a recording is the
    only trace of what it tells."""

    def __init__(
        self,
        shelf: Shelf,
        broken: Callable[[str, str], None],
        stored: Callable[[str], None] = lambda _: None,
        reported: Callable[[float], bool] = lambda _: True,
    ) -> None:
        self._shelf = shelf
        self._broken = broken
        self._stored = stored
        self._reported = reported
        self._given_up: set[str] = set()
        self._failures: dict[str, int] = {}
        self._waiting: dict[str, None] = {}  # in order, each once
        self._busy: set[str] = set()
        self._some = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def sealed(self, session_id: str) -> None:
        """There is something to upload. Called from the recording thread."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._add, session_id)

    @property
    def idle(self) -> bool:
        """Every ended recording has been stored."""
        return not any(item.end and item.session_id not in self._given_up for item in self._shelf.listing())

    async def run(self, uploads: Uploads) -> None:
        """While there is a connection; ends only when it is cancelled."""
        for item in self._shelf.listing():
            self._add(item.session_id)
        workers = [spawn(self._work(uploads), f"upload-{number}") for number in range(_AT_ONCE)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()

    def _add(self, session_id: str) -> None:
        if session_id not in self._given_up:
            self._waiting[session_id] = None
            self._some.set()

    async def _work(self, uploads: Uploads) -> None:
        while True:
            session_id = next((waiting for waiting in self._waiting if waiting not in self._busy), None)
            if session_id is None:
                self._some.clear()
                await self._some.wait()
                continue
            del self._waiting[session_id]
            self._busy.add(session_id)
            try:
                await self._try(uploads, session_id)
            finally:
                self._busy.discard(session_id)
                self._some.set()

    async def _try(self, uploads: Uploads, session_id: str) -> None:
        item = self._shelf.ready(session_id)
        if item is None:
            return
        try:
            await self._upload(uploads, item)
        except BrokenRecordingError as error:
            log.warning("the control plane refuses a recording as broken", session=session_id, reason=str(error))
            self._given_up.add(session_id)
            self._broken(session_id, str(error))
        except UploadInterruptedError as error:
            log.info("an upload was interrupted", session=session_id, reason=str(error))
            self._later(session_id)
        except OSError as error:  # of the spool; the others go on
            log.warning("a recording cannot be read or removed yet", session=session_id, exc_info=error)
            self._later(session_id)
        else:
            self._failures.pop(session_id, None)

    def _later(self, session_id: str) -> None:
        failures = self._failures[session_id] = self._failures.get(session_id, 0) + 1
        pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(failures, 16))
        self._loop.call_later(pause, self._add, session_id)

    async def _upload(self, uploads: Uploads, item: Spooled) -> None:
        async with uploads.open() as upload:
            wanted = await upload.begin(item.session_id, uploads.instance_id)
            while wanted < item.segments:
                sealed = await asyncio.to_thread(self._shelf.segment, item.session_id, wanted)
                wanted = await upload.segment(wanted, sealed)
            if item.end is not None and await upload.end(item.end):
                if not await asyncio.to_thread(self._reported, _REPORTED_SECONDS):
                    raise UploadInterruptedError("the reports of its session are not on disk yet")
                await asyncio.to_thread(self._shelf.forget, item.session_id)
                self._stored(item.session_id)
