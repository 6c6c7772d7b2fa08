"""The messages of the extended protocol that have come in since the last Sync or Flush."""

from __future__ import annotations

from collections.abc import Sequence

from data_plane.protocols.postgres.core.ports import Limits


class Batch:
    """The messages of the extended protocol since the last Sync or Flush, bounded."""

    __slots__ = ("frames", "overflowed", "size")

    def __init__(self, frames: Sequence[bytes] = ()) -> None:
        self.frames = list(frames)
        self.size = sum(map(len, frames))
        self.overflowed = False

    def add(self, frame: bytes, limits: Limits) -> None:
        self.size += len(frame)
        if self.size > limits.batch_bytes or len(self.frames) >= limits.batch_messages:
            self.overflowed = True
            self.frames.clear()
        if not self.overflowed:
            self.frames.append(frame)
