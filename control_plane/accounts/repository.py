"""Rows of accounts, read and written. Knows no rule."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from control_plane.accounts.tables import AccountRow


class Filter(msgspec.Struct, frozen=True):
    """Empty fields match everything."""

    states: Collection[str] = ()
    target: str = ""
    session: str = ""


async def kept(session: AsyncSession, fresh: AccountRow) -> AccountRow:
    """The row of this id, nobody else's until the transaction ends; `fresh` when there was none. Two workers of one
    agent may report of it at the same moment."""
    row = await session.get(AccountRow, fresh.id, with_for_update=True, populate_existing=True)
    if row is not None:
        return row
    try:
        async with session.begin_nested():
            session.add(fresh)
    except IntegrityError:
        return await session.get_one(AccountRow, fresh.id, with_for_update=True, populate_existing=True)
    return fresh


async def newest(
    session: AsyncSession, wanted: Filter, after: tuple[int, str] | None, limit: int
) -> Sequence[AccountRow]:
    leased, key = col(AccountRow.leased_at_ms), col(AccountRow.id)
    statement = select(AccountRow).order_by(leased.desc(), key.desc()).limit(limit)
    if wanted.states:
        statement = statement.where(col(AccountRow.state).in_(sorted(wanted.states)))
    if wanted.target:
        statement = statement.where(col(AccountRow.target) == wanted.target)
    if wanted.session:
        statement = statement.where(col(AccountRow.session_id) == wanted.session)
    if after is not None:
        at_ms, last = after
        statement = statement.where((leased < at_ms) | ((leased == at_ms) & (key < last)))
    return (await session.exec(statement)).all()
