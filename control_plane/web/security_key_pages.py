"""One's own security keys: which there are, adding one, removing one. The script speaks with the key itself."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import RedirectResponse

from control_plane.kit.access import BROWSER, Permission, Principal, requires
from control_plane.kit.wiring import UnitsOfWork, provided
from control_plane.security_keys.errors import NoNameError
from control_plane.security_keys.schemas import SecurityKeyOut
from control_plane.security_keys.service import SecurityKeys
from control_plane.sign_on.proving import Proving
from control_plane.web.rendering import page
from control_plane.web.routes import SEE_OTHER, PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Service = Annotated[SecurityKeys, provided(SecurityKeys)]
Offered = Annotated[Proving, provided(Proving)]
Person = Annotated[Principal, requires(Permission.SELF, by=BROWSER)]


@router.get("/security-keys")
async def keys(request: Request, person: Person, service: Service, proving: Offered, units: UnitsOfWork) -> Response:
    async with units.reading() as uow:
        found = [SecurityKeyOut.of(row) for row in await service.of(uow, person)]
        ways = await proving.ways(uow, person)
        may_manage = service.may_manage(uow.now, person, has_keys=bool(found))
    values: dict[str, Any] = {"items": found, "ways": ways, "may_manage": may_manage, "problem": _problem(service)}
    return page(request, "security_keys.html", section="security-keys", **values)


@router.post("/security-keys/{key_id}/remove")
async def remove(
    key_id: Annotated[str, Path(max_length=64)], person: Person, service: Service, units: UnitsOfWork
) -> Response:
    async with units() as uow:
        await service.remove(uow, person, key_id)
    return RedirectResponse("/security-keys", SEE_OTHER)


def _problem(service: SecurityKeys) -> str:
    """Why no key can be used at this control plane. Empty: they can."""
    try:
        _ = service.site
    except NoNameError as error:
        return error.detail
    return ""
