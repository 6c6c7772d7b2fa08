"""The recording of one session in memory: each call stamps an event, appends it to the session's piece, and returns.

The recording thread (`spool`) gets the pieces. They are handed over by the session's own thread, so that neither needs
to wait for the other.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, final

import msgspec

from data_plane.recording.interface import Recorder, RecordingError
from data_plane.recording.model import Opened
from data_plane.recording.pieces import Piece, Waiting, enter
from data_plane.recording.writer import RecordingWriter

_MOST_BYTES_WAITING: Final = 64 << 20
_HURRY_BYTES: Final = 2 << 20
_EVENT_BYTES: Final = 200  # about what an event takes beside its text and data


class Thread(Protocol):
    """What a recorder asks of the recording thread."""

    def wake(self, recorder: SessionRecorder) -> None:
        """There are events; soon is enough."""

    def hurry(self, recorder: SessionRecorder) -> None:
        """Now."""


@final
class SessionRecorder(Recorder):
    """Used from one event loop; below `settle` it belongs to the recording thread."""

    __slots__ = (
        "_asked",
        "_asked_bind",
        "_asked_text",
        "_asked_types",
        "_closed",
        "_given_bytes",
        "_judged",
        "_judged_at",
        "_judged_by",
        "_judged_effect",
        "_judged_kind",
        "_monotonic",
        "_on_failure",
        "_piece",
        "_spool",
        "_zero",
        "awake",
        "failure",
        "loop",
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
        self.loop = asyncio.get_running_loop()
        self.awake = False  # the piece is about to be handed over
        self.failure = ""  # why nothing can be recorded any more
        self.shelved = False  # it has a folder
        self.over = False  # its recording has ended on disk
        self.operations = 0
        self.writer = RecordingWriter(opened.session_id)
        self.taken_bytes = 0  # written by the thread only
        self.touched_at = self.segment_began_at = 0.0
        self._piece = Piece()
        self._closed = False
        self._given_bytes = 0  # written by the session only
        self._asked = 0  # the operation that waits for its decision; 0: none
        self._asked_text = ""
        self._asked_bind = b""
        self._asked_types: Sequence[int] = ()
        self._judged = False  # what is asked was decided, and waits to be written with its answer
        self._judged_at = 0
        self._judged_effect = self._judged_kind = ""
        self._judged_by: Sequence[str] = ()
        self._spool = thread
        self._monotonic = monotonic
        self._zero = monotonic()
        self._on_failure = on_failure

    async def begin(self) -> None:
        """Returns when the recording has begun on disk. Raises RecordingError."""
        self._append(("opened", *msgspec.structs.astuple(self.opened)))
        await self._written(sync=False)

    # ------------------------------------------------------------ events

    def input(
        self, number: int, text: str, parameters: Sequence[tuple[str, str, str]] = (), bind: bytes = b"",
        types: Sequence[int] = (),
    ) -> None:  # fmt: skip
        self.operations = number
        if bind:
            self._add(("input", self._at(), number, text, (), bind, types), len(text) + len(bind))
        else:
            self._add(("input", self._at(), number, text, tuple(parameters)), len(text))

    def asked(self, number: int, text: str, bind: bytes, types: Sequence[int]) -> None:
        if self.failure:
            raise RecordingError(self.failure)
        if self._asked:
            self._tell_asked()
        self.operations = number
        self._asked, self._asked_text, self._asked_bind, self._asked_types = number, text, bind, types

    def _tell_asked(self) -> None:
        """It was not decided or not answered yet when it had to be written or something else happened."""
        number, judged = self._asked, self._judged
        if not number:
            return
        text, bind, types = self._asked_text, self._asked_bind, self._asked_types
        self._forget_asked()
        size = len(text) + len(bind)
        if judged:
            decided = (self._judged_effect, self._judged_kind, self._judged_by)
            self._append(("judged", self._judged_at, number, *decided, "", "", text, bind, types), size)
        else:
            self._append(("input", self._at(), number, text, (), bind, tuple(types)), size)

    def _forget_asked(self) -> None:
        self._asked, self._asked_text, self._asked_bind = 0, "", b""
        self._judged = False

    def decided(
        self, number: int, effect: str, action: str, rules: Sequence[str], code: str = "", message: str = ""
    ) -> None:
        if self.failure:
            raise RecordingError(self.failure)
        at = self._at()
        # First, because the piece may be handed over with the event.
        enter(self._piece.batches, number, self.opened.started_at_ms + at, effect, action, rules, code)
        if self._asked != number or self._judged:
            self._add(("decided", at, number, effect, action, rules, code, message))
        elif code or message:
            text, bind, types = self._asked_text, self._asked_bind, self._asked_types
            self._forget_asked()
            asked = (text, bind, types)
            self._append(("judged", at, number, effect, action, rules, code, message, *asked), len(text) + len(bind))
        else:
            self._judged, self._judged_at = True, at
            self._judged_effect, self._judged_kind, self._judged_by = effect, action, rules
            if not self.awake:
                self._wake()

    def held(self, number: int, approval_id: str, digest: bytes, short_code: str, reviewers: str) -> None:
        self._add(("held", self._at(), number, approval_id, digest, short_code, reviewers))

    def hold_ended(
        self, number: int, approval_id: str, outcome: str, reason: str, approvers: Sequence[str] = ()
    ) -> None:
        self._add(("hold-ended", self._at(), number, approval_id, outcome, reason, tuple(approvers)))

    def output(self, number: int, data: bytes) -> None:
        self._add(("output", self._at(), number, data), len(data))

    def completed(self, number: int, status: str, rows: int, rows_kept: int, size: int) -> None:
        self._add(("completed", self._at(), number, status, rows, rows_kept, size))

    def answered(self, number: int, data: bytes, status: str, rows: int) -> None:
        """`output` and `completed` of an operation whose whole answer this is."""
        at = self._at()
        if not self._judged or self._asked != number:
            self._add(("answered", at, number, data, status, rows), len(data))
            return
        text, bind, types = self._asked_text, self._asked_bind, self._asked_types
        self._forget_asked()
        piece, by = self._piece, self._judged_by
        size = len(bind) + len(data)
        if text and not self.failure and piece.is_like(self._judged_effect, self._judged_kind, by, types):
            told = "" if text == piece.like_text else text
            piece.ran_alike(number, self._judged_at, told, bind, at, data, status, rows)
            self._grew(size + len(told))
        else:
            decided = (self._judged_effect, self._judged_kind, by)
            ran = ("ran", self._judged_at, number, *decided, text, bind, types, at, data, status, rows)
            self._append(ran, size + len(text))
            piece.let_next_be_like(*decided, types)
        piece.like_text = text

    def closed(self, reason: str) -> None:
        """Never raises: a session that cannot be recorded any more is closed too. A second call is ignored."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(RecordingError):
            self._add(("closed", self._at(), reason, self.operations))
        self._piece.closing = reason
        self._spool.hurry(self)

    async def durable(self) -> None:
        if self.failure:
            raise RecordingError(self.failure)
        self._tell_asked()
        await self._written(sync=True)

    async def _written(self, *, sync: bool) -> None:
        done: asyncio.Future[None] = self.loop.create_future()
        self._piece.waiting.append((done, sync))
        self._spool.hurry(self)
        await done

    def _at(self) -> int:
        return int((self._monotonic() - self._zero) * 1000)

    def _add(self, event: tuple[Any, ...], size: int = 0) -> None:
        if self._asked:
            self._tell_asked()
        self._append(event, size)

    def _append(self, event: tuple[Any, ...], size: int = 0) -> None:
        """`size`: of its text and data, in bytes."""
        if self.failure:
            raise RecordingError(self.failure)
        self._piece.add(event)
        self._grew(size)

    def _grew(self, size: int) -> None:
        piece = self._piece
        size += _EVENT_BYTES
        piece.size += size
        self._given_bytes += size
        if not self.awake:
            self._wake()
        if piece.size > _HURRY_BYTES:
            self._press(size)

    def _wake(self) -> None:
        self.awake = True
        self._spool.wake(self)

    def _press(self, size: int) -> None:
        """Much waits for the disk: more than a fair share ends the session, so that memory is bounded."""
        self._spool.hurry(self)
        waiting = self._given_bytes - self.taken_bytes
        if waiting > _MOST_BYTES_WAITING and waiting > size:
            self.failure = "the disk is too slow for what this session records"
            raise RecordingError(self.failure)

    def hand_over(self) -> Piece:
        """What there is since the last time. Called on the session's event loop, by whom it told to wake or hurry."""
        with contextlib.suppress(RecordingError):  # its next event says so
            self._tell_asked()
        self.awake = False
        piece, self._piece = self._piece, Piece()
        try:
            piece.encode()
        except Exception as error:  # noqa: BLE001  # the thread ends this recording when it comes to the piece
            piece.problem = f"an event cannot be encoded: {error}"
        return piece

    # ------------------------------------------------------------ for the recording thread

    def settle(self, waiting: Sequence[Waiting]) -> None:
        if waiting:
            self._call(_settle, waiting, self.failure)

    def fail(self, reason: str) -> None:
        """Nothing more can be written. The session is told at once, and at its next event."""
        self.failure = self.failure or reason
        self._call(self._on_failure, self.failure)

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(function, *arguments)


def _settle(waiting: Sequence[Waiting], failure: str) -> None:
    for future, _ in waiting:
        if future.done():
            continue
        if failure:
            future.set_exception(RecordingError(failure))
        else:
            future.set_result(None)
