"""Rows of access windows, read with the state of their requests."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from control_plane.access.tables import AccessWindowRow
from control_plane.approvals.service import in_force

_LENT = (
    select(AccessWindowRow.identity_id, AccessWindowRow.group_name)
    .where(col(AccessWindowRow.approval_id).in_(in_force(bindparam("now_ms"))))
    .distinct()
    .order_by(col(AccessWindowRow.identity_id), col(AccessWindowRow.group_name))
)
_LENT_TO = _LENT.where(col(AccessWindowRow.identity_id) == bindparam("identity_id"))


async def lent(session: AsyncSession, now_ms: int, identity_id: str = "") -> list[tuple[str, str]]:
    """Identity and group of every window that is open, or of one identity's."""
    if identity_id:
        told = {"now_ms": now_ms, "identity_id": identity_id}
        return list((await session.exec(_LENT_TO, params=told)).all())
    return list((await session.exec(_LENT, params={"now_ms": now_ms})).all())


async def of(session: AsyncSession, approval_ids: Sequence[str]) -> dict[str, AccessWindowRow]:
    statement = select(AccessWindowRow).where(col(AccessWindowRow.approval_id).in_(approval_ids))
    return {row.approval_id: row for row in (await session.exec(statement)).all()}
