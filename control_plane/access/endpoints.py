"""`/v1/access-offers` for admins, `/v1/access-requests` for those who ask. People decide at `/v1/approvals`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter

from control_plane.access.documents import AccessOffer
from control_plane.access.errors import WindowNotFoundError
from control_plane.access.schemas import AccessIn, AccessOut, EndIn, OfferedOut
from control_plane.access.service import AccessService
from control_plane.approvals.kinds import Kind
from control_plane.approvals.petitions import PetitionService
from control_plane.approvals.review import ReviewService, View
from control_plane.documents.resources import document_router
from control_plane.kit.access import EVERYBODY, Permission, Principal, SignedIn, requires
from control_plane.kit.errors import problems
from control_plane.kit.idempotency import IdempotencyKey
from control_plane.kit.pagination import Page, PagingQuery
from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.kit.wiring import UnitsOfWork, provided

offers = document_router(AccessOffer, "/v1/access-offers", Permission.POLICY_EDIT)
router = APIRouter(prefix="/v1", tags=["access"], responses=problems(401, 403, 422))
Access = Annotated[AccessService, provided(AccessService)]
Petitions = Annotated[PetitionService, provided(PetitionService)]
Review = Annotated[ReviewService, provided(ReviewService)]
Requester = Annotated[Principal, requires(Permission.REQUEST, by=EVERYBODY)]


@router.get("/offered-access", summary="What you may ask for")
async def offered_access(requester: Requester, access: Access, units: UnitsOfWork) -> list[OfferedOut]:
    async with units.reading() as uow:
        return [OfferedOut.of(one) for one in await access.offered(uow, requester)]


@router.post("/access-requests", status_code=201, summary="Ask for access for a time", responses=problems(404, 409))
async def ask_for_access(
    body: AccessIn,
    requester: Requester,
    access: Access,
    review: Review,
    units: UnitsOfWork,
    idempotency: IdempotencyKey,
) -> AccessOut:
    """The time runs from the approval."""
    async with units() as uow:

        async def create() -> AccessOut:
            row = await access.ask(uow, requester, body.offer, body.length, body.reason)
            return await _shown(uow, review, requester, row.id)

        return await idempotency.once(uow, requester, AccessOut, create)


@router.get("/access-requests", summary="Access asked for, newest first; without a reviewer's role one's own")
async def list_access(principal: SignedIn, review: Review, units: UnitsOfWork, paging: PagingQuery) -> Page[AccessOut]:
    async with units.reading() as uow:
        views, cursor = await review.of_kind(uow, principal, Kind.ACCESS, paging)
    return Page(items=[AccessOut.of_window(view) for view in views], next_cursor=cursor)


@router.get("/access-requests/{request_id}", summary="One of them, by id or short code", responses=problems(404))
async def show_access(request_id: str, principal: SignedIn, review: Review, units: UnitsOfWork) -> AccessOut:
    async with units.reading() as uow:
        return await _shown(uow, review, principal, request_id)


@router.post("/access-requests/{request_id}/end", summary="End access before its time", responses=problems(404, 409))
async def end_access(
    request_id: str, body: EndIn, principal: SignedIn, petitions: Petitions, review: Review, units: UnitsOfWork
) -> AccessOut:
    """By the requester, the requester's owner, a reviewer or an admin. Its sessions are judged again at once."""
    async with units() as uow:
        view = await _view(uow, review, principal, request_id)
        await petitions.end(uow, principal, view.row.id, body.reason)
    async with units.reading() as uow:
        return await _shown(uow, review, principal, request_id)


async def _shown(uow: UnitOfWork, review: ReviewService, principal: Principal, reference: str) -> AccessOut:
    return AccessOut.of_window(await _view(uow, review, principal, reference))


async def _view(uow: UnitOfWork, review: ReviewService, principal: Principal, reference: str) -> View:
    view = await review.view(uow, principal, reference)
    if view is None or view.row.kind != Kind.ACCESS:
        raise WindowNotFoundError(reference)
    return view
