"""Who has access by what, and the campaigns in which one confirms what is one's own."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from control_plane.access_reviews.report import AccessReport
from control_plane.access_reviews.schemas import AccessOut, AccessReviewOut, ItemOut
from control_plane.access_reviews.service import LONGEST, AccessReviews
from control_plane.kit.access import BROWSER, Permission, Principal, Visitor, requires
from control_plane.kit.pagination import PagingQuery
from control_plane.kit.wiring import UnitsOfWork, provided
from control_plane.web.rendering import page
from control_plane.web.routes import SEE_OTHER, PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Report = Annotated[AccessReport, provided(AccessReport)]
Reviews = Annotated[AccessReviews, provided(AccessReviews)]
Auditor = Annotated[Principal, requires(Permission.AUDIT, by=BROWSER)]
Admin = Annotated[Principal, requires(Permission.ADMIN, by=BROWSER)]
Line = Annotated[str, Form(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")]
SECTION = "access"


@router.get("/access")
async def report(
    request: Request, _auditor: Auditor, access: Report, units: UnitsOfWork, paging: PagingQuery
) -> Response:
    async with units.reading() as uow:
        found, cursor = await access.page(uow, paging)
    items = [AccessOut.of(one) for one in found]
    return page(request, "access_report.html", section=SECTION, items=items, next_cursor=cursor)


@router.get("/access-reviews")
async def reviews(
    request: Request, visitor: Visitor, service: Reviews, units: UnitsOfWork, paging: PagingQuery
) -> Response:
    async with units.reading() as uow:
        found, cursor = await service.page(uow, visitor, paging)
    items = [AccessReviewOut.of(row) for row in found]
    may = {"may_open": visitor.may(Permission.ADMIN), "may_read": visitor.may(Permission.AUDIT)}
    return page(
        request, "access_reviews.html", section=SECTION, items=items, next_cursor=cursor, longest=LONGEST.days, **may
    )


@router.post("/access-reviews")
async def open_review(
    admin: Admin,
    service: Reviews,
    units: UnitsOfWork,
    name: Annotated[str, Form(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")],
    days: Annotated[int, Form(ge=1, le=LONGEST.days)],
) -> Response:
    async with units() as uow:
        opened = await service.open(uow, admin, name, uow.now + timedelta(days=days))
        review_id = opened.id
    return RedirectResponse(f"/access-reviews/{review_id}", SEE_OTHER)


@router.get("/access-reviews/{review_id}")
async def review(request: Request, review_id: str, visitor: Visitor, service: Reviews, units: UnitsOfWork) -> Response:
    async with units.reading() as uow:
        row, asked = await service.one(uow, visitor, review_id)
    items = [ItemOut.of(one, visitor) for one in asked]
    shown = AccessReviewOut.of(row)
    may_cancel = visitor.may(Permission.ADMIN) and shown.state == "open"
    return page(request, "access_review.html", section=SECTION, review=shown, items=items, may_cancel=may_cancel)


@router.post("/access-reviews/{review_id}/items/{number}")
async def decide(
    review_id: str,
    number: int,
    visitor: Visitor,
    service: Reviews,
    units: UnitsOfWork,
    decision: Annotated[Literal["keep", "end"], Form()],
    comment: Line = "",
) -> Response:
    async with units() as uow:
        await service.decide(uow, visitor, review_id, number, keep=decision == "keep", comment=comment)
    return RedirectResponse(f"/access-reviews/{review_id}#n{number}", SEE_OTHER)


@router.post("/access-reviews/{review_id}/cancel")
async def cancel(review_id: str, admin: Admin, service: Reviews, units: UnitsOfWork) -> Response:
    async with units() as uow:
        await service.cancel(uow, admin, review_id)
    return RedirectResponse(f"/access-reviews/{review_id}", SEE_OTHER)
