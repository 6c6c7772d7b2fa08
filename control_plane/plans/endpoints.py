"""`/v1/plans`: several operations told beforehand. Whoever may connect may submit one, a machine too; people decide it
at `/v1/approvals`, where it is taken back as well.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter

from control_plane.approvals.errors import ApprovalNotFoundError
from control_plane.approvals.kinds import Kind
from control_plane.approvals.review import ReviewService
from control_plane.approvals.schemas import ApprovalSummaryOut
from control_plane.kit.access import EVERYBODY, Permission, Principal, SignedIn, requires
from control_plane.kit.errors import problems
from control_plane.kit.idempotency import IdempotencyKey
from control_plane.kit.pagination import Page, PagingQuery
from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.kit.wiring import UnitsOfWork, provided
from control_plane.plans.schemas import PlanIn, PlanOut
from control_plane.plans.service import PlanService

router = APIRouter(prefix="/v1/plans", tags=["plans"], responses=problems(401, 403, 422))
Plans = Annotated[PlanService, provided(PlanService)]
Review = Annotated[ReviewService, provided(ReviewService)]
Requester = Annotated[Principal, requires(Permission.REQUEST, by=EVERYBODY)]


@router.post("", status_code=201, summary="Ask for several operations as one request", responses=problems(409))
async def submit_plan(
    body: PlanIn, requester: Requester, plans: Plans, review: Review, units: UnitsOfWork, idempotency: IdempotencyKey
) -> PlanOut:
    """Once approved: an operation that an agent holds and that equals one of these is granted at once, each once."""

    async with units() as uow:

        async def create() -> PlanOut:
            row = await plans.submit(uow, requester, body.submitted())
            return await _shown(uow, plans, review, requester, row.id)

        return await idempotency.once(uow, requester, PlanOut, create)


@router.get("", summary="Plans, newest first; without a reviewer's role one's own")
async def list_plans(
    principal: SignedIn, review: Review, units: UnitsOfWork, paging: PagingQuery
) -> Page[ApprovalSummaryOut]:
    async with units.reading() as uow:
        views, cursor = await review.of_kind(uow, principal, Kind.PLAN, paging)
    return Page(items=[ApprovalSummaryOut.of(view) for view in views], next_cursor=cursor)


@router.get("/{plan_id}", summary="One plan and how far it is used, by id or short code", responses=problems(404))
async def show_plan(plan_id: str, principal: SignedIn, plans: Plans, review: Review, units: UnitsOfWork) -> PlanOut:
    async with units.reading() as uow:
        return await _shown(uow, plans, review, principal, plan_id)


async def _shown(
    uow: UnitOfWork, plans: PlanService, review: ReviewService, principal: Principal, reference: str
) -> PlanOut:
    view = await review.view(uow, principal, reference)
    if view is None or view.row.kind != Kind.PLAN:
        raise ApprovalNotFoundError(reference)
    return PlanOut.of_plan(view, await plans.uses(uow, view.row.id))
