"""The recording of one session in memory: each call stamps an event, appends it to a list, and returns.

The recording thread (`spool`) takes the events away. An event is a tuple of its tag and fields, which has the same
MessagePack form as the model's Struct and is made in a third of the time. The list is never replaced, because the
session's thread may stand between looking it up and appending to it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, final

import msgspec

from data_plane.recording.interface import RecordingError
from data_plane.recording.model import Opened
from data_plane.recording.writer import RecordingWriter

_MOST_BYTES_WAITING: Final = 64 << 20
_EVENT_BYTES: Final = 200  # about what an event takes beside its text or data
_HURRY_BYTES: Final = 2 << 20


class Thread(Protocol):
    """What a recorder asks of the recording thread."""

    def wake(self, recorder: SessionRecorder) -> None:
        """There are events; soon is enough."""

    def hurry(self, recorder: SessionRecorder) -> None:
        """Now."""


_Waiting = tuple[asyncio.Future[None], bool]  # who waits, and whether for the disk rather than the file


@final
class SessionRecorder:
    """Implements `interface.Recorder`. Used from one event loop; `taken` and below belong to the recording thread."""

    __slots__ = (
        "_asked",
        "_asked_bind",
        "_asked_text",
        "_asked_types",
        "_given_bytes",
        "_loop",
        "_monotonic",
        "_on_failure",
        "_spool",
        "_waiting",
        "_zero",
        "awake",
        "closing",
        "events",
        "failure",
        "opened",
        "operations",
        "over",
        "segment_began_at",
        "shelved",
        "taken_bytes",
        "touched_at",
        "writer",
    )

    def __init__(
        self, opened: Opened, thread: Thread, monotonic: Callable[[], float], on_failure: Callable[[str], None]
    ) -> None:
        self.opened = opened
        self.events: list[Any] = []
        self.awake = False  # the thread knows that there are events
        self.failure = ""  # why nothing can be recorded any more
        self.closing: str | None = None
        self.shelved = False  # it has a folder
        self.over = False  # its recording has ended on disk
        self.operations = 0
        self.writer = RecordingWriter(opened.session_id)
        self.taken_bytes = 0  # written by the thread only
        self.touched_at = self.segment_began_at = 0.0
        self._given_bytes = 0  # written by the session only
        self._asked = 0  # the operation that waits for its decision; 0: none
        self._asked_text = ""
        self._asked_bind = b""
        self._asked_types: Sequence[int] = ()
        self._spool = thread
        self._monotonic = monotonic
        self._zero = monotonic()
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Waiting] = deque()

    async def begin(self) -> None:
        """Returns when the recording has begun on disk. Raises RecordingError."""
        self.events.append(("opened", *msgspec.structs.astuple(self.opened)))
        await self._written(sync=False)

    # ------------------------------------------------------------ events

    def input(
        self, number: int, text: str, parameters: Sequence[tuple[str, str, str]] = (), bind: bytes = b"",
        types: Sequence[int] = (),
    ) -> None:  # fmt: skip
        if self.failure:
            raise RecordingError(self.failure)
        if self._asked:
            self._tell_asked()
        self.operations = number
        at = int((self._monotonic() - self._zero) * 1000)
        if bind:
            self.events.append(("input", at, number, text, (), bind, types))
        else:
            self.events.append(("input", at, number, text, tuple(parameters) if parameters else ()))
        self._given(len(text) + len(bind) + _EVENT_BYTES)

    def asked(self, number: int, text: str, bind: bytes, types: Sequence[int]) -> None:
        if self.failure:
            raise RecordingError(self.failure)
        if self._asked:
            self._tell_asked()
        self.operations = number
        self._asked, self._asked_text, self._asked_bind, self._asked_types = number, text, bind, types

    def _tell_asked(self) -> None:
        """It was not decided after all, or something else happened before."""
        if number := self._asked:
            text, bind, types = self._take_asked()
            self.events.append(("input", self._at(), number, text, (), bind, tuple(types)))
            self._given(len(text) + len(bind) + _EVENT_BYTES)

    def _take_asked(self) -> tuple[str, bytes, Sequence[int]]:
        asked = self._asked_text, self._asked_bind, self._asked_types
        self._asked, self._asked_text, self._asked_bind = 0, "", b""
        return asked

    def decided(
        self, number: int, effect: str, action: str, rules: Sequence[str], code: str = "", message: str = ""
    ) -> None:
        if self.failure:
            raise RecordingError(self.failure)
        at = int((self._monotonic() - self._zero) * 1000)
        if self._asked == number:
            text, bind, types = self._take_asked()
            self.events.append(("judged", at, number, effect, action, rules, code, message, text, bind, types))
            self._given(len(text) + len(bind) + _EVENT_BYTES)
            return
        if self._asked:
            self._tell_asked()
        self.events.append(("decided", at, number, effect, action, rules, code, message))
        if not self.awake:
            self._wake()

    def held(self, number: int, approval_id: str, digest: bytes, short_code: str, reviewers: str) -> None:
        self._add(("held", self._at(), number, approval_id, digest, short_code, reviewers))

    def hold_ended(
        self, number: int, approval_id: str, outcome: str, reason: str, approvers: Sequence[str] = ()
    ) -> None:
        self._add(("hold-ended", self._at(), number, approval_id, outcome, reason, tuple(approvers)))

    def output(self, number: int, data: bytes) -> None:
        self._add(("output", self._at(), number, data))
        self._given(len(data))

    def completed(self, number: int, status: str, rows: int, rows_kept: int, size: int) -> None:
        self._add(("completed", self._at(), number, status, rows, rows_kept, size))

    def answered(self, number: int, data: bytes, status: str, rows: int) -> None:
        """`output` and `completed` of an operation whose whole answer this is."""
        self._add(("answered", self._at(), number, data, status, rows))
        self._given(len(data))

    def closed(self, reason: str) -> None:
        """Never raises: a session that cannot be recorded any more is closed too. A second call is ignored."""
        if self.closing is None:
            with contextlib.suppress(RecordingError):
                self._tell_asked()
            self.events.append(("closed", self._at(), reason, self.operations))
            self.closing = reason
            self._spool.hurry(self)

    async def durable(self) -> None:
        if self.failure:
            raise RecordingError(self.failure)
        self._tell_asked()
        await self._written(sync=True)

    async def _written(self, *, sync: bool) -> None:
        done: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append((done, sync))
        self._spool.hurry(self)
        await done

    def _at(self) -> int:
        return int((self._monotonic() - self._zero) * 1000)

    def _add(self, event: tuple[Any, ...]) -> None:
        if self.failure:
            raise RecordingError(self.failure)
        if self._asked:
            self._tell_asked()
        self.events.append(event)
        if not self.awake:
            self._wake()

    def _given(self, size: int) -> None:
        if not self.awake:
            self._wake()
        self._given_bytes += size
        if self._given_bytes - self.taken_bytes > _HURRY_BYTES:
            self._press()

    def _wake(self) -> None:
        self.awake = True
        self._spool.wake(self)

    def _press(self) -> None:
        """Much waits for the disk: more than a fair share ends the session, so that memory is bounded."""
        self._spool.hurry(self)
        waiting = self._given_bytes - self.taken_bytes
        if waiting > _MOST_BYTES_WAITING and len(self.events) > 1:
            self.failure = "the disk is too slow for what this session records"
            raise RecordingError(self.failure)

    # ------------------------------------------------------------ for the recording thread

    def waiting(self) -> list[_Waiting]:
        """Those that want everything written that was appended before they asked. Taken before the events are."""
        return [self._waiting.popleft() for _ in range(len(self._waiting))]

    def take(self) -> list[Any]:
        """The events so far, out of the list. Appending meanwhile is safe: each step is one of the interpreter's."""
        self.awake = False
        self.taken_bytes = self._given_bytes  # what is given meanwhile may be taken too, and counts until the next time
        count = len(self.events)
        events = self.events[:count]
        del self.events[:count]
        return events

    def settle(self, waiting: Sequence[_Waiting]) -> None:
        if waiting:
            self._call(_settle, waiting, self.failure)

    def fail(self, reason: str) -> None:
        """Nothing more can be written. The session is told at once, and at its next event."""
        self.failure = self.failure or reason
        self.settle(self.waiting())
        self._call(self._on_failure, self.failure)

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(function, *arguments)


def _settle(waiting: Sequence[_Waiting], failure: str) -> None:
    for future, _ in waiting:
        if future.done():
            continue
        if failure:
            future.set_exception(RecordingError(failure))
        else:
            future.set_result(None)
