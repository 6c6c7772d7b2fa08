"""Reads a recorded Bind message (protocol 3.0, section 55.7) as the parameters that it gave. Pure.

An agent records what it need not show to anybody as it came; the message was well-formed when it was sent. What does
not make sense all the same is one parameter that holds the bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import msgspec

from control_plane.recordings.postgres_values import as_bytes, read_value, type_name

_HEADER: Final = 5
_COUNT: Final = struct.Struct(">H").unpack_from
_LENGTH: Final = struct.Struct(">i").unpack_from


class Bound(msgspec.Struct, frozen=True):
    name: str
    type: str
    value: str  # empty for NULL, as everywhere in recorded parameters


def read_bind(message: bytes, types: Sequence[int]) -> list[Bound]:
    """As many `types` as are known; 0: not known."""
    try:
        return _read(message, types)
    except (struct.error, ValueError):
        return [Bound("bind", "unreadable", as_bytes(message))]


def _read(message: bytes, types: Sequence[int]) -> list[Bound]:
    at = message.index(0, message.index(0, _HEADER) + 1) + 1
    (count,) = _COUNT(message, at)
    formats = struct.unpack_from(f">{count}H", message, at + 2)
    at += 2 + 2 * count
    (values,) = _COUNT(message, at)
    at += 2
    found = []
    for place in range(values):
        (size,) = _LENGTH(message, at)
        at += 4
        type_ = types[place] if place < len(types) else 0
        binary = bool((formats[place] if count > 1 else formats[0]) if count else 0)
        value = "" if size < 0 else read_value(type_, _piece(message, at, size), binary=binary)
        found.append(Bound(f"${place + 1}", type_name(type_) if type_ else "unknown", value))
        at += max(size, 0)
    return found


def _piece(message: bytes, at: int, size: int) -> bytes:
    if at + size > len(message):
        raise ValueError("a value that is longer than its message")
    return message[at : at + size]
