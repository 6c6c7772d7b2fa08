"""Rows of access windows, read with the state of their requests."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from control_plane.access.tables import AccessWindowRow
from control_plane.approvals.service import in_force


async def lent(session: AsyncSession, now_ms: int, identity_id: str = "") -> list[tuple[str, str]]:
    """Identity and group of every window that is open, or of one identity's."""
    row = AccessWindowRow
    statement = select(row.identity_id, row.group_name).where(col(row.approval_id).in_(in_force(now_ms)))
    if identity_id:
        statement = statement.where(col(row.identity_id) == identity_id)
    order = (col(row.identity_id), col(row.group_name))
    return list((await session.exec(statement.distinct().order_by(*order))).all())


async def of(session: AsyncSession, approval_ids: Sequence[str]) -> dict[str, AccessWindowRow]:
    statement = select(AccessWindowRow).where(col(AccessWindowRow.approval_id).in_(approval_ids))
    return {row.approval_id: row for row in (await session.exec(statement)).all()}
