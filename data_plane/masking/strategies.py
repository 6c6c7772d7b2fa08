"""What a value becomes. A replacement is a constant, a function of the value, or None for NULL.

Constants are told apart from functions so that a column that always becomes the same is rewritten without a call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from data_plane.masking import marks
from data_plane.masking.marks import Marks
from data_plane.policy.model import Strategy

Replacement = bytes | Callable[[bytes], bytes | None] | None

_STRENGTH: Final[dict[Strategy, int]] = {"partial": 0, "hash": 1, "redact": 2, "null": 3}


def of_text(strategy: Strategy, keyed: Marks) -> Replacement:
    """The replacement of a text by `strategy`."""
    if strategy == "null":
        return None
    if strategy == "hash":
        return keyed.hashed
    return marks.partial if strategy == "partial" else marks.MARK


def apply(replacement: Replacement, value: bytes) -> bytes | None:
    return replacement(value) if callable(replacement) else replacement


def strongest(strategies: Iterable[Strategy]) -> Strategy:
    """Of several strategies for one value: the one that tells least."""
    return max(strategies, key=_STRENGTH.__getitem__, default="redact")


def of_derived(strategies: Iterable[Strategy]) -> Strategy:
    """For a value that was computed from protected ones: never partial or hash, which together with `substr`,
    `reverse` or `case` would give the value away piece by piece."""
    return "null" if strongest(strategies) == "null" else "redact"
