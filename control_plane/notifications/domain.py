"""When a delivery is tried again, when it is given up, and when nobody has been told. Pure."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final

import msgspec

OPENING: Final = "approval.pending"  # the notice that people must hear of, or nobody decides
UNDELIVERABLE: Final = "approval.undeliverable"

# An attempt is another replica's after this long: longer than a channel may take.
LEASE_MS: Final = 30_000
GIVE_UP_AFTER_MS: Final = 24 * 3600 * 1000
LONGEST_PAUSE_MS: Final = 300_000
_FIRST_PAUSE_MS: Final = 1_000
_TRIES_THAT_TELL: Final = 2  # one failure may be a hiccup; after two a reviewer should hear of it
_DOUBLINGS: Final = 20


class DeliveryState(enum.StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


def pause_ms(attempt: int, luck: float, at_least_ms: int = 0) -> int:
    """Before the next attempt: doubled each time, and spread by `luck` (0 to 1), so that channels that failed together
    do not come back together."""
    doubled = min(_FIRST_PAUSE_MS << min(attempt - 1, _DOUBLINGS), LONGEST_PAUSE_MS)
    return max(int(doubled * (0.5 + luck)), at_least_ms)


def is_too_old(written_at_ms: int, next_at_ms: int) -> bool:
    """Whether the next attempt would come after everybody has stopped waiting for it."""
    return next_at_ms - written_at_ms > GIVE_UP_AFTER_MS


class Try(msgspec.Struct, frozen=True):
    """How one channel fares with one notice."""

    state: DeliveryState
    failures: int


def nobody_told(tries: Sequence[Try]) -> bool:
    """Whether every channel that was to tell it has failed for good, or again and again. With none, nobody was to."""
    return bool(tries) and all(_has_failed(one) for one in tries)


def _has_failed(one: Try) -> bool:
    if one.state is DeliveryState.PENDING:
        return one.failures >= _TRIES_THAT_TELL
    return one.state is DeliveryState.FAILED
