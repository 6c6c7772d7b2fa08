"""Who stands in for whom: hand one's place as a reviewer over, see who did, take it back."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from control_plane.approvals.act_schemas import DelegationOut
from control_plane.approvals.delegations import LONGEST, Delegations, Given
from control_plane.kit.access import BROWSER, Permission, Principal, requires
from control_plane.kit.pagination import Paging
from control_plane.kit.wiring import UnitsOfWork, provided
from control_plane.web.rendering import page
from control_plane.web.routes import SEE_OTHER, PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Service = Annotated[Delegations, provided(Delegations)]
Person = Annotated[Principal, requires(Permission.SELF, by=BROWSER)]
Reviewer = Annotated[Principal, requires(Permission.REVIEW, by=BROWSER)]
Names = Annotated[str, Form(max_length=2000, pattern=r"^[^\x00]*$")]


@router.get("/delegations")
async def delegations(request: Request, person: Person, service: Service, units: UnitsOfWork) -> Response:
    async with units.reading() as uow:
        rows, _ = await service.listed(uow, person, Paging(limit=100), everybodys=True, over=False)
        items = [DelegationOut.of(row, uow.now) for row in rows]
    may_give = person.may(Permission.REVIEW)
    return page(
        request, "delegations.html", section="delegations", items=items, may_give=may_give, longest=LONGEST.days
    )


@router.post("/delegations")
async def delegate(
    reviewer: Reviewer,
    service: Service,
    units: UnitsOfWork,
    delegate: Annotated[str, Form(min_length=1, max_length=64)],
    hours: Annotated[int, Form(ge=1, le=24 * LONGEST.days)],
    chains: Names = "",
    environments: Names = "",
    note: Names = "",
) -> Response:
    """Names of chains and environments are separated by commas or blanks; none: all of them."""
    async with units() as uow:
        until = uow.now + timedelta(hours=hours)
        await service.give(uow, reviewer, Given(delegate, until, _listed(chains), _listed(environments), note.strip()))
    return RedirectResponse("/delegations", SEE_OTHER)


@router.post("/delegations/{delegation_id}/revoke")
async def revoke(delegation_id: str, person: Person, service: Service, units: UnitsOfWork) -> Response:
    async with units() as uow:
        await service.take_back(uow, person, delegation_id)
    return RedirectResponse("/delegations", SEE_OTHER)


def _listed(names: str) -> tuple[str, ...]:
    return tuple(names.replace(",", " ").split())
