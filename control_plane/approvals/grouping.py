"""Which requests that wait are on one card (`cards`), kept as they come, are decided and end."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec
from sqlalchemy import bindparam
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from control_plane.approvals import repository, shown
from control_plane.approvals.domain import State
from control_plane.approvals.kinds import Kind
from control_plane.approvals.tables import ApprovalRow
from control_plane.kit.unit_of_work import UnitOfWork

TOPIC = "approval"  # the key is the approval's id
_OLDEST_FIRST = (col(ApprovalRow.requested_at_ms), col(ApprovalRow.id))
_WAITING = (
    select(ApprovalRow)
    .where(col(ApprovalRow.card_id).in_(bindparam("cards", expanding=True)), col(ApprovalRow.state) == State.PENDING)
    .order_by(*_OLDEST_FIRST)
)
_WAITING_AND_FREE = _WAITING.with_for_update(skip_locked=True)


async def join(uow: UnitOfWork, row: ApprovalRow) -> None:
    """A new request goes on the card of those that are shown alike. Where somebody has voted, `Regroup` parts it."""
    mine = select(ApprovalRow).where(
        col(ApprovalRow.requester_id) == row.requester_id,
        col(ApprovalRow.state) == State.PENDING,
        col(ApprovalRow.kind) == Kind.OPERATION,
        col(ApprovalRow.operation_digest) == row.operation_digest,
    )
    waiting = (await uow.session.exec(mine.order_by(*_OLDEST_FIRST))).all()
    alike = shown.likeness(row.shown)
    for one in waiting:
        if one.barred == row.barred and shown.likeness(one.shown) == alike:
            row.card_id = one.card_id
            return


async def members(session: AsyncSession, card_ids: Collection[str]) -> dict[str, list[ApprovalRow]]:
    """Of each card what waits, oldest first."""
    if not card_ids:
        return {}
    found: dict[str, list[ApprovalRow]] = {}
    for row in (await session.exec(_WAITING, params={"cards": list(card_ids)})).all():
        found.setdefault(row.card_id, []).append(row)
    return found


class Regroup(msgspec.Struct, frozen=True):
    """A check for the end of a unit of work: something has come to a card or left it (`moved`), or was voted on."""

    card_id: str
    moved: bool = False

    async def __call__(self, uow: UnitOfWork) -> None:
        # What somebody else is just moving is regrouped by them.
        rows = (await uow.session.exec(_WAITING_AND_FREE, params={"cards": [self.card_id]})).all()
        voted = await repository.votes_of(uow.session, [row.id for row in rows]) if rows else {}
        groups: dict[frozenset[str], list[ApprovalRow]] = {}
        for row in rows:
            groups.setdefault(frozenset(vote.identity_id for vote in voted.get(row.id, ())), []).append(row)
        for group in groups.values():
            _tell(uow, group, changed=self.moved or len(groups) > 1)


def _tell(uow: UnitOfWork, group: Sequence[ApprovalRow], *, changed: bool) -> None:
    """Its oldest is the one that people are told of."""
    head = group[0]
    if head.card_id != head.id:
        for row in group:
            row.card_id = head.id
            uow.session.add(row)
        uow.notice("approval.pending", head.id, {"before": State.PENDING, "identical": len(group)})
    elif changed:
        uow.notice("approval.regrouped", head.id, {"identical": len(group)})
    uow.notify(TOPIC, head.id)
