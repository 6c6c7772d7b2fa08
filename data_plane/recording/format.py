"""The bytes of a recording: segments, each naming the hash of the one before, and the end that is signed.

A segment:

    magic    8 bytes   ASSNREC1
    header   u32 length, MessagePack [session, index from 0, hash of the segment before (32 zero bytes: none)]
    chunk*   u32 length (never 0), one zstd frame with checksum: a MessagePack array of events
    end      u32 0, u8 how (0 sealed, 1 recovered after a crash), SHA-256 of everything before

All integers are big-endian. The chain hash is the hash of the last segment; the end signs it.
"""

from __future__ import annotations

import msgspec

MAGIC = b"ASSNREC1"
NO_HASH = bytes(32)
HASH_BYTES = 32
FOOTER_BYTES = 4 + 1 + HASH_BYTES
SIGNATURE_CONTEXT = b"assentry-recording-v1\0"
LARGEST_CHUNK_BYTES = 1 << 30  # decompressed; a single statement may have 256 MiB


class Header(msgspec.Struct, frozen=True, array_like=True):
    session_id: str
    index: int
    previous: bytes


class RecordingEnd(msgspec.Struct, frozen=True, array_like=True):
    """`complete`: the agent saw the session's end. After a crash it is not, and nothing is signed."""

    segments: int
    chain_hash: bytes
    signature: bytes
    complete: bool


def length(data: bytes | memoryview, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")


def prefixed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data
