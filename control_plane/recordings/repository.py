"""Rows of recordings and segments, read and written. Knows no rule."""

from __future__ import annotations

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from control_plane.recordings.domain import Place
from control_plane.recordings.tables import RecordingRow, SegmentRow


async def locked(session: AsyncSession, session_id: str) -> RecordingRow | None:
    return await session.get(RecordingRow, session_id, with_for_update=True, populate_existing=True)


async def one(session: AsyncSession, session_id: str) -> RecordingRow | None:
    return await session.get(RecordingRow, session_id)


async def segment(session: AsyncSession, session_id: str, number: int) -> SegmentRow | None:
    return await session.get(SegmentRow, (session_id, number))


async def segments(session: AsyncSession, session_id: str) -> list[SegmentRow]:
    statement = select(SegmentRow).where(col(SegmentRow.session_id) == session_id).order_by(col(SegmentRow.number))
    return list((await session.exec(statement)).all())


def place_of(row: RecordingRow) -> Place:
    return Place(row.session_id, row.next_segment, row.chain_hash, row.recovered)
