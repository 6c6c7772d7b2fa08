"""Frames and fields of the PostgreSQL wire format, without knowing any message. Pure.

Follows "Message Formats" (chapter 55.7). A *frame* is one whole message with its type byte and length; a *payload* is
what follows the length. It refuses types without a cap, lengths outside the cap of their type, and payloads that are
not exactly used up.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mypy_extensions import i64  # an int; one of the machine's own where this is compiled


class ProtocolError(Exception):
    """Never raised itself: one of the two leaves says who erred."""


class LocalProtocolError(ProtocolError):
    """We were about to send something that the protocol does not allow: a bug on our side."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something that the protocol does not allow. `sqlstate` fits an ErrorResponse."""

    def __init__(self, message: str, sqlstate: str = "08P01") -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


HEADER: Final = 5

Caps = Sequence[int]
"""By message type: the largest allowed length field; 0 refuses the type."""

_length_at = struct.Struct("!xI").unpack_from


def frame_length(buffer: bytes | bytearray | memoryview, offset: int, caps: Caps) -> int:
    """The length of the frame at `offset` with its type byte; 0 when fewer than five bytes are there.

    Raises RemoteProtocolError as soon as the header is wrong, without waiting for the rest."""
    if len(buffer) - offset < HEADER:
        return 0
    (length,) = _length_at(buffer, offset)
    cap = caps[buffer[offset]]
    if 4 <= length <= cap:
        return int(length) + 1
    if not cap:
        raise RemoteProtocolError(f"message type 0x{buffer[offset]:02x} is not allowed here")
    raise RemoteProtocolError(f"length {length} of message type {chr(buffer[offset])} is outside 4 to {cap}")


def uint32_at(data: bytes, at: i64) -> i64:
    """Without the tuple that `struct` makes: quick when compiled. Raises IndexError."""
    value: i64 = data[at]
    value = value << 8 | data[at + 1]
    value = value << 8 | data[at + 2]
    return value << 8 | data[at + 3]


class FrameReader:
    """Cuts one peer's byte stream into frames. Holds at most one incomplete frame."""

    __slots__ = ("_rest", "caps")

    def __init__(self, caps: Caps) -> None:
        self.caps = caps
        self._rest = bytearray()

    @property
    def buffered(self) -> int:
        return len(self._rest)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Whole frames, in order; frame[0] is the type. Must be run to its end before the next call.

        A malformed header raises RemoteProtocolError after the frames before it were given out."""
        caps, rest = self.caps, self._rest
        if rest:
            rest += data
            length = frame_length(rest, 0, caps)
            if not length or length > len(rest):
                return
            data = bytes(rest[length:])
            del rest[length:]
            frame = bytes(rest)
            rest.clear()
            yield frame
        start, size = 0, len(data)
        while (length := frame_length(data, start, caps)) and start + length <= size:
            yield data[start : start + length]
            start += length
        if start < size:
            rest += data[start:]


# ------------------------------------------------------------------ reading a payload


class Fields:
    """A cursor over one payload; anything missing or left over is the peer's error."""

    __slots__ = ("_at", "_payload")

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._at = 0

    def take(self, size: int) -> bytes:
        end = self._at + size
        if size < 0 or end > len(self._payload):
            raise RemoteProtocolError("message ends before its last field")
        taken = self._payload[self._at : end]
        self._at = end
        return taken

    def int16(self) -> int:
        return int.from_bytes(self.take(2), "big", signed=True)

    def uint16(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def int32(self) -> int:
        return int.from_bytes(self.take(4), "big", signed=True)

    def uint32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def raw_string(self) -> bytes:
        end = self._payload.find(0, self._at)
        if end < 0:
            raise RemoteProtocolError("string without its terminator")
        taken = self._payload[self._at : end]
        self._at = end + 1
        return taken

    def string(self) -> str:
        """Bytes that are not UTF-8 survive a round trip (surrogateescape)."""
        return self.raw_string().decode("utf-8", "surrogateescape")

    def value(self) -> bytes | None:
        """A length-prefixed value; length -1 is NULL."""
        size = self.int32()
        return None if size == -1 else self.take(size)

    def rest(self) -> bytes:
        return self.take(len(self._payload) - self._at)

    def end(self) -> None:
        if self._at != len(self._payload):
            raise RemoteProtocolError(f"{len(self._payload) - self._at} bytes after the last field")


# ------------------------------------------------------------------ writing


def encode(type_: int, payload: bytes = b"") -> bytes:
    return struct.pack("!BI", type_, len(payload) + 4) + payload


def cstring(text: str | bytes) -> bytes:
    raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    if 0 in raw:
        raise LocalProtocolError("a string in a message cannot hold a zero byte")
    return raw + b"\0"


def int16s(values: Sequence[int]) -> bytes:
    return struct.pack(f"!H{len(values)}h", len(values), *values)


def length_prefixed(value: bytes | None) -> bytes:
    return b"\xff\xff\xff\xff" if value is None else struct.pack("!i", len(value)) + value
