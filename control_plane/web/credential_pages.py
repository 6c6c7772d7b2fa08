"""Which account an agent uses at each target, how old it is, and rotating it now."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from control_plane.kit.access import BROWSER, Permission, Principal, requires
from control_plane.kit.pagination import PagingQuery
from control_plane.kit.wiring import UnitsOfWork, provided
from control_plane.rotation.domain import Cause
from control_plane.rotation.report import CredentialReport
from control_plane.rotation.schemas import CredentialLineOut, RotationOut
from control_plane.rotation.service import RotationService
from control_plane.web.rendering import page
from control_plane.web.routes import SEE_OTHER, PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Service = Annotated[RotationService, provided(RotationService)]
Report = Annotated[CredentialReport, provided(CredentialReport)]
Reader = Annotated[Principal, requires(Permission.AUDIT, by=BROWSER)]
Admin = Annotated[Principal, requires(Permission.ADMIN, by=BROWSER)]


@router.get("/credentials")
async def credentials(request: Request, reader: Reader, report: Report, units: UnitsOfWork) -> Response:
    async with units.reading() as uow:
        lines = [CredentialLineOut.of(line) for line in await report.lines(uow)]
    may_rotate = reader.may(Permission.ADMIN)
    return page(request, "credentials.html", section="credentials", lines=lines, may_rotate=may_rotate)


@router.get("/credentials/{target}")
async def rotations(
    request: Request, target: str, _reader: Reader, service: Service, units: UnitsOfWork, paging: PagingQuery
) -> Response:
    async with units.reading() as uow:
        rows, cursor = await service.history(uow, target, paging)
    items = [RotationOut.of(row) for row in rows]
    return page(request, "rotations.html", section="credentials", target=target, items=items, next_cursor=cursor)


@router.post("/credentials/{target}/rotate")
async def rotate(target: str, admin: Admin, service: Service, units: UnitsOfWork) -> Response:
    async with units() as uow:
        row = await service.begin(uow, admin.actor, target, Cause.DEMAND)
        rotation_id = row.id
    service.start(rotation_id, target)
    return RedirectResponse(f"/credentials/{target}", SEE_OTHER)
