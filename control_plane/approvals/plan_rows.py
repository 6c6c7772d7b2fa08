"""Rows of plans: which are approved, and which of their statements are used."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from control_plane.approvals.domain import State
from control_plane.approvals.kinds import Kind
from control_plane.approvals.tables import ApprovalRow, PlanUseRow


async def approved(session: AsyncSession, requester_id: str, target: str) -> Sequence[str]:
    """Ids, oldest first: whoever locks several locks them in this order."""
    statement = (
        select(ApprovalRow.id)
        .where(
            col(ApprovalRow.requester_id) == requester_id,
            col(ApprovalRow.state) == State.APPROVED,
            col(ApprovalRow.kind) == Kind.PLAN,
            col(ApprovalRow.target) == target,
        )
        .order_by(col(ApprovalRow.requested_at_ms), col(ApprovalRow.id))
    )
    return (await session.exec(statement)).all()


async def used(session: AsyncSession, plan_id: str) -> dict[int, PlanUseRow]:
    """By number."""
    found = await session.exec(select(PlanUseRow).where(col(PlanUseRow.plan_id) == plan_id))
    return {row.number: row for row in found.all()}


async def states(session: AsyncSession, approval_ids: Sequence[str]) -> dict[str, str]:
    """Of the operations that used statements."""
    rows = await session.exec(select(ApprovalRow.id, ApprovalRow.state).where(col(ApprovalRow.id).in_(approval_ids)))
    return dict(rows.all())
