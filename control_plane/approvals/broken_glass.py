"""Breaking glass as a use case, and the review that follows it. The rule of who may is `domain.emergency`.

One person overrides what the chain asks; everybody whom that skips is told; and a review stays open, for all to see,
until somebody else has written down whether it was justified: not whoever broke the glass, not the requester, and not
an owner of the requesting credential.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import msgspec
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from control_plane.approvals import repository
from control_plane.approvals.agreement import Agreement
from control_plane.approvals.domain import Event, Ineligible, Parties, Person, Refusal, Refused, State
from control_plane.approvals.domain.emergency import CHANNEL, Broken, break_glass
from control_plane.approvals.domain.manner import Manner
from control_plane.approvals.errors import GlassNotBrokenError, NotYoursError, ReviewClosedError
from control_plane.approvals.participation import said
from control_plane.approvals.seeing import sees_all
from control_plane.approvals.signed_words import BREAK_GLASS, Signature, kept, told_of, unsigned
from control_plane.approvals.standing import Judged, Standing
from control_plane.approvals.tables import ApprovalRow, BreakGlassRow
from control_plane.approvals.transitions import TOPIC, audited, move
from control_plane.kit.access import Permission, Principal
from control_plane.kit.clock import milliseconds
from control_plane.kit.pagination import Paging, newest_key
from control_plane.kit.unit_of_work import SYSTEM, Json, UnitOfWork

REVIEW_WITHIN: Final = timedelta(days=3)
_CLOSERS: Final = (Permission.REVIEW, Permission.AUDIT)


class Show(enum.StrEnum):
    OPEN = "open"
    OVERDUE = "overdue"
    CLOSED = "closed"
    ALL = "all"


class Verdict(enum.StrEnum):
    JUSTIFIED = "justified"
    NOT_JUSTIFIED = "not-justified"


class Reviewed(msgspec.Struct, frozen=True):
    """A review with the request that it is about."""

    review: BreakGlassRow
    request: ApprovalRow
    why_not: str  # why this person may not close it; empty: they may


class BrokenGlass:
    def __init__(self, standing: Standing, agreement: Agreement) -> None:
        self._standing = standing
        self._agreement = agreement

    async def break_glass(
        self,
        uow: UnitOfWork,
        principal: Principal,
        approval_id: str,
        shown: bytes,
        reason: str,
        signature: Signature = None,
    ) -> Broken | Refused | None:
        """None: there is no such request. What is refused changes nothing and is audited. `signature`: of a security
        key, where the chain wants one of those who approve."""
        row = await repository.locked(uow.session, approval_id)
        if row is None:
            return None
        judged = await self._standing.judged(uow, row, principal.identity)
        if judged.fault and row.state == State.PENDING:
            move(uow, row, Event.VOIDED, SYSTEM, judged.fault)
            return Refused(Refusal.OVER, judged.fault)
        why = unsigned(row, principal.identity, BREAK_GLASS, shown, None, signature)
        ruling = _ruled(judged, principal, shown, reason, milliseconds(uow.now), why)
        if signature is not None and why:
            ruling = Refused(Refusal.SECURITY_KEY, why)
        asked: dict[str, Json] = {"sign_in": principal.credential_id, "shown": shown.hex(), "reason": reason}
        if isinstance(ruling, Refused):
            told: dict[str, Json] = {**asked, "why": ruling.why, "detail": ruling.detail}
            uow.audit(audited(row, "break-glass-refused", principal.actor, told))
        else:
            await self._carry_out(uow, row, judged, principal, ruling, {**asked, **told_of(signature)}, signature)
        return ruling

    async def _carry_out(
        self,
        uow: UnitOfWork,
        row: ApprovalRow,
        judged: Judged,
        principal: Principal,
        broken: Broken,
        asked: dict[str, Json],
        signature: Signature,
    ) -> None:
        people = [one for one in await self._standing.skipped(uow, judged) if one.id != principal.identity]
        skipped = [{"id": one.id, "name": one.name} for one in people]
        review = _opened(row, broken, skipped, milliseconds(uow.now))
        review.signature = kept(signature)
        uow.session.add(review)
        uow.audit(audited(row, "glass-broken", principal.actor, {**asked, "skipped": skipped}))
        so_far = judged.request.progress(judged.people)
        counted = msgspec.structs.replace(so_far, counted=(*so_far.counted, broken.vote), missing=0)
        self._agreement.reached(uow, row, principal.actor, counted)
        data: dict[str, Json] = {
            "by": principal.name,
            "by_id": principal.identity,
            "reason": broken.reason,
            "recipients": [one["id"] for one in skipped],
            "review_by_ms": review.due_at_ms,
        }
        uow.notice("approval.break-glass", row.id, data)
        uow.notice("review.opened", row.id, data)

    # -------------------------------------------------------------- the review

    async def listed(
        self, uow: UnitOfWork, principal: Principal, show: Show, paging: Paging
    ) -> tuple[list[Reviewed], str | None]:
        """Newest first."""
        if not sees_all(principal):
            raise NotYoursError("reviewers, auditors and those who may break glass see its reviews")
        opened, key = col(BreakGlassRow.opened_at_ms), col(BreakGlassRow.approval_id)
        statement = _select(show, milliseconds(uow.now)).order_by(opened.desc(), key.desc()).limit(paging.limit + 1)
        if (after := newest_key(paging)) is not None:
            at_ms, last = after
            statement = statement.where((opened < at_ms) | ((opened == at_ms) & (key < last)))
        rows = (await uow.session.exec(statement)).all()
        kept, cursor = paging.page(rows, lambda row: (row.opened_at_ms, row.approval_id))
        return [await self._reviewed(uow, principal, row) for row in kept], cursor

    async def one(self, uow: UnitOfWork, principal: Principal, approval_id: str) -> Reviewed:
        row = await uow.session.get(BreakGlassRow, approval_id)
        if row is None or not sees_all(principal):
            raise GlassNotBrokenError(approval_id)
        return await self._reviewed(uow, principal, row)

    async def close(
        self, uow: UnitOfWork, principal: Principal, approval_id: str, verdict: Verdict, comment: str
    ) -> None:
        """Of two at once the second is told that it is closed. Raises a ProblemError."""
        await repository.locked(uow.session, approval_id)
        row = await uow.session.get(BreakGlassRow, approval_id, with_for_update=True, populate_existing=True)
        if row is None or not sees_all(principal):
            raise GlassNotBrokenError(approval_id)
        reviewed = await self._reviewed(uow, principal, row)
        if row.closed_at_ms is not None:
            raise ReviewClosedError(f"{row.closed_by} closed it as {row.verdict}")
        if reviewed.why_not:
            raise NotYoursError(reviewed.why_not)
        row.closed_at_ms = milliseconds(uow.now)
        row.closed_by_id, row.closed_by = principal.identity, principal.name
        row.verdict, row.comment = verdict, said(comment)
        uow.session.add(row)
        told: dict[str, Json] = {"verdict": verdict, "comment": row.comment, "broken_by": row.broken_by_id}
        uow.audit(audited(reviewed.request, "break-glass-reviewed", principal.actor, told))
        uow.notify(TOPIC, approval_id)
        uow.notice("review.closed", approval_id, {"by": principal.name, "verdict": verdict, "comment": row.comment})

    async def _reviewed(self, uow: UnitOfWork, principal: Principal, review: BreakGlassRow) -> Reviewed:
        request = await repository.one(uow.session, review.approval_id)
        assert request is not None  # noqa: S101 - the foreign key says so
        (seen,) = await self._standing.seen(uow, [request])
        return Reviewed(review, request, why_not_close(principal, review.broken_by_id, seen.request.parties))


def why_not_close(principal: Principal, broken_by_id: str, parties: Parties) -> str:
    """Empty: this person may close the review."""
    if principal.kind != "person":
        return Ineligible.MACHINE.value
    if principal.identity == broken_by_id:
        return "whoever broke the glass does not review it"
    if principal.identity == parties.requester_id or principal.identity in parties.owner_ids:
        return "neither the requester nor an owner of the requesting credential reviews it"
    if not any(principal.may(permission) for permission in _CLOSERS):
        return "a reviewer or an auditor closes it"
    return ""


def _ruled(
    judged: Judged, principal: Principal, shown: bytes, reason: str, at_ms: int, lacking: str
) -> Broken | Refused:
    person: Person | None = judged.people.get(principal.identity)
    if person is None or principal.kind != "person":
        return Refused(Refusal.NOT_ENTITLED, Ineligible.MACHINE if person else Ineligible.DISABLED)
    proven_at = milliseconds(principal.authenticated_at)
    manner = Manner(CHANNEL, proven_at, principal.acr, principal.amr, lacking)
    return break_glass(judged.request, person, manner, shown=shown, at_ms=at_ms, reason=reason)


def _opened(row: ApprovalRow, broken: Broken, skipped: Sequence[dict[str, str]], at_ms: int) -> BreakGlassRow:
    return BreakGlassRow(
        approval_id=row.id,
        broken_by_id=broken.vote.identity_id,
        broken_by=broken.vote.name,
        reason=broken.reason,
        skipped=list(skipped),
        opened_at_ms=at_ms,
        due_at_ms=at_ms + int(REVIEW_WITHIN.total_seconds() * 1000),
    )


def _select(show: Show, now_ms: int) -> SelectOfScalar[BreakGlassRow]:
    closed = col(BreakGlassRow.closed_at_ms)
    statement = select(BreakGlassRow)
    match show:
        case Show.OPEN:
            return statement.where(closed.is_(None))
        case Show.OVERDUE:
            return statement.where(closed.is_(None), col(BreakGlassRow.due_at_ms) <= now_ms)
        case Show.CLOSED:
            return statement.where(closed.is_not(None))
        case Show.ALL:
            return statement
