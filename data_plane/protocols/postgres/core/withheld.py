"""What a target answers, kept back from the client and from the recording until it is known what becomes of it."""

from __future__ import annotations

from typing import Final

from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.framing import HEADER, uint32_at

_READY_LENGTH: Final = 6


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
        """For the client and for the recording, both without the ReadyForQuery at the end. Not `completed`: and without
        the CommandComplete before it."""
        parts = [_without_ready(b"".join(pieces)) for pieces in (self._pieces, self._recorded)]
        self.drop()
        if not completed:
            parts = [_without_completion(data) for data in parts]
        return parts[0], parts[1]


def _without_ready(data: bytes) -> bytes:
    """Whole messages; a ReadyForQuery is the only one of its length and type at their end."""
    ends = len(data) >= _READY_LENGTH and data[-_READY_LENGTH] == m.ReadyForQuery
    return data[:-_READY_LENGTH] if ends else data


def _without_completion(data: bytes) -> bytes:
    at = last = 0
    while at < len(data):
        last, at = at, at + 1 + uint32_at(data, at + 1)
    return data[:last] if len(data) >= HEADER and data[last] == m.CommandComplete else data
