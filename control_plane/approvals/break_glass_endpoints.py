"""`/v1/break-glass-reviews`: every overridden chain, and what somebody else wrote about it afterwards."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from control_plane.approvals.act_schemas import BreakGlassReviewOut, CloseReviewIn
from control_plane.approvals.broken_glass import BrokenGlass, Show
from control_plane.kit.access import SIGN_INS, Permission, Principal, requires
from control_plane.kit.errors import problems
from control_plane.kit.pagination import Page, PagingQuery
from control_plane.kit.wiring import UnitsOfWork, provided

router = APIRouter(prefix="/v1/break-glass-reviews", tags=["break-glass"], responses=problems(401, 403, 422))
Glass = Annotated[BrokenGlass, provided(BrokenGlass)]
Person = Annotated[Principal, requires(Permission.SELF, by=SIGN_INS)]


@router.get("", summary="Reviews of broken glass, newest first")
async def list_reviews(
    person: Person,
    glass: Glass,
    units: UnitsOfWork,
    paging: PagingQuery,
    show: Annotated[Show, Query(description="open; overdue: open for too long; closed; all")] = Show.OPEN,
) -> Page[BreakGlassReviewOut]:
    async with units.reading() as uow:
        found, cursor = await glass.listed(uow, person, show, paging)
        return Page(items=[BreakGlassReviewOut.shown(one, uow.now) for one in found], next_cursor=cursor)


@router.get("/{approval_id}", summary="One review", responses=problems(404))
async def show_review(approval_id: str, person: Person, glass: Glass, units: UnitsOfWork) -> BreakGlassReviewOut:
    async with units.reading() as uow:
        return BreakGlassReviewOut.shown(await glass.one(uow, person, approval_id), uow.now)


@router.post(
    "/{approval_id}/close",
    summary="Say whether it was justified; by a reviewer or auditor who neither broke the glass nor asked",
    responses=problems(404, 409),
)
async def close_review(
    approval_id: str, person: Person, body: CloseReviewIn, glass: Glass, units: UnitsOfWork
) -> BreakGlassReviewOut:
    async with units() as uow:
        await glass.close(uow, person, approval_id, body.verdict, body.comment)
    async with units.reading() as uow:
        return BreakGlassReviewOut.shown(await glass.one(uow, person, approval_id), uow.now)
