"""When an account is to be rotated again. Pure."""

from __future__ import annotations

import enum
from datetime import datetime, timedelta
from typing import Final

import msgspec

_FIRST_RETRY: Final = timedelta(minutes=5)
_LONGEST_RETRY: Final = timedelta(hours=12)
_RETRIES_OF_A_DEMAND: Final = 5  # without a cadence somebody must look into it after so many failures


class State(enum.StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"  # what was in force is, or the new one; the agent goes on from there when it is asked again


class Cause(enum.StrEnum):
    CADENCE = "cadence"
    DEMAND = "demand"
    RETRY = "retry"


class Past(msgspec.Struct, frozen=True):
    """What is known of a target's rotations. None: there was none."""

    running: bool = False
    ended_at: datetime | None = None  # of the last one, whatever became of it
    done_at: datetime | None = None  # of the last one that is done
    failures: int = 0  # since then


def due_at(past: Past, every: timedelta | None, now: datetime) -> datetime | None:
    """None: not by itself. An account that was never rotated is of unknown age, and due."""
    if past.running:
        return None
    if past.failures and past.ended_at is not None:
        if every is None and past.failures >= _RETRIES_OF_A_DEMAND:
            return None
        return past.ended_at + min(_FIRST_RETRY * (1 << min(past.failures - 1, 16)), _LONGEST_RETRY)
    if every is None:
        return None
    return now if past.done_at is None else past.done_at + every
