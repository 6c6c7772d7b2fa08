"""A recording as one download: a tar of its segments, and of the end that the agent signed. Pure.

With it and nothing else `data_plane.recording.reader` verifies the chain; the public key should come from
elsewhere, and is in it for convenience.
"""

from __future__ import annotations

import tarfile
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

_BLOCK: Final = 512


class EndFile(msgspec.Struct, frozen=True):
    """`end.json`; bytes are base64. `complete` False: nothing is signed."""

    session_id: str
    status: str
    problem: str
    segments: int
    chain_hash: bytes
    signature: bytes
    complete: bool
    public_keys: Sequence[str]


async def archived(segments: AsyncIterator[bytes], end: EndFile, at_seconds: int) -> AsyncIterator[bytes]:
    number = 0
    async for data in segments:
        yield member(f"{end.session_id}/{number:08d}.segment", data, at_seconds)
        number += 1
    yield member(f"{end.session_id}/end.json", msgspec.json.encode(end), at_seconds)
    yield bytes(2 * _BLOCK)


def member(name: str, data: bytes, at_seconds: int) -> bytes:
    """One file of a tar (POSIX.1-1988 ustar)."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(data), at_seconds, 0o644
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % _BLOCK)
