"""How long this agent may serve without hearing from the control plane. Implements `gate.ports.Lease`.

Counted from when the renewal was *asked for*, so that it never ends later here than the control plane believes. Runs
on the monotonic clock: a jump of the wall clock changes nothing. Kept on disk as a wall-clock instant, so that a
restart neither prolongs it nor ends it; after a clock that jumped back a restart gets one whole lease at most. When
the disk refuses, the lease in memory counts, and a restart finds what was written before: less, never more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import structlog

from data_plane.gate.ports import Clock
from data_plane.link.files import write_atomically

log = structlog.get_logger(__name__)


class _Kept(msgspec.Struct, frozen=True):
    until: float  # Unix time
    seconds: float


class Lease:
    def __init__(self, file: Path, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._monotonic = clock.monotonic
        self._until = clock.monotonic() + self._left_on_disk()
        self._failure = ""  # of the disk

    @property
    def valid(self) -> bool:
        return self._monotonic() < self._until

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._until - self._clock.monotonic())

    def renewed(self, asked_at: float, seconds: float) -> None:
        """`asked_at` on the monotonic clock. An old answer that comes late never shortens the lease."""
        self._until = max(self._until, asked_at + seconds)
        kept = _Kept(until=self._clock.now() + self.seconds_left, seconds=seconds)
        with self._telling():
            write_atomically(self._file, msgspec.json.encode(kept), durable=False)

    def end(self) -> None:
        """The control plane refuses this agent."""
        self._until = self._clock.monotonic()
        with self._telling():
            self._file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """An error of the disk goes to the log, once; what is said here counts without the disk."""
        before, self._failure = self._failure, ""
        try:
            yield
        except OSError as error:
            self._failure = error.strerror or str(error)  # not the name of the file: it is another each time
        if self._failure and self._failure != before:
            log.error("the lease's file cannot be changed; free space or repair the disk", error=self._failure)
        elif before and not self._failure:
            log.info("the lease's file can be changed again")

    def _left_on_disk(self) -> float:
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
            kept = msgspec.json.decode(self._file.read_bytes(), type=_Kept)
            return max(0.0, min(kept.seconds, kept.until - self._clock.now()))
        return 0.0
