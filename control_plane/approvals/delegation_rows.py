"""Rows of delegations: which hold now, what they cover, which were taken back."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import BindParameter, ColumnElement, bindparam
from sqlmodel import col, func, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from control_plane.approvals.domain import StandIn
from control_plane.approvals.tables import ApprovalRow, DelegationRow, VoteRow

_AT_ONCE = 500


def _holds(now_ms: int | BindParameter[int]) -> ColumnElement[bool]:
    return (col(DelegationRow.until_ms) > now_ms) & col(DelegationRow.revoked_at_ms).is_(None)


_HOLDING = (
    select(DelegationRow)
    .where(_holds(bindparam("now_ms")))
    .order_by(col(DelegationRow.created_at_ms), col(DelegationRow.id))
)


async def holding(session: AsyncSession, now_ms: int) -> Sequence[DelegationRow]:
    """All that hold now, the oldest first."""
    return (await session.exec(_HOLDING, params={"now_ms": now_ms})).all()


def covers(row: DelegationRow, chain: str, environment: str) -> bool:
    return (not row.chains or chain in row.chains) and (not row.environments or environment in row.environments)


def stand_in(row: DelegationRow) -> StandIn:
    return StandIn(row.id, row.delegator_id, row.delegate_id)


async def revoked(session: AsyncSession, ids: Collection[str]) -> frozenset[str]:
    """Of these, those that were taken back. One that came to its end is not: what was agreed under it stands."""
    wanted = sorted(set(ids) - {""})
    found: set[str] = set()
    for start in range(0, len(wanted), _AT_ONCE):
        some = col(DelegationRow.id).in_(wanted[start : start + _AT_ONCE])
        statement = select(DelegationRow.id).where(some, col(DelegationRow.revoked_at_ms).is_not(None))
        found.update((await session.exec(statement)).all())
    return frozenset(found)


async def locked(session: AsyncSession, delegation_id: str) -> DelegationRow | None:
    return await session.get(DelegationRow, delegation_id, with_for_update=True, populate_existing=True)


async def holding_of(session: AsyncSession, identity_ids: Collection[str], now_ms: int) -> Sequence[DelegationRow]:
    """That they gave or were given, and that hold: each locked, in the order of their ids."""
    theirs = or_(col(DelegationRow.delegator_id).in_(identity_ids), col(DelegationRow.delegate_id).in_(identity_ids))
    statement = select(DelegationRow).where(theirs, _holds(now_ms)).order_by(col(DelegationRow.id))
    return (await session.exec(statement.with_for_update())).all()


async def count_holding(session: AsyncSession, delegator_id: str, now_ms: int) -> int:
    theirs = col(DelegationRow.delegator_id) == delegator_id
    statement = select(func.count()).select_from(DelegationRow).where(theirs, _holds(now_ms))
    return (await session.exec(statement)).one()


async def newest(
    session: AsyncSession, of: str, holding_at_ms: int | None, after: tuple[int, str] | None, limit: int
) -> Sequence[DelegationRow]:
    """`of`: theirs, given or taken; empty: everybody's. `holding_at_ms` None: those that are over too."""
    created, key = col(DelegationRow.created_at_ms), col(DelegationRow.id)
    statement = select(DelegationRow).order_by(created.desc(), key.desc()).limit(limit)
    if of:
        statement = statement.where(or_(col(DelegationRow.delegator_id) == of, col(DelegationRow.delegate_id) == of))
    if holding_at_ms is not None:
        statement = statement.where(_holds(holding_at_ms))
    if after is not None:
        at_ms, last = after
        statement = statement.where((created < at_ms) | ((created == at_ms) & (key < last)))
    return (await session.exec(statement)).all()


async def used_by_open(session: AsyncSession, delegation_id: str, open_states: Collection[str]) -> list[str]:
    """Open requests with an agreement that was given under it."""
    statement = (
        select(VoteRow.approval_id)
        .join(ApprovalRow, col(ApprovalRow.id) == col(VoteRow.approval_id))
        .where(col(VoteRow.delegation_id) == delegation_id, col(ApprovalRow.state).in_(open_states))
        .order_by(col(VoteRow.approval_id))
    )
    return list((await session.exec(statement)).all())
