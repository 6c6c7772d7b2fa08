"""The page where a person confirms that the command line signs in as them (RFC 8628 §3.3).

The code of the link is only filled in: nothing is looked up or decided before the person has pressed a button, and the
button that decides stands beside from where and since when somebody asks (§5.4).
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Form, Query, Request, Response

from control_plane.kit.access import BROWSER, Permission, Principal, requires
from control_plane.kit.errors import ProblemError
from control_plane.kit.http import client_address
from control_plane.kit.wiring import provided
from control_plane.sign_on.device import DeviceSignIns
from control_plane.web.rendering import page
from control_plane.web.routes import PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Service = Annotated[DeviceSignIns, provided(DeviceSignIns)]
Person = Annotated[Principal, requires(Permission.SELF, by=BROWSER)]
Code = Annotated[str, Form(max_length=64)]


@router.get("/device")
async def enter(request: Request, _person: Person, code: Annotated[str, Query(max_length=64)] = "") -> Response:
    return page(request, "device.html", code=code, problem="")


@router.post("/device")
async def look(request: Request, person: Person, service: Service, code: Code) -> Response:
    try:
        asked = await service.look(person, code)
    except ProblemError as error:
        return page(request, "device.html", error.status, code=code, problem=error.detail)
    elsewhere = asked.client_address != client_address(request)
    return page(request, "device_confirm.html", asked=asked, elsewhere=elsewhere)


@router.post("/device/decision")
async def decide(
    request: Request,
    person: Person,
    service: Service,
    code: Code,
    decision: Annotated[Literal["confirm", "refuse"], Form()],
) -> Response:
    try:
        await service.decide(person, code, confirm=decision == "confirm")
    except ProblemError as error:
        return page(request, "device.html", error.status, code=code, problem=error.detail)
    return page(request, "device_decided.html", confirmed=decision == "confirm")
