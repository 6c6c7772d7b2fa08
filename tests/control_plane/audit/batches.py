"""Batches of decisions as an agent seals them."""

from __future__ import annotations

import msgspec
import zstandard

from control_plane.kit.unit_of_work import SYSTEM, AuditEvent

AT_MS = 1_772_366_400_000


def sealed(*entries: object) -> bytes:
    return zstandard.compress(msgspec.msgpack.encode(entries))


def batch(count: int, action: str = "read") -> AuditEvent:
    """Operations 1 to `count`, all allowed."""
    entries = [(number, AT_MS, "allow", action, ["p/r"], "") for number in range(1, count + 1)]
    told = {"first_operation": 1, "last_operation": count, "count": count, "allowed": count, "held": 0, "denied": 0}
    return AuditEvent("operation.decided", SYSTEM, "ses_1", told, sealed(*entries))
