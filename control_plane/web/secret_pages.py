"""The secrets that are kept sealed: what is known about them, a form that writes one, and their wrapping keys.

A value comes in by the form and is on no page, not even on the one that says what was wrong with it.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import SecretStr

from control_plane.kit.access import BROWSER, Permission, Principal, requires
from control_plane.kit.names import PATTERN
from control_plane.kit.pagination import PagingQuery
from control_plane.kit.secret import Secret
from control_plane.kit.wiring import UnitsOfWork, provided
from control_plane.secrets.rewrapping import Rewrapping
from control_plane.secrets.schemas import SealingOut, SecretOut
from control_plane.secrets.service import MOST_BYTES, SecretService
from control_plane.web.rendering import page
from control_plane.web.routes import SEE_OTHER, PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Service = Annotated[SecretService, provided(SecretService)]
Exchange = Annotated[Rewrapping, provided(Rewrapping)]
Keeper = Annotated[Principal, requires(Permission.SECRETS, by=BROWSER)]


@router.get("/secrets")
async def secrets(
    request: Request, _keeper: Keeper, service: Service, exchange: Exchange, units: UnitsOfWork, paging: PagingQuery
) -> Response:
    async with units.reading() as uow:
        found, cursor = await service.listed(uow, paging)
        sealing = SealingOut.of(await exchange.status(uow))
    return page(
        request,
        "secrets.html",
        section="secrets",
        items=[SecretOut.of(one) for one in found],
        next_cursor=cursor,
        sealing=sealing,
        most=MOST_BYTES,
    )


@router.post("/secrets")
async def write(
    keeper: Keeper,
    service: Service,
    name: Annotated[str, Form(pattern=PATTERN, max_length=63)],
    value: Annotated[SecretStr, Form(min_length=1, max_length=MOST_BYTES)],
    replace: Annotated[str, Form(max_length=8)] = "",
) -> Response:
    """Without `replace` only a secret that is not there yet is written."""
    await service.put(keeper, name, Secret(value.get_secret_value()), "*" if replace else None)
    return RedirectResponse("/secrets", SEE_OTHER)


@router.post("/secrets/rewrap")
async def rewrap(keeper: Keeper, exchange: Exchange, units: UnitsOfWork) -> Response:
    async with units() as uow:
        await exchange.ask(uow, keeper.actor)
    return RedirectResponse("/secrets", SEE_OTHER)
