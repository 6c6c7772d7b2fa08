"""Durations as documents write them: `90s`, `15m`, `1h30m`. Nothing else: no bare numbers, no signs, no fractions."""

from __future__ import annotations

import re

_PART = re.compile(r"(\d{1,9})(ms|s|m|h|d)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_SECONDS = 366 * 86400.0


class DurationError(ValueError):
    """`args[0]` says what is wrong and how a duration is written."""


def seconds(text: str) -> float:
    """The duration in seconds, more than zero and at most 366 days. Raises DurationError."""
    total, end = 0.0, 0
    for part in _PART.finditer(text):
        if part.start() != end:
            break
        total += int(part[1]) * _SECONDS[part[2]]
        end = part.end()
    if not text or end != len(text):
        raise DurationError(f"{text!r} is not a duration: write numbers with units, such as 90s, 15m or 1h30m")
    if not 0 < total <= _LONGEST_SECONDS:
        raise DurationError(f"{text!r} is out of range: a duration is more than zero and at most 366d")
    return total
