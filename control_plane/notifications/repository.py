"""Notices and deliveries, read and written. Whoever takes rows to work on locks them, and skips those of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, bindparam, func, update
from sqlalchemy.orm import aliased
from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from control_plane.kit.outbox import NoticeRow
from control_plane.notifications.domain import OPENING, DeliveryState, Try
from control_plane.notifications.tables import CallRow, DeliveryRow, ReferenceRow

_OPENINGS = select(DeliveryRow.key, DeliveryRow.state, DeliveryRow.failures).where(
    col(DeliveryRow.key).in_(bindparam("keys", expanding=True)), col(DeliveryRow.kind) == OPENING
)
_REFERENCES = (
    select(ReferenceRow)
    .where(col(ReferenceRow.key).in_(bindparam("keys", expanding=True)))
    .order_by(col(ReferenceRow.channel))
)


class Filter(msgspec.Struct, frozen=True):
    """Empty fields match everything."""

    channel: str = ""
    state: str = ""
    key: str = ""
    kind: str = ""


# ------------------------------------------------------------------ notices


async def not_fanned_out(session: AsyncSession, limit: int) -> Sequence[NoticeRow]:
    statement = select(NoticeRow).where(~col(NoticeRow.fanned_out)).order_by(col(NoticeRow.id)).limit(limit)
    return (await session.exec(statement)).all()


async def notice(session: AsyncSession, notice_id: int) -> NoticeRow | None:
    return await session.get(NoticeRow, notice_id)


async def locked_notice(session: AsyncSession, notice_id: int) -> NoticeRow | None:
    return await session.get(NoticeRow, notice_id, with_for_update=True, populate_existing=True)


async def has_notice(session: AsyncSession, kind: str, key: str) -> bool:
    statement = select(NoticeRow.id).where(col(NoticeRow.kind) == kind, col(NoticeRow.key) == key).limit(1)
    return (await session.exec(statement)).first() is not None


async def pass_over_notices(session: AsyncSession) -> None:
    """What nobody has fanned out is nobody's any more."""
    await session.exec(update(NoticeRow).where(~col(NoticeRow.fanned_out)).values(fanned_out=True))


async def forget_unsent_before(session: AsyncSession, at_ms: int) -> None:
    await session.exec(delete(NoticeRow).where(col(NoticeRow.at_ms) < at_ms, ~col(NoticeRow.fanned_out)))


async def forget_before(session: AsyncSession, at_ms: int) -> None:
    """Old notices with their deliveries, and what channels made for them."""
    await session.exec(delete(NoticeRow).where(col(NoticeRow.at_ms) < at_ms))
    await session.exec(delete(ReferenceRow).where(col(ReferenceRow.at_ms) < at_ms))


# ------------------------------------------------------------------ deliveries


async def locked(session: AsyncSession, delivery_id: str) -> DeliveryRow | None:
    return await session.get(DeliveryRow, delivery_id, with_for_update=True, populate_existing=True)


async def claim(session: AsyncSession, channel: str, now_ms: int, until_ms: int, limit: int) -> list[DeliveryRow]:
    """The due heads of the channel, one of each key at most, this caller's until `until_ms`."""
    due = col(DeliveryRow.next_at_ms) <= now_ms
    statement = select(DeliveryRow).where(_is_head(channel), due).order_by(col(DeliveryRow.notice_id)).limit(limit)
    rows = list((await session.exec(statement.with_for_update(skip_locked=True, of=DeliveryRow))).all())
    for row in rows:
        row.attempts += 1
        row.next_at_ms = until_ms
        session.add(row)
    return rows


async def next_due(session: AsyncSession, channel: str) -> int | None:
    """When the next head of the channel may be tried. None: nothing waits."""
    statement = select(func.min(DeliveryRow.next_at_ms)).where(_is_head(channel))
    due: int | None = (await session.exec(statement)).one()
    return due


def _is_head(channel: str) -> ColumnElement[bool]:
    """Pending, and nothing before it of the same key is."""
    earlier = aliased(DeliveryRow)
    before = (
        select(earlier.id)
        .where(
            col(earlier.channel) == channel,
            col(earlier.key) == col(DeliveryRow.key),
            col(earlier.state) == DeliveryState.PENDING,
            col(earlier.notice_id) < col(DeliveryRow.notice_id),
        )
        .exists()
    )
    pending = col(DeliveryRow.state) == DeliveryState.PENDING
    return (col(DeliveryRow.channel) == channel) & pending & ~before


async def strand(session: AsyncSession, channels: Sequence[str], now_ms: int, error: str) -> bool:
    """Fails what waits for channels that are not among these. Whether there was any."""
    statement = update(DeliveryRow).where(
        col(DeliveryRow.state) == DeliveryState.PENDING, col(DeliveryRow.channel).not_in(channels)
    )
    done = await session.exec(statement.values(state=DeliveryState.FAILED, error=error, done_at_ms=now_ms))
    return bool(done.rowcount)


async def release(session: AsyncSession, now_ms: int) -> None:
    """Whatever is pending may be tried at once."""
    pending = col(DeliveryRow.state) == DeliveryState.PENDING
    await session.exec(update(DeliveryRow).where(pending).values(next_at_ms=now_ms))


async def listed(
    session: AsyncSession, wanted: Filter, after: tuple[int, str] | None, limit: int
) -> Sequence[DeliveryRow]:
    """Newest first."""
    order = (col(DeliveryRow.notice_id).desc(), col(DeliveryRow.id).desc())
    statement = select(DeliveryRow).order_by(*order).limit(limit)
    for name, value in msgspec.structs.asdict(wanted).items():
        if value:
            statement = statement.where(col(getattr(DeliveryRow, name)) == value)
    if after is not None:
        notice_id, last = after
        same = (col(DeliveryRow.notice_id) == notice_id) & (col(DeliveryRow.id) < last)
        statement = statement.where((col(DeliveryRow.notice_id) < notice_id) | same)
    return (await session.exec(statement)).all()


async def openings(session: AsyncSession, keys: Sequence[str]) -> dict[str, list[Try]]:
    """How telling of a new request goes, by its id; requests that no channel is to tell of are left out."""
    tries: dict[str, list[Try]] = {}
    for key, state, failures in (await session.exec(_OPENINGS, params={"keys": list(keys)})).all():
        tries.setdefault(key, []).append(Try(DeliveryState(state), failures))
    return tries


# ------------------------------------------------------------------ references and callbacks


async def reference(session: AsyncSession, channel: str, key: str) -> ReferenceRow | None:
    return await session.get(ReferenceRow, (channel, key))


async def references(session: AsyncSession, keys: Sequence[str]) -> Sequence[ReferenceRow]:
    """In order of channels."""
    return (await session.exec(_REFERENCES, params={"keys": list(keys)})).all()


async def is_taken(session: AsyncSession, channel: str, call_id: str) -> bool:
    return await session.get(CallRow, (channel, call_id)) is not None


async def forget_calls_before(session: AsyncSession, at_ms: int) -> None:
    await session.exec(delete(CallRow).where(col(CallRow.at_ms) < at_ms))


def detached(row: Any) -> dict[str, Any]:
    """For logs: a row without its database."""
    return {"delivery": row.id, "channel": row.channel, "kind": row.kind, "key": row.key, "attempt": row.attempts}
