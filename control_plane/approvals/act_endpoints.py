"""`/v1/approvals/…`: what people do with a request besides approving and denying it, and how they decide.

A machine may comment on its own requests and withdraw them. Breaking glass is for people with that permission, never
for the requester or an owner of the requesting credential, and needs a sign-in of the last five minutes.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from control_plane.approvals import statistics
from control_plane.approvals.act_schemas import (
    BreakGlassIn,
    CommentIn,
    CommentOut,
    ReviewerOut,
    StatisticsOut,
    WithdrawIn,
)
from control_plane.approvals.broken_glass import BrokenGlass
from control_plane.approvals.decided import AGENT_FIRST, PROBLEMS, shown_to
from control_plane.approvals.domain import Refused
from control_plane.approvals.errors import ApprovalNotFoundError
from control_plane.approvals.participation import Participation, comments_of
from control_plane.approvals.review import ReviewService
from control_plane.approvals.schemas import ApprovalOut
from control_plane.approvals.signing import Signing
from control_plane.kit.access import PEOPLE, SIGN_INS, Permission, Principal, SignedIn, requires
from control_plane.kit.clock import milliseconds
from control_plane.kit.errors import InvalidError, problems
from control_plane.kit.idempotency import IdempotencyKey
from control_plane.kit.wiring import UnitsOfWork, provided

router = APIRouter(prefix="/v1/approvals", tags=["approvals"], responses=problems(401, 403, 422))
Service = Annotated[Participation, provided(Participation)]
Glass = Annotated[BrokenGlass, provided(BrokenGlass)]
Keys = Annotated[Signing, provided(Signing)]
Reviews = Annotated[ReviewService, provided(ReviewService)]
Breaker = Annotated[Principal, requires(Permission.BREAK_GLASS, by=SIGN_INS)]
Auditor = Annotated[Principal, requires(Permission.AUDIT, by=PEOPLE)]
LONGEST_PERIOD = timedelta(days=366)


@router.get("/statistics", summary="How reviewers decide: how fast, and how often they agree")
async def reviewer_statistics(
    _auditor: Auditor,
    units: UnitsOfWork,
    since: Annotated[AwareDatetime | None, Query(alias="from", description="left out: 30 days before `until`")] = None,
    until: Annotated[AwareDatetime | None, Query(description="left out: now")] = None,
) -> StatisticsOut:
    async with units.reading() as uow:
        end = until or uow.now
        try:
            begin = since or end - timedelta(days=30)
        except OverflowError as error:
            raise InvalidError("`until` is too early") from error
        if not timedelta() < end - begin <= LONGEST_PERIOD:
            raise InvalidError(f"`from` must be before `until`, by at most {LONGEST_PERIOD.days} days")
        found = await statistics.of_period(uow, milliseconds(begin), milliseconds(end))
    return StatisticsOut(**{"from": begin, "until": end, "reviewers": [ReviewerOut.of(one) for one in found]})


@router.get("/{approval_id}/comments", summary="Comments on a request, oldest first", responses=problems(404))
async def list_comments(
    approval_id: str, principal: SignedIn, reviews: Reviews, units: UnitsOfWork
) -> list[CommentOut]:
    async with units.reading() as uow:
        view = await reviews.view(uow, principal, approval_id)
        if view is None:
            raise ApprovalNotFoundError(approval_id)
        return [CommentOut.of(row) for row in await comments_of(uow, view.row.id)]


@router.post(
    "/{approval_id}/comments",
    status_code=201,
    summary="Comment, as a reviewer, the requester or the requester's owner; decides nothing",
    responses=problems(404, 409),
)
async def comment(
    approval_id: str,
    principal: SignedIn,
    body: CommentIn,
    service: Service,
    units: UnitsOfWork,
    idempotency: IdempotencyKey,
) -> CommentOut:
    async with units() as uow:

        async def create() -> CommentOut:
            return CommentOut.of(await service.comment(uow, principal, approval_id, body.text))

        return await idempotency.once(uow, principal, CommentOut, create)


@router.post(
    "/{approval_id}/withdraw",
    summary="Take the request back, as the requester or the requester's owner; the client gets an error that says so",
    responses=problems(404, 409),
)
async def withdraw(
    approval_id: str, principal: SignedIn, body: WithdrawIn, service: Service, reviews: Reviews, units: UnitsOfWork
) -> ApprovalOut:
    async with units() as uow:
        await service.withdraw(uow, principal, approval_id, body.reason)
    return await shown_to(units, reviews, principal, approval_id)


@router.post(
    "/{approval_id}/break-glass",
    summary="Override the chain in an emergency; everybody skipped is told, and somebody else must review it",
    responses=problems(404, 409, 412),
)
async def break_glass(
    approval_id: str,
    breaker: Breaker,
    body: BreakGlassIn,
    glass: Glass,
    signing: Keys,
    reviews: Reviews,
    units: UnitsOfWork,
) -> ApprovalOut:
    """The refusal is raised after the commit: what was refused stays in the audit log."""
    signature = await signing.given(breaker, body.signature.answer() if body.signature else None)
    digest = bytes.fromhex(body.digest)
    async with units() as uow:
        ruling = await glass.break_glass(uow, breaker, approval_id, digest, body.reason, signature)
    if ruling is None:
        raise ApprovalNotFoundError(approval_id)
    if isinstance(ruling, Refused):
        raise PROBLEMS[ruling.why](ruling.detail)
    return await shown_to(units, reviews, breaker, approval_id, pause=AGENT_FIRST)
