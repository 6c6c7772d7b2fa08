"""Broken glass: every chain that was overridden, and what somebody else writes about it afterwards."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from control_plane.approvals.act_schemas import BreakGlassReviewOut
from control_plane.approvals.broken_glass import BrokenGlass, Show, Verdict
from control_plane.kit.access import BROWSER, Permission, Principal, requires
from control_plane.kit.pagination import PagingQuery
from control_plane.kit.wiring import UnitsOfWork, provided
from control_plane.web.rendering import page
from control_plane.web.routes import SEE_OTHER, PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Glass = Annotated[BrokenGlass, provided(BrokenGlass)]
Person = Annotated[Principal, requires(Permission.SELF, by=BROWSER)]


@router.get("/break-glass")
async def reviews(
    request: Request, person: Person, glass: Glass, units: UnitsOfWork, paging: PagingQuery, show: Show = Show.ALL
) -> Response:
    async with units.reading() as uow:
        found, cursor = await glass.listed(uow, person, show, paging)
        items = [BreakGlassReviewOut.shown(one, uow.now) for one in found]
    return page(request, "reviews.html", section="break-glass", items=items, next_cursor=cursor)


@router.post("/break-glass/{approval_id}/close")
async def close(
    approval_id: str,
    person: Person,
    glass: Glass,
    units: UnitsOfWork,
    verdict: Annotated[Verdict, Form()],
    comment: Annotated[str, Form(min_length=1, max_length=2000, pattern=r"^[^\x00]*$")],
) -> Response:
    async with units() as uow:
        await glass.close(uow, person, approval_id, verdict, comment)
    return RedirectResponse("/break-glass", SEE_OTHER)
