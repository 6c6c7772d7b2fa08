"""The process's recording thread: takes events from memory, compresses, chains and writes them, and reports decisions.

What can be lost. Events reach the file within FLUSH_SECONDS of being appended, and nobody waits for that: a statement
that policy allows by itself may be at the target before its events are in the file. So a killed process (kill -9)
loses at most the events of its last FLUSH_SECONDS and of the write that they wait for; everything before is recovered
at the next start, and decisions that were not reported are reported then (`salvage`). Recording and audit log say that
the session ended by a crash, and after which operation. What people approved is synced to the disk (`durable`) before
it runs, and so is each segment when it is sealed (at SEGMENT_BYTES, after IDLE_SECONDS without events, after
AGE_SECONDS, or at the session's end): a loss of power loses at most the open segment. Decisions are also reported, for
the audit log, a little later (see `decisions`).

When nothing can be written (disk full, any error) the session's next call raises RecordingError and `on_failure` is
called on its event loop; its recording stays valid to its last whole chunk and is ended as incomplete, at once or as
soon as the disk has room. Other sessions are not touched; new ones are refused while opening fails.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import final

import structlog

from data_plane.gate.ports import Clock
from data_plane.recording.decisions import GatheredDecisions
from data_plane.recording.format import RecordingEnd
from data_plane.recording.interface import DecisionReports, RecordingError
from data_plane.recording.model import Opened
from data_plane.recording.pieces import Piece
from data_plane.recording.recorder import SessionRecorder
from data_plane.recording.shelf import Shelf
from data_plane.recording.writer import Compressor

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 0.25
SEGMENT_BYTES = 1 << 20
IDLE_SECONDS = 5.0
AGE_SECONDS = 60.0
_RETRY_SECONDS = 5.0
_NEVER_OPENED = "never-opened"


@final
class Spool:
    """One for each process. `sign` signs the end of a recording with the instance's key; it runs in the thread.

    `on_sealed(session_id)`, called from the thread, says that there is something to upload.
    """

    def __init__(
        self,
        shelf: Shelf,
        *,
        clock: Clock,
        reports: DecisionReports,
        sign: Callable[[bytes], bytes],
        on_sealed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._shelf = shelf
        self._clock = clock
        self._reports = reports
        self._sign = sign
        self._on_sealed = on_sealed
        self._compressor = Compressor()
        self._decisions = GatheredDecisions(reports, self._compressor, clock.monotonic)
        self._awake: list[SessionRecorder] = []
        self._timer: asyncio.TimerHandle | None = None  # runs while any is awake
        self._queue: deque[tuple[SessionRecorder, Piece]] = deque()
        self._open: set[SessionRecorder] = set()  # with an open segment
        self._unfinished: list[tuple[SessionRecorder, float]] = []  # failed, could not be ended yet; retried then
        self._something = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """Writes what there is and ends the thread. Close the sessions first: what is open is left as after a crash."""
        self._hand_over()
        self._stopping = True
        self._something.set()
        self._thread.join(timeout_seconds)

    async def open(self, opened: Opened, on_failure: Callable[[str], None]) -> SessionRecorder:
        """A recorder whose recording has begun on disk. Raises RecordingError: no record, no session."""
        recorder = SessionRecorder(opened, self, self._clock.monotonic, on_failure)
        try:
            await recorder.begin()
        except BaseException:
            recorder.closed(_NEVER_OPENED)
            raise
        return recorder

    # ------------------------------------------------------------ called by recorders, on their event loops

    def wake(self, recorder: SessionRecorder) -> None:
        self._awake.append(recorder)
        if self._timer is None:
            self._timer = recorder.loop.call_later(FLUSH_SECONDS, self._hand_over)

    def hurry(self, recorder: SessionRecorder) -> None:
        self._queue.append((recorder, recorder.hand_over()))
        self._something.set()

    def _hand_over(self) -> None:
        self._timer = None
        awake, self._awake = self._awake, []
        self._queue.extend([(recorder, recorder.hand_over()) for recorder in awake if recorder.awake])
        self._something.set()

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        while not self._stopping or self._queue:
            self._something.wait(self._patience())
            self._something.clear()
            self._drain()
            self._report(self._decisions.due())
            self._seal_what_rests()
            self._retry()
        self._report(self._decisions.waiting())

    def _patience(self) -> float | None:
        """How long to sleep when nothing happens; None when nothing is open."""
        if self._decisions:
            return self._decisions.due_in_seconds
        if self._unfinished:
            return _RETRY_SECONDS
        return IDLE_SECONDS / 2 if self._open else None

    def _drain(self) -> None:
        for _ in range(len(self._queue)):
            recorder, piece = self._queue.popleft()
            try:
                self._write(recorder, piece)
            except Exception as error:  # noqa: BLE001  # one session's trouble must not end the thread
                self._give_up(recorder, error)

    def _write(self, recorder: SessionRecorder, piece: Piece) -> None:
        recorder.taken_bytes += piece.size
        if recorder.over:
            recorder.failure = recorder.failure or "the recording has ended"
            recorder.settle(piece.waiting)
            return
        try:
            self._put(recorder, piece)
        except Exception as error:
            recorder.failure = recorder.failure or _reason(error)
            raise
        finally:
            recorder.settle(piece.waiting)
        if piece.closing is not None:
            self._finish(recorder, piece.closing)
        elif recorder.writer.size >= SEGMENT_BYTES:
            self._seal(recorder)

    def _put(self, recorder: SessionRecorder, piece: Piece) -> None:
        try:
            if recorder.failure or piece.problem:
                raise RecordingError(recorder.failure or piece.problem)
            if piece.encoded:
                self._append(recorder, piece.encoded)
        finally:
            self._decisions.add(recorder, piece.batches)  # recorded or not, they have taken effect
        if any(sync for _, sync in piece.waiting):
            self._shelf.sync(recorder.writer)
            self._decisions.report(recorder)

    def _append(self, recorder: SessionRecorder, events: bytes) -> None:
        writer = recorder.writer
        first = not writer.size
        if not recorder.shelved:
            self._shelf.begin(writer.session_id)
            recorder.shelved = True
        data = writer.chunk(self._compressor.compress(events))
        self._shelf.append(writer, data)
        writer.written(data)
        recorder.touched_at = self._clock.monotonic()
        if first:
            recorder.segment_began_at = recorder.touched_at
            self._open.add(recorder)

    def _report(self, recorders: Sequence[SessionRecorder]) -> None:
        for recorder in recorders:
            try:
                self._decisions.report(recorder)
            except Exception as error:  # noqa: BLE001
                self._give_up(recorder, error)

    def _seal(self, recorder: SessionRecorder) -> None:
        self._shelf.seal(recorder.writer)
        self._open.discard(recorder)
        self._on_sealed(recorder.opened.session_id)

    def _finish(self, recorder: SessionRecorder, reason: str) -> None:
        if reason == _NEVER_OPENED:  # nobody was told of it, and nobody was let in
            self._open.discard(recorder)
            self._abandon(recorder)
            return
        self._seal(recorder)
        self._end(recorder, reason, recorder.writer.end(self._sign))

    def _end(self, recorder: SessionRecorder, reason: str, end: RecordingEnd) -> None:
        session = recorder.opened.session_id
        self._decisions.report(recorder)
        self._shelf.end(session, end)
        recorder.over = True
        self._open.discard(recorder)
        self._reports.closed(session, reason, recorder.operations, end.chain_hash if end.segments else b"")
        self._on_sealed(session)

    def _seal_what_rests(self) -> None:
        now = self._clock.monotonic()
        for recorder in [
            recorder
            for recorder in self._open
            if now - recorder.touched_at >= IDLE_SECONDS or now - recorder.segment_began_at >= AGE_SECONDS
        ]:
            try:
                self._seal(recorder)
            except Exception as error:  # noqa: BLE001
                self._give_up(recorder, error)

    def _give_up(self, recorder: SessionRecorder, error: Exception) -> None:
        """The session cannot be recorded: it ends, and so does its recording, as far as the disk lets it."""
        if recorder.over or any(recorder is one for one, _ in self._unfinished):
            return
        log.error("recording failed", session=recorder.opened.session_id, error=_reason(error))
        recorder.fail(_reason(error))
        if not self._end_incomplete(recorder):
            self._unfinished.append((recorder, self._clock.monotonic() + _RETRY_SECONDS))

    def _end_incomplete(self, recorder: SessionRecorder) -> bool:
        writer = recorder.writer
        if not writer.size and not writer.index:
            return self._abandon(recorder)
        try:
            self._shelf.seal(writer)
            self._end(recorder, "recording-failed", writer.end(sign=None))
        except Exception as error:  # noqa: BLE001  # the disk may still be full
            log.warning("recording not ended yet", session=recorder.opened.session_id, error=_reason(error))
            return False
        return True

    def _abandon(self, recorder: SessionRecorder) -> bool:
        """Nothing of it is worth keeping: the session never opened."""
        recorder.over = True
        if recorder.shelved:
            self._shelf.abandon(recorder.writer)
        return True

    def _retry(self) -> None:
        now = self._clock.monotonic()
        due = [item for item in self._unfinished if item[1] <= now]
        for item in due:
            self._unfinished.remove(item)
            if not item[0].over and not self._end_incomplete(item[0]):
                self._unfinished.append((item[0], now + _RETRY_SECONDS))


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text or type(error).__name__
