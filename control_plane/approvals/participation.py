"""What people say and do about a request without deciding it: comments, and taking it back.

Reviewers, the requester and the requester's owner comment, and only the latter two withdraw. A machine may do both for
its own requests: neither lets anything through.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import bindparam
from sqlmodel import col, select

from control_plane.approvals import repository
from control_plane.approvals.domain import OPEN, Event, IllegalTransition
from control_plane.approvals.errors import (
    ApprovalNotFoundError,
    ApprovalOverError,
    NotYoursError,
    TooManyCommentsError,
)
from control_plane.approvals.seeing import is_theirs, may_see
from control_plane.approvals.tables import ApprovalRow, CommentRow
from control_plane.approvals.transitions import TOPIC, audited, move
from control_plane.kit.access import Permission, Principal
from control_plane.kit.clock import milliseconds
from control_plane.kit.errors import InvalidError
from control_plane.kit.ids import new_id
from control_plane.kit.unit_of_work import Json, UnitOfWork

MOST_COMMENTS: Final = 100  # of one request
MOST_OF_ONE: Final = 30  # of them by the same, so that nobody silences the others
MOST_CHARACTERS: Final = 2000
_COMMENTS_OF: Final = (
    select(CommentRow)
    .where(col(CommentRow.approval_id) == bindparam("approval_id"))
    .order_by(col(CommentRow.at_ms), col(CommentRow.id))
)


class Participation:
    async def comment(self, uow: UnitOfWork, principal: Principal, approval_id: str, text: str) -> CommentRow:
        """Also when it is over: people go on talking after the fact. Raises a ProblemError."""
        row = await _locked(uow, principal, approval_id)
        if not may_comment(principal, row):
            raise NotYoursError("reviewers, the requester and the requester's owner comment on a request")
        await _leave_room(uow, principal, row)
        made = CommentRow(
            id=new_id("cmt"),
            approval_id=approval_id,
            identity_id=principal.identity,
            name=principal.name,
            kind=principal.kind,
            at_ms=milliseconds(uow.now),
            text=said(text),
        )
        uow.session.add(made)
        told: dict[str, Json] = {"by": principal.name, "by_id": principal.identity, "text": made.text}
        uow.audit(audited(row, "commented", principal.actor, {"comment": made.id, "text": made.text}))
        uow.notify(TOPIC, row.id)
        uow.notice("approval.commented", row.id, told)
        return made

    async def withdraw(self, uow: UnitOfWork, principal: Principal, approval_id: str, reason: str) -> None:
        """The waiting client gets an error that says so; an approval that is not used yet is void. Raises a
        ProblemError."""
        row = await _locked(uow, principal, approval_id)
        if not is_theirs(principal, row):
            raise NotYoursError("only the requester and the requester's owner withdraw a request")
        said = f"taken back by {principal.name}" + (f": {reason}" if reason else "")
        refused = move(uow, row, Event.CANCELLED, principal.actor, said, {"sign_in": principal.credential_id})
        if isinstance(refused, IllegalTransition):
            raise ApprovalOverError(f"it is {refused.state.value}: there is nothing left to withdraw")


def said(text: str) -> str:
    """What somebody wrote, whatever channel it came through. Raises InvalidError."""
    found = text.replace("\0", "").strip()
    if not 0 < len(found) <= MOST_CHARACTERS:
        raise InvalidError(f"say something, in at most {MOST_CHARACTERS} characters")
    return found


def may_comment(principal: Principal, row: ApprovalRow) -> bool:
    return is_theirs(principal, row) or (principal.may(Permission.REVIEW) and principal.kind == "person")


async def comments_of(uow: UnitOfWork, approval_id: str) -> Sequence[CommentRow]:
    """Oldest first."""
    return (await uow.session.exec(_COMMENTS_OF, params={"approval_id": approval_id})).all()


async def _leave_room(uow: UnitOfWork, principal: Principal, row: ApprovalRow) -> None:
    """A machine has its say only while the request is open: what is over is for people."""
    if principal.kind != "person" and row.state not in OPEN:
        raise ApprovalOverError(f"it is {row.state}: a machine has no more say")
    whose = select(CommentRow.identity_id).where(col(CommentRow.approval_id) == row.id)
    found = (await uow.session.exec(whose)).all()
    if len(found) >= MOST_COMMENTS or found.count(principal.identity) >= MOST_OF_ONE:
        most = f"{MOST_COMMENTS} comments, {MOST_OF_ONE} by the same"
        raise TooManyCommentsError(f"a request has at most {most}; go on elsewhere")


async def _locked(uow: UnitOfWork, principal: Principal, approval_id: str) -> ApprovalRow:
    row = await repository.locked(uow.session, approval_id)
    if row is None or not may_see(principal, row):
        raise ApprovalNotFoundError(approval_id)
    return row
