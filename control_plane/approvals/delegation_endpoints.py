"""`/v1/delegations`: hand one's right to review to another reviewer until an end, see who did, take it back."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from control_plane.approvals.act_schemas import DelegationIn, DelegationOut
from control_plane.approvals.delegations import Delegations
from control_plane.kit.access import SIGN_INS, Permission, Principal, requires
from control_plane.kit.errors import problems
from control_plane.kit.idempotency import IdempotencyKey
from control_plane.kit.pagination import Page, PagingQuery
from control_plane.kit.wiring import UnitsOfWork, provided

router = APIRouter(prefix="/v1/delegations", tags=["delegations"], responses=problems(401, 403, 422))
Service = Annotated[Delegations, provided(Delegations)]
Person = Annotated[Principal, requires(Permission.SELF, by=SIGN_INS)]
Reviewer = Annotated[Principal, requires(Permission.REVIEW, by=SIGN_INS)]
IdPath = Annotated[str, Path(pattern="^dlg_[a-z2-7]{20}$", examples=["dlg_3xk2cqz7q5n4h6mjv2ab"])]


@router.get("", summary="Delegations, newest first: one's own; for reviewers, auditors and admins everybody's")
async def list_delegations(
    person: Person,
    service: Service,
    units: UnitsOfWork,
    paging: PagingQuery,
    mine: Annotated[bool, Query(description="only those that I gave or was given")] = False,  # noqa: FBT002 - a query parameter
    over: Annotated[bool, Query(description="those that are over or were taken back, too")] = False,  # noqa: FBT002 - a query parameter
) -> Page[DelegationOut]:
    async with units.reading() as uow:
        rows, cursor = await service.listed(uow, person, paging, everybodys=not mine, over=over)
        return Page(items=[DelegationOut.of(row, uow.now) for row in rows], next_cursor=cursor)


@router.post("", status_code=201, summary="Hand one's place as a reviewer to another reviewer", responses=problems(409))
async def delegate(
    reviewer: Reviewer, body: DelegationIn, service: Service, units: UnitsOfWork, idempotency: IdempotencyKey
) -> DelegationOut:
    async with units() as uow:

        async def create() -> DelegationOut:
            return DelegationOut.of(await service.give(uow, reviewer, body.given()), uow.now)

        return await idempotency.once(uow, reviewer, DelegationOut, create)


@router.get("/{id}", summary="One delegation", responses=problems(404))
async def show_delegation(person: Person, id: IdPath, service: Service, units: UnitsOfWork) -> DelegationOut:  # noqa: A002 - the API's name
    async with units.reading() as uow:
        return DelegationOut.of(await service.one(uow, person, id), uow.now)


@router.delete(
    "/{id}",
    status_code=204,
    summary="Take it back: what was agreed under it on open requests no longer counts",
    responses=problems(404, 409),
)
async def revoke_delegation(person: Person, id: IdPath, service: Service, units: UnitsOfWork) -> None:  # noqa: A002 - the API's name
    async with units() as uow:
        await service.take_back(uow, person, id)
