"""Whether the bytes of a held PostgreSQL unit run its text once, and nothing besides. Pure.

The text of an extended batch names each statement once, however often it is bound; so the text alone does not say how
often something runs (PROTOCOL: "Message Flow", Simple Query and Extended Query).
"""

from __future__ import annotations

from typing import Final

_TYPE_AND_LENGTH: Final = 5
_OF_A_BATCH: Final = frozenset(b"PBDEHSC")  # Parse, Bind, Describe, Execute, Flush, Sync, Close


def runs_once(raw: bytes, text: str) -> bool:
    """One Query of exactly this text; or one batch that binds once and executes once."""
    frames = _frames(raw)
    types = bytes(kind for kind, _ in frames)
    if types == b"Q":
        return frames[0][1] == text.encode() + b"\0"
    return set(types) <= _OF_A_BATCH and types.count(b"B") == types.count(b"E") == 1


def _frames(raw: bytes) -> list[tuple[int, bytes]]:
    """Type and payload of each; none when they are not whole."""
    found, at = [], 0
    while at + _TYPE_AND_LENGTH <= len(raw):
        end = at + 1 + int.from_bytes(raw[at + 1 : at + _TYPE_AND_LENGTH])
        if end < at + _TYPE_AND_LENGTH or end > len(raw):
            return []
        found.append((raw[at], raw[at + _TYPE_AND_LENGTH : end]))
        at = end
    return found if at == len(raw) else []
