"""Rows of approvals, read and written. Knows the rows and the domain's values, and no rule."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import BindParameter, ColumnElement, bindparam, func
from sqlalchemy.orm import aliased
from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from control_plane.approvals.domain import OPEN, Chain, Choice, Parties, Request, StandIn, State, Verb, Vote
from control_plane.approvals.kinds import Kind
from control_plane.approvals.shown import Earlier
from control_plane.approvals.tables import ApprovalRow, BreakGlassRow, GrantRow, VoteRow

_OPEN = sorted(OPEN)
_IS_ACCESS = col(ApprovalRow.kind) == Kind.ACCESS  # it ends on time: nobody's report is on its way
_APPROVED = (
    State.APPROVED, State.LAPSED, State.EXECUTING, State.EXECUTED, State.FAILED, State.OUTCOME_UNKNOWN, State.WINDOW,
    State.ENDED,
)  # fmt: skip
_EARLIER_LOOKED_AT = 100

# Statements of every decision are built once: that takes as long as running one.
_VOTES_OF = (
    select(VoteRow)
    .where(col(VoteRow.approval_id).in_(bindparam("ids", expanding=True)))
    .order_by(col(VoteRow.at_ms), col(VoteRow.identity_id))
)


async def locked(session: AsyncSession, approval_id: str) -> ApprovalRow | None:
    """The row, as it is now, and nobody else's until the transaction ends."""
    return await session.get(ApprovalRow, approval_id, with_for_update=True, populate_existing=True)


async def one(session: AsyncSession, approval_id: str) -> ApprovalRow | None:
    return await session.get(ApprovalRow, approval_id)


async def by_code(session: AsyncSession, short_code: str) -> ApprovalRow | None:
    """Codes are unique among the open; of those that are over, the newest."""
    statement = (
        select(ApprovalRow)
        .where(col(ApprovalRow.short_code) == short_code)
        .order_by(col(ApprovalRow.state).in_(_OPEN).desc(), col(ApprovalRow.requested_at_ms).desc())
        .limit(1)
    )
    return (await session.exec(statement)).first()


async def code_is_taken(session: AsyncSession, short_code: str) -> bool:
    statement = select(ApprovalRow.id).where(
        col(ApprovalRow.short_code) == short_code, col(ApprovalRow.state).in_(_OPEN)
    )
    return (await session.exec(statement)).first() is not None


async def votes_of(session: AsyncSession, approval_ids: Sequence[str]) -> dict[str, list[VoteRow]]:
    """By request, in the order in which they were given; requests without votes are left out."""
    votes: dict[str, list[VoteRow]] = {}
    for vote in (await session.exec(_VOTES_OF, params={"ids": list(approval_ids)})).all():
        votes.setdefault(vote.approval_id, []).append(vote)
    return votes


async def grant(session: AsyncSession, approval_id: str) -> GrantRow | None:
    return await session.get(GrantRow, approval_id)


def chain_of(row: ApprovalRow) -> Chain:
    return msgspec.json.decode(row.chain, type=Chain)


def escalated_of(row: ApprovalRow) -> frozenset[int]:
    return msgspec.json.decode(row.escalated, type=frozenset[int])


def chain_text(chain: Chain) -> str:
    return msgspec.json.encode(chain).decode()


def vote_of(row: VoteRow, revoked: Collection[str] = ()) -> Vote:
    """`revoked`: ids of delegations that were taken back."""
    return Vote(
        identity_id=row.identity_id,
        name=row.name,
        stage=row.stage,
        at_ms=row.at_ms,
        channel=row.channel,
        for_id=row.for_id,
        for_name=row.for_name,
        delegation_id=row.delegation_id,
        void=row.delegation_id in revoked,
        on_call=msgspec.json.decode(row.on_call, type=tuple[str, ...]),
        window=None if row.window_until_ms is None else Choice(row.window_until_ms, row.window_uses),
    )


