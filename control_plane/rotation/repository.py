"""Rows of rotations, read and written. Knows no rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlmodel import col, func, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from control_plane.rotation.domain import Past, State
from control_plane.rotation.tables import RotationRow, TargetAccountRow


async def one(session: AsyncSession, rotation_id: str) -> RotationRow | None:
    return await session.get(RotationRow, rotation_id, with_for_update=True, populate_existing=True)


async def newest(
    session: AsyncSession, target: str, after: tuple[datetime, str] | None, limit: int
) -> Sequence[RotationRow]:
    started, key = col(RotationRow.started_at), col(RotationRow.id)
    statement = select(RotationRow).where(RotationRow.target == target).order_by(started.desc(), key.desc())
    if after is not None:
        at, last = after
        statement = statement.where((started < at) | ((started == at) & (key < last)))
    return (await session.exec(statement.limit(limit))).all()


async def past(session: AsyncSession, target: str) -> Past:
    rows = await newest(session, target, None, 1)
    done_at = await _last(session, target, State.DONE)
    failures = select(func.count()).where(RotationRow.target == target, RotationRow.state == State.FAILED)
    if done_at is not None:
        failures = failures.where(col(RotationRow.ended_at) > done_at)
    return Past(
        running=any(row.running for row in rows),
        ended_at=rows[0].ended_at if rows else None,
        done_at=done_at,
        failures=(await session.exec(failures)).one(),
    )


async def _last(session: AsyncSession, target: str, state: State) -> datetime | None:
    ended = col(RotationRow.ended_at)
    statement = select(ended).where(RotationRow.target == target, RotationRow.state == state)
    found: datetime | None = (await session.exec(statement.order_by(ended.desc()).limit(1))).first()
    return found


async def abandoned(session: AsyncSession, before: datetime) -> Sequence[RotationRow]:
    """Those that nobody waits for any more: the control plane was stopped meanwhile."""
    running = select(RotationRow).where(col(RotationRow.running).is_not(None), col(RotationRow.started_at) < before)
    return (await session.exec(running.with_for_update())).all()


async def accounts(session: AsyncSession) -> Mapping[str, TargetAccountRow]:
    return {row.target: row for row in (await session.exec(select(TargetAccountRow))).all()}


async def account_not_known(session: AsyncSession, target: str, problem: str, at: datetime) -> None:
    """What was known stays."""
    told = update(TargetAccountRow).where(col(TargetAccountRow.target) == target)
    done = await session.exec(told.values(problem=problem, told_at=at))
    if not done.rowcount:
        session.add(TargetAccountRow(target=target, account="", kept="", problem=problem, told_at=at))
