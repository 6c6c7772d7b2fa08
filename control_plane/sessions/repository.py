"""Rows of sessions, read and written. Knows no rule."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec
from sqlalchemy import bindparam, case, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from control_plane.sessions.tables import SessionRow


class Filter(msgspec.Struct, frozen=True):
    """Empty fields match everything. `of`: the requester's or the owner's id."""

    open: bool | None = None
    target: str = ""
    requester: str = ""  # name or id
    of: str = ""


class Known(msgspec.Struct, frozen=True):
    """As much of a session as its decisions need."""

    id: str
    instance_id: str
    target: str
    requester_id: str


class Decided(msgspec.Struct, frozen=True):
    """To be added to a session's counts; `last` is its newest operation."""

    session_id: str
    allowed: int
    held: int
    denied: int
    last: int


async def known(session: AsyncSession, session_ids: Collection[str]) -> Mapping[str, Known]:
    row = SessionRow
    statement = select(row.id, row.instance_id, row.target, row.requester_id).where(col(row.id).in_(session_ids))
    return {found[0]: Known(*found) for found in (await session.exec(statement)).all()}


async def count(session: AsyncSession, decided: Sequence[Decided]) -> None:
    """One statement for all of them. Rows that were loaded before are out of date then."""
    connection = await session.connection()
    await connection.execute(_COUNT, [msgspec.structs.asdict(one) for one in decided])


_COUNT = (
    update(SessionRow)
    .where(col(SessionRow.id) == bindparam("session_id"))
    .values(
        allowed=col(SessionRow.allowed) + bindparam("allowed"),
        held=col(SessionRow.held) + bindparam("held"),
        denied=col(SessionRow.denied) + bindparam("denied"),
        operations=case(
            (col(SessionRow.operations) < bindparam("last"), bindparam("last")), else_=col(SessionRow.operations)
        ),
    )
)


async def locked(session: AsyncSession, session_id: str) -> SessionRow | None:
    return await session.get(SessionRow, session_id, with_for_update=True, populate_existing=True)


async def one(session: AsyncSession, session_id: str) -> SessionRow | None:
    return await session.get(SessionRow, session_id)


async def open_of(session: AsyncSession, instance_id: str) -> list[str]:
    statement = select(SessionRow.id).where(
        col(SessionRow.instance_id) == instance_id, col(SessionRow.closed_at_ms).is_(None)
    )
    return list((await session.exec(statement.order_by(col(SessionRow.id)))).all())


async def to_terminate(session: AsyncSession, instance_id: str) -> list[tuple[str, str]]:
    """Id and reason."""
    which = (
        col(SessionRow.instance_id) == instance_id,
        col(SessionRow.closed_at_ms).is_(None),
        col(SessionRow.terminate_reason) != "",
    )
    statement = select(SessionRow.id, SessionRow.terminate_reason).where(*which).order_by(col(SessionRow.id))
    return list((await session.exec(statement)).all())


async def open_requested_by(session: AsyncSession, requester_ids: Collection[str]) -> Sequence[SessionRow]:
    """Each locked, in the order of their ids."""
    theirs = col(SessionRow.requester_id).in_(requester_ids), col(SessionRow.closed_at_ms).is_(None)
    return (await session.exec(select(SessionRow).where(*theirs).order_by(col(SessionRow.id)).with_for_update())).all()


async def newest(
    session: AsyncSession, wanted: Filter, after: tuple[int, str] | None, limit: int
) -> Sequence[SessionRow]:
    opened, key = col(SessionRow.opened_at_ms), col(SessionRow.id)
    statement = select(SessionRow).order_by(opened.desc(), key.desc()).limit(limit)
    if wanted.open is not None:
        is_open = col(SessionRow.closed_at_ms).is_(None)
        statement = statement.where(is_open if wanted.open else ~is_open)
    if wanted.target:
        statement = statement.where(col(SessionRow.target) == wanted.target)
    if wanted.requester:
        named = (col(SessionRow.requester_name) == wanted.requester) | (
            col(SessionRow.requester_id) == wanted.requester
        )
        statement = statement.where(named)
    if wanted.of:
        statement = statement.where(
            (col(SessionRow.requester_id) == wanted.of) | (col(SessionRow.owner_id) == wanted.of)
        )
    if after is not None:
        at_ms, last = after
        statement = statement.where((opened < at_ms) | ((opened == at_ms) & (key < last)))
    return (await session.exec(statement)).all()