def parties_of(row: ApprovalRow, owners_now: Iterable[str] = ()) -> Parties:
    """Whoever was an owner when it was asked stays out, and so does whoever has become one since."""
    barred = msgspec.json.decode(row.barred, type=frozenset[str])
    labels = msgspec.json.decode(row.labels, type=dict[str, str])
    return Parties(row.requester_id, barred.union(owners_now), row.environment, labels)


def request_of(
    row: ApprovalRow,
    votes: Iterable[VoteRow],
    parties: Parties,
    stand_ins: Iterable[StandIn] = (),
    revoked: Collection[str] = (),
) -> Request:
    return Request(
        state=State(row.state),
        chain=chain_of(row),
        parties=parties,
        shown_digest=row.shown_digest,
        approve_by_ms=row.approve_by_ms,
        votes=tuple(vote_of(vote, revoked) for vote in votes if vote.verb == Verb.APPROVE),
        stand_ins=tuple(stand_ins),
        escalated=escalated_of(row),
        stage=row.stage,
        stage_by_ms=row.approve_by_ms if row.stage_by_ms is None else row.stage_by_ms,
    )


# ------------------------------------------------------------------ what is due


async def due(session: AsyncSession, now_ms: int, grace_ms: int) -> list[str]:
    """Requests of which a deadline has come: to be decided or reminded of, or to be used."""
    statement = select(ApprovalRow.id).where(
        or_(
            (col(ApprovalRow.state) == State.PENDING) & (col(ApprovalRow.due_at_ms) <= now_ms),
            (col(ApprovalRow.state) == State.APPROVED) & (col(ApprovalRow.execute_by_ms) <= now_ms - grace_ms),
            _IS_ACCESS & (col(ApprovalRow.state) == State.APPROVED) & (col(ApprovalRow.execute_by_ms) <= now_ms),
            (col(ApprovalRow.state) == State.WINDOW) & (col(ApprovalRow.window_until_ms) <= now_ms),
        )
    )
    return list((await session.exec(statement)).all())


async def next_deadline(session: AsyncSession, grace_ms: int) -> int | None:
    """When the next one is due. None: nothing is open."""
    first, second, third, fourth = (await session.exec(_DEADLINES)).one()
    return min((at for at in (first, second and second + grace_ms, third, fourth) if at is not None), default=None)


def _deadlines() -> SelectOfScalar[Any]:
    """The first of what is pending, approved, approved access, and of windows."""
    pending = select(func.min(ApprovalRow.due_at_ms)).where(col(ApprovalRow.state) == State.PENDING)
    approved = select(func.min(ApprovalRow.execute_by_ms)).where(col(ApprovalRow.state) == State.APPROVED)
    windows = select(func.min(ApprovalRow.window_until_ms)).where(col(ApprovalRow.state) == State.WINDOW)
    asked = (pending, approved.where(~_IS_ACCESS), approved.where(_IS_ACCESS), windows)
    first_of_each: SelectOfScalar[Any] = select(*(one.scalar_subquery() for one in asked))
    return first_of_each


_DEADLINES = _deadlines()


def in_force(now_ms: int | BindParameter[int]) -> SelectOfScalar[str]:
    """Ids of what is approved and whose time is not over; to be asked for within a statement."""
    approved = (col(ApprovalRow.state) == State.APPROVED) & (col(ApprovalRow.execute_by_ms) > now_ms)
    return select(ApprovalRow.id).where(approved)


async def open_ids(session: AsyncSession) -> list[str]:
    statement = select(ApprovalRow.id).where(col(ApprovalRow.state).in_(_OPEN)).order_by(col(ApprovalRow.id))
    return list((await session.exec(statement)).all())


