"""The accounts that sessions have at targets; those that would not go away come first."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response

from control_plane.accounts.endpoints import STATES
from control_plane.accounts.repository import Filter
from control_plane.accounts.schemas import AccountOut
from control_plane.accounts.service import AccountService
from control_plane.kit.access import BROWSER, Permission, Principal, requires
from control_plane.kit.pagination import Paging, PagingQuery
from control_plane.kit.wiring import UnitsOfWork, provided
from control_plane.web.rendering import page
from control_plane.web.routes import PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Service = Annotated[AccountService, provided(AccountService)]
Viewer = Annotated[Principal, requires(Permission.SESSIONS, by=BROWSER)]
_MOST_STUCK = 200


@router.get("/accounts")
async def accounts(
    request: Request, _viewer: Viewer, service: Service, units: UnitsOfWork, paging: PagingQuery
) -> Response:
    async with units.reading() as uow:
        stuck, more = await service.listed(uow, Filter(STATES["stuck"]), Paging(_MOST_STUCK))
        rows, cursor = await service.listed(uow, Filter(STATES["open"]), paging)
    return page(
        request,
        "accounts.html",
        section="accounts",
        stuck=[AccountOut.of(row) for row in stuck],
        more_stuck=more is not None,
        items=[AccountOut.of(row) for row in rows],
        next_cursor=cursor,
    )
