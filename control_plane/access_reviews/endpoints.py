"""`/v1/identities/report`, and `/v1/access-reviews`: who has access by what, and campaigns to confirm it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import StreamingResponse

from control_plane.access_reviews import export
from control_plane.access_reviews.report import AccessReport
from control_plane.access_reviews.schemas import (
    AccessOut,
    AccessReviewIn,
    AccessReviewOut,
    AccessReviewWithItemsOut,
    DecisionIn,
    ItemOut,
)
from control_plane.access_reviews.service import AccessReviews
from control_plane.kit.access import PEOPLE, SIGN_INS, Permission, Principal, requires
from control_plane.kit.errors import problems
from control_plane.kit.idempotency import IdempotencyKey
from control_plane.kit.pagination import Page, PagingQuery
from control_plane.kit.unit_of_work import Units
from control_plane.kit.wiring import UnitsOfWork, provided

router = APIRouter(prefix="/v1", tags=["access reviews"], responses=problems(401, 403, 422))
Report = Annotated[AccessReport, provided(AccessReport)]
Reviews = Annotated[AccessReviews, provided(AccessReviews)]
Auditor = Annotated[Principal, requires(Permission.AUDIT, by=PEOPLE)]
Admin = Annotated[Principal, requires(Permission.ADMIN, by=SIGN_INS)]
Person = Annotated[Principal, requires(Permission.SELF, by=SIGN_INS)]
IdPath = Annotated[str, Path(pattern="^arv_[a-z2-7]{20}$", examples=["arv_3xk2cqz7q5n4h6mjv2ab"])]
NumberPath = Annotated[int, Path(ge=1, le=2**31 - 1)]
FormatQuery = Annotated[export.Format, Query(alias="format", description="json: a line for each")]


@router.get("/identities/report", summary="Everybody with what they have access by, what they use of it, and findings")
async def report(_auditor: Auditor, access: Report, units: UnitsOfWork, paging: PagingQuery) -> Page[AccessOut]:
    async with units.reading() as uow:
        found, cursor = await access.page(uow, paging)
    return Page(items=[AccessOut.of(one) for one in found], next_cursor=cursor)


@router.get(
    "/identities/report/export",
    summary="The whole report as a file",
    response_class=StreamingResponse,
    responses={200: {"content": {kind: {} for kind in export.MEDIA_TYPES.values()}}},
)
async def export_report(
    _auditor: Auditor, access: Report, units: UnitsOfWork, form: FormatQuery = "csv"
) -> StreamingResponse:
    return _file(export.report(_everybody(access, units), form), "access-report", form)


@router.get("/access-reviews", summary="Campaigns, newest first: all for auditors and admins, else those that ask you")
async def list_reviews(
    person: Person, reviews: Reviews, units: UnitsOfWork, paging: PagingQuery
) -> Page[AccessReviewOut]:
    async with units.reading() as uow:
        found, cursor = await reviews.page(uow, person, paging)
    return Page(items=[AccessReviewOut.of(row) for row in found], next_cursor=cursor)


@router.post(
    "/access-reviews",
    status_code=201,
    summary="Ask every owner what of theirs is still needed; what nobody confirms by the deadline is lost",
    responses=problems(409),
)
async def open_review(
    admin: Admin, body: AccessReviewIn, reviews: Reviews, units: UnitsOfWork, idempotency: IdempotencyKey
) -> AccessReviewOut:
    async with units() as uow:

        async def create() -> AccessReviewOut:
            return AccessReviewOut.of(await reviews.open(uow, admin, body.name, body.deadline_at))

        return await idempotency.once(uow, admin, AccessReviewOut, create)


@router.get("/access-reviews/{id}", summary="One campaign, with what it asks", responses=problems(404))
async def show_review(
    person: Person,
    id: IdPath,  # noqa: A002 - the API's name
    reviews: Reviews,
    units: UnitsOfWork,
) -> AccessReviewWithItemsOut:
    async with units.reading() as uow:
        row, items = await reviews.one(uow, person, id)
    shown = AccessReviewOut.of(row).model_dump()
    return AccessReviewWithItemsOut(**shown, items=[ItemOut.of(one, person) for one in items])


@router.get(
    "/access-reviews/{id}/export",
    summary="What was asked and what became of it, as a file",
    response_class=StreamingResponse,
    responses={200: {"content": {kind: {} for kind in export.MEDIA_TYPES.values()}}, **problems(404)},
)
async def export_review(
    auditor: Auditor,
    id: IdPath,  # noqa: A002 - the API's name
    reviews: Reviews,
    units: UnitsOfWork,
    form: FormatQuery = "csv",
) -> StreamingResponse:
    async with units.reading() as uow:
        _, items = await reviews.one(uow, auditor, id)
    return _file(export.items((ItemOut.of(one, auditor) for one in items), form), id, form)


@router.post(
    "/access-reviews/{id}/items/{number}/decide",
    summary="Confirm that something of yours is still needed, or end it now",
    responses=problems(404, 409),
)
async def decide(
    person: Person,
    id: IdPath,  # noqa: A002 - the API's name
    number: NumberPath,
    body: DecisionIn,
    reviews: Reviews,
    units: UnitsOfWork,
) -> ItemOut:
    async with units() as uow:
        keep = body.decision == "keep"
        return ItemOut.of(await reviews.decide(uow, person, id, number, keep=keep, comment=body.comment), person)


@router.post(
    "/access-reviews/{id}/cancel",
    summary="Stop asking: nothing more is lost by it",
    responses=problems(404, 409),
)
async def cancel(
    admin: Admin,
    id: IdPath,  # noqa: A002 - the API's name
    reviews: Reviews,
    units: UnitsOfWork,
) -> AccessReviewOut:
    async with units() as uow:
        return AccessReviewOut.of(await reviews.cancel(uow, admin, id))


async def _everybody(access: AccessReport, units: Units) -> AsyncIterator[AccessOut]:
    async with units.reading() as uow:
        async for one in access.everybody(uow):
            yield AccessOut.of(one)


def _file(body: export.Body, name: str, form: export.Format) -> StreamingResponse:
    headers = {"content-disposition": f'attachment; filename="{name}.{form}"', "cache-control": "no-store"}
    return StreamingResponse(body, media_type=export.MEDIA_TYPES[form], headers=headers)
