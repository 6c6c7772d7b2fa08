"""Messages of the client that wait, unjudged, behind a unit that waits. Bounded: first the client is paused."""

from __future__ import annotations

from collections import deque

from data_plane.protocols.postgres.core.ports import Limits, Output
from data_plane.protocols.postgres.framing import RemoteProtocolError
from data_plane.protocols.postgres.messages import Terminate


class Backlog:
    __slots__ = ("_frames", "_limits", "_output", "_paused", "_size", "says_goodbye")

    def __init__(self, limits: Limits, output: Output) -> None:
        self._limits = limits
        self._output = output
        self._frames: deque[bytes] = deque()
        self._size = 0
        self._paused = False
        self.says_goodbye = False  # Terminate is among them

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, frame: bytes) -> None:
        """Raises RemoteProtocolError when a client that was paused goes on without end."""
        self._frames.append(frame)
        self.says_goodbye = self.says_goodbye or frame[0] == Terminate
        self._size += len(frame)
        if self._size > self._limits.backlog_bytes:
            if self._size > self._limits.backlog_bytes + 2 * self._limits.batch_bytes:
                raise RemoteProtocolError("too much was sent while a statement waits", "54000")
            if not self._paused:
                self._paused = True
                self._output.pause_client()

    def put_back(self, frame: bytes) -> None:
        """It could not be taken yet: it stays the first."""
        self._frames.appendleft(frame)
        self._size += len(frame)

    def take(self) -> bytes:
        frame = self._frames.popleft()
        self._size -= len(frame)
        if self._paused and self._size <= self._limits.backlog_bytes // 2:
            self._paused = False
            self._output.resume_client()
        return frame

    def clear(self) -> None:
        self._frames.clear()
        self._size = 0
