"""Events in, bytes of segments out. Pure: the spool writes them, and says what has been written.

Two steps for each piece: `opening`, `chunk` and `footer` give bytes and change nothing; `written` and `sealed`
tell that the bytes are in the file, so that a failed write leaves the chain as the file has it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, final

import msgspec
import zstandard

from data_plane.recording.format import MAGIC, NO_HASH, SIGNATURE_CONTEXT, Header, RecordingEnd, prefixed

SEALED, RECOVERED = 0, 1
LEVEL = -1  # of zstd: chunks are small, and with level 1 they take three times as long for a tenth less
_ARRAY_32 = b"\xdd"  # MessagePack: four bytes of count and the values follow
_encoder = msgspec.msgpack.Encoder()


@final
class Compressor:
    """One for each thread: zstd contexts are neither small nor shared."""

    def __init__(self, level: int = LEVEL) -> None:
        self._zstd = zstandard.ZstdCompressor(level=level, write_checksum=True)

    def pack(self, values: Sequence[Any]) -> bytes:
        """A zstd frame of a MessagePack array."""
        return self.compress(_encoder.encode(values))

    def compress(self, encoded: bytes | bytearray) -> bytes:
        """A zstd frame."""
        return self._zstd.compress(encoded)

    def pack_encoded(self, count: int, encoded: bytearray) -> bytes:
        """The same of so many values that are encoded already, one after another."""
        return self.compress(_ARRAY_32 + count.to_bytes(4, "big") + encoded)


@final
class RecordingWriter:
    """The chain of one session: which segment is open, how large it is, and the hash so far."""

    __slots__ = ("_hash", "index", "previous", "session_id", "size")

    def __init__(self, session_id: str, index: int = 0, previous: bytes = NO_HASH) -> None:
        self.session_id = session_id
        self.index = index
        self.previous = previous
        self.size = 0  # of the open segment; 0: none is open
        self._hash = hashlib.sha256()

    def opening(self) -> bytes:
        """What a new segment begins with."""
        return MAGIC + prefixed(_encoder.encode(Header(self.session_id, self.index, self.previous)))

    def chunk(self, packed: bytes) -> bytes:
        """Events, as a Compressor packs them, as the next bytes of the segment."""
        data = prefixed(packed)
        return data if self.size else self.opening() + data

    def written(self, data: bytes) -> None:
        self._hash.update(data)
        self.size += len(data)

    def footer(self, how: int = SEALED) -> bytes:
        """What closes the open segment."""
        closing = bytes(4) + bytes((how,))
        hashed = self._hash.copy()
        hashed.update(closing)
        return closing + hashed.digest()

    def sealed(self, footer: bytes) -> None:
        """The segment is closed; the next events open another."""
        self.previous = footer[5:]
        self.index += 1
        self.size = 0
        self._hash = hashlib.sha256()

    def end(self, sign: Callable[[bytes], bytes] | None) -> RecordingEnd:
        """The end of the chain as sealed so far. `sign` None: the recording is not complete."""
        signature = sign(SIGNATURE_CONTEXT + self.previous) if sign is not None else b""
        return RecordingEnd(self.index, self.previous, signature, complete=sign is not None)