async def open_of(session: AsyncSession, identity_ids: Collection[str]) -> list[str]:
    """What these asked for, agreed to (themselves, or somebody in their place), or broke the glass for."""
    voted = select(VoteRow.approval_id).where(
        or_(col(VoteRow.identity_id).in_(identity_ids), col(VoteRow.for_id).in_(identity_ids))
    )
    broken = select(BreakGlassRow.approval_id).where(col(BreakGlassRow.broken_by_id).in_(identity_ids))
    theirs = or_(
        col(ApprovalRow.requester_id).in_(identity_ids),
        col(ApprovalRow.id).in_(voted),
        col(ApprovalRow.id).in_(broken),
    )
    statement = select(ApprovalRow.id).where(col(ApprovalRow.state).in_(_OPEN), theirs)
    return list((await session.exec(statement.order_by(col(ApprovalRow.id)))).all())


async def unfinished_of_session(session: AsyncSession, session_id: str) -> list[str]:
    """What the end of a session ends: all that is pending, granted to it, or still executing."""
    statement = (
        select(ApprovalRow.id)
        .where(
            col(ApprovalRow.session_id) == session_id,
            or_(
                col(ApprovalRow.state).in_(_OPEN) & col(ApprovalRow.ticket).is_(False),
                col(ApprovalRow.state) == State.EXECUTING,
            ),
        )
        .order_by(col(ApprovalRow.id))
    )
    return list((await session.exec(statement)).all())


# ------------------------------------------------------------------ lists


class Wanted(msgspec.Struct, frozen=True):
    """`open` None: both. `of` limits to what this identity asked for or answers for; empty: everybody's. `kind` None:
    of every kind."""

    open: bool | None
    of: str = ""
    kind: Kind | None = None


async def newest(
    session: AsyncSession, wanted: Wanted, after: tuple[int, str] | None, limit: int
) -> Sequence[ApprovalRow]:
    order = (col(ApprovalRow.requested_at_ms).desc(), col(ApprovalRow.id).desc())
    statement = select(ApprovalRow).order_by(*order).limit(limit)
    if wanted.open is not None:
        is_pending = col(ApprovalRow.state) == State.PENDING
        statement = statement.where(is_pending & ~_under_another() if wanted.open else ~is_pending)
    if wanted.kind is not None:
        statement = statement.where(col(ApprovalRow.kind) == wanted.kind)
    if wanted.of:
        statement = statement.where(
            (col(ApprovalRow.requester_id) == wanted.of) | (col(ApprovalRow.owner_id) == wanted.of)
        )
    if after is not None:
        at_ms, last = after
        statement = statement.where(
            (col(ApprovalRow.requested_at_ms) < at_ms)
            | ((col(ApprovalRow.requested_at_ms) == at_ms) & (col(ApprovalRow.id) < last))
        )
    return (await session.exec(statement)).all()


def _under_another() -> ColumnElement[bool]:
    """Whether an older request that waits is on the same card."""
    other, row = aliased(ApprovalRow), ApprovalRow
    same_time = col(other.requested_at_ms) == col(row.requested_at_ms)
    older = (col(other.requested_at_ms) < col(row.requested_at_ms)) | (same_time & (col(other.id) < col(row.id)))
    waits = (col(other.card_id) == col(row.card_id)) & (col(other.state) == State.PENDING)
    return select(other.id).where(waits, older).correlate(row).exists()


async def earlier(session: AsyncSession, requester_id: str, target: str, shape: str) -> Earlier:
    statement = (
        select(ApprovalRow.state, ApprovalRow.requested_at_ms)
        .where(
            col(ApprovalRow.requester_id) == requester_id,
            col(ApprovalRow.target) == target,
            col(ApprovalRow.shape) == shape,
        )
        .order_by(col(ApprovalRow.requested_at_ms).desc())
        .limit(_EARLIER_LOOKED_AT)
    )
    found = (await session.exec(statement)).all()
    states = [State(state) for state, _ in found]
    approved = sum(state in _APPROVED for state in states)
    denied = states.count(State.DENIED)
    return Earlier(approved, denied, len(states) - approved - denied, found[0][1] if found else None)
