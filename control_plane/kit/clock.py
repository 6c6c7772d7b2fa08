"""The clock port: the only place of the control plane that asks the machine for the time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """The present instant, aware, in UTC."""


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


def milliseconds(instant: datetime) -> int:
    """Unix time in milliseconds, without the rounding of floats."""
    since = instant - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def from_milliseconds(unix: int) -> datetime:
    return datetime.fromtimestamp(unix // 1000, UTC).replace(microsecond=unix % 1000 * 1000)
