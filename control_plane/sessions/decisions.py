"""Opens a batch of decisions as an agent packed it: zstd over MessagePack, one entry for each decision. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec
import zstandard

from control_plane.kit.unit_of_work import Json

_LARGEST_BYTES: Final = 64 << 20  # decompressed


class Entry(msgspec.Struct, frozen=True, array_like=True):
    operation: int
    at_ms: int
    effect: str  # allow, hold, deny
    action: str
    rules: tuple[str, ...]  # policy/rule
    code: str = ""

    def audited(self) -> dict[str, Json]:
        return msgspec.structs.asdict(self)


class UnreadableError(ValueError):
    """The batch is not what an agent writes; `args[0]` says how."""


def opened(entries: bytes) -> list[Entry]:
    try:
        if zstandard.frame_content_size(entries) > _LARGEST_BYTES:
            raise UnreadableError("the batch is too large")
        packed = zstandard.ZstdDecompressor().decompress(entries, max_output_size=_LARGEST_BYTES)
        return msgspec.msgpack.decode(packed, type=list[Entry])
    except (zstandard.ZstdError, msgspec.DecodeError) as error:
        raise UnreadableError(str(error)) from error


def counts(entries: Sequence[Entry]) -> Counter[str]:
    return Counter(entry.effect for entry in entries)
