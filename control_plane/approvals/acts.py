"""What stands beside a request and is no part of what was shown: comments, stand-ins, broken glass, what one may do.

It is the present state, so the digest of what reviewers look at does not cover it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from control_plane.approvals.domain import OPEN, State, ineligible
from control_plane.approvals.domain.emergency import why_not
from control_plane.approvals.participation import comments_of, may_comment
from control_plane.approvals.seeing import is_theirs
from control_plane.approvals.standing import Seen
from control_plane.approvals.tables import ApprovalRow, BreakGlassRow, CommentRow, DelegationRow
from control_plane.kit.access import Principal
from control_plane.kit.unit_of_work import UnitOfWork


class Acts(msgspec.Struct, frozen=True):
    comments: Sequence[CommentRow] = ()
    broken: BreakGlassRow | None = None
    stand_ins: Sequence[DelegationRow] = ()  # that hold now, cover it, and whose delegator could review it
    may_comment: bool = False
    may_withdraw: bool = False
    why_not_break_glass: str = ""  # empty: this person may


async def acts_of(uow: UnitOfWork, principal: Principal | None, row: ApprovalRow, seen: Seen) -> Acts:
    """`principal` None: as nobody in particular sees it."""
    return Acts(
        comments=await comments_of(uow, row.id),
        broken=await uow.session.get(BreakGlassRow, row.id),
        stand_ins=[one for one in seen.delegations if _could(seen, one)] if row.state == State.PENDING else (),
        may_comment=principal is not None and may_comment(principal, row),
        may_withdraw=principal is not None and is_theirs(principal, row) and row.state in OPEN,
        why_not_break_glass=_why_not_break_glass(principal, row, seen),
    )


def _could(seen: Seen, delegation: DelegationRow) -> bool:
    people = [seen.people.get(one) for one in (delegation.delegator_id, delegation.delegate_id)]
    return all(one is not None and ineligible(seen.request.parties, one) is None for one in people)


def _why_not_break_glass(principal: Principal | None, row: ApprovalRow, seen: Seen) -> str:
    if row.state != State.PENDING:
        return f"it is {row.state}"
    return why_not(seen.request, seen.people.get(principal.identity) if principal else None)
