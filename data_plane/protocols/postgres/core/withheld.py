"""What a target answers, kept back from the client and from the recording until it is known what becomes of it."""

from __future__ import annotations

from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.framing import uint32_at


class Withheld:
    """Bounded: beyond `most` bytes everything is dropped, and `overflowed` says so."""

    __slots__ = ("_most", "_pieces", "_recorded", "_size", "overflowed")

    def __init__(self, most: int) -> None:
        self._most = most
        self._pieces: list[bytes] = []
        self._recorded: list[bytes] = []
        self._size = 0
        self.overflowed = False

    def keep(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._most:
            self.overflowed = True
            self.drop()
        if not self.overflowed:
            self._pieces.append(data)

    def record(self, number: int, data: bytes) -> None:
        """What the recording would have got."""
        del number
        if not self.overflowed:
            self._recorded.append(data)

    def drop(self) -> None:
        self._pieces, self._recorded = [], []

    def take(self, *, completed: bool = True) -> tuple[bytes, bytes]:
        """For the client and for the recording, both without the ReadyForQuery. Not `completed`: and without the
        CommandComplete before it."""
        parts = [_without(m.ReadyForQuery, b"".join(pieces)) for pieces in (self._pieces, self._recorded)]
        self.drop()
        if not completed:
            parts = [_without(m.CommandComplete, data) for data in parts]
        return parts[0], parts[1]


def _without(type_: int, data: bytes) -> bytes:
    """Whole messages, without the last of this type: what comes at any time may stand behind it."""
    at, last, end = 0, len(data), len(data)
    while at < len(data):
        stop = at + 1 + uint32_at(data, at + 1)
        if data[at] == type_:
            last, end = at, stop
        at = stop
    return data[:last] + data[end:]
