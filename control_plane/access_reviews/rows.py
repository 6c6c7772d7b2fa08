"""Rows of campaigns, read and locked."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from control_plane.access_reviews.domain import Campaign, State
from control_plane.access_reviews.tables import AccessReviewItemRow, AccessReviewRow


async def one(session: AsyncSession, review_id: str) -> AccessReviewRow | None:
    return await session.get(AccessReviewRow, review_id)


async def locked(session: AsyncSession, review_id: str) -> AccessReviewRow | None:
    return await session.get(AccessReviewRow, review_id, with_for_update=True, populate_existing=True)


async def locked_item(session: AsyncSession, review_id: str, number: int) -> AccessReviewItemRow | None:
    return await session.get(AccessReviewItemRow, (review_id, number), with_for_update=True, populate_existing=True)


async def items(session: AsyncSession, review_id: str) -> list[AccessReviewItemRow]:
    """In the order of their numbers."""
    statement = select(AccessReviewItemRow).where(col(AccessReviewItemRow.review_id) == review_id)
    return list((await session.exec(statement.order_by(col(AccessReviewItemRow.number)))).all())


async def unanswered(session: AsyncSession, review_id: str) -> int:
    row = AccessReviewItemRow
    asked = col(row.review_id) == review_id, col(row.state) == State.ASKED
    return (await session.exec(select(func.count()).select_from(row).where(*asked))).one()


async def newest(session: AsyncSession, after: str | None, limit: int) -> list[AccessReviewRow]:
    """`after`: the id of the last one that was seen."""
    row = AccessReviewRow
    opened, key = col(row.opened_at), col(row.id)
    statement = select(row).order_by(opened.desc(), key.desc()).limit(limit)
    if after is not None and (last := await session.get(row, after)) is not None:
        statement = statement.where((opened < last.opened_at) | ((opened == last.opened_at) & (key < last.id)))
    return list((await session.exec(statement)).all())


async def due(session: AsyncSession, now: datetime) -> list[str]:
    row = AccessReviewRow
    over = col(row.state) == Campaign.OPEN, col(row.deadline_at) <= now
    return list((await session.exec(select(row.id).where(*over).order_by(col(row.deadline_at)))).all())


async def next_deadline(session: AsyncSession) -> datetime | None:
    row = AccessReviewRow
    statement = select(row.deadline_at).where(col(row.state) == Campaign.OPEN).order_by(col(row.deadline_at)).limit(1)
    return (await session.exec(statement)).first()
