"""Appends to the audit log in the transaction of what is reported: both are there, or neither.

The end of the chain is locked from the append to the commit, and a unit of work appends last, so replicas
take turns for moments only and can never fork the chain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from control_plane.audit import repository
from control_plane.audit.chain import TOO_LARGE, Entry, entry_hash
from control_plane.kit.clock import milliseconds
from control_plane.kit.unit_of_work import AuditEvent

_LONGEST_SUBJECT = 255


class ChainedTrail:
    """The AuditTrail of the unit of work."""

    async def append(self, session: AsyncSession, events: Sequence[AuditEvent], at: datetime) -> None:
        await repository.lock_end(session)
        sequence, previous = await repository.end(session)
        rows = []
        for event in events:
            sequence += 1
            entry = _entry(sequence, event, milliseconds(at))
            previous = entry_hash(previous, entry)
            rows.append(repository.row_of(entry, previous))
        await repository.append(session, rows)


def _entry(sequence: int, event: AuditEvent, at_ms: int) -> Entry:
    actor = {"id": event.actor.id, "name": _storable(event.actor.name), "kind": event.actor.kind}
    subject = _storable(event.subject)[:_LONGEST_SUBJECT]
    return Entry(sequence, at_ms, event.kind, actor, subject, _encodable(event.data), event.sealed)


def _encodable(value: Any) -> Any:
    """Half a surrogate pair, which UTF-8 cannot say, is written out as `\\ud800`, and a number that no column or
    canonical text holds as its digits; the rest stays as it is: agents tell numbers, and none may stop the log."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int) and abs(value) >= TOO_LARGE:
        return str(value)
    if isinstance(value, Mapping):
        return {_encodable(key): _encodable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(inner) for inner in value]
    return value


def _storable(text: str) -> str:
    """For columns: PostgreSQL takes no NUL."""
    return str(_encodable(text)).replace("\0", "\\x00")
