"""Sign in and out of the console."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from control_plane.identities.sign_ins import OpenedSignIn, RequestAuthenticator, SignInService
from control_plane.kit.access import Permission, Principal, open_to_all, requires
from control_plane.kit.errors import ProblemError
from control_plane.kit.secret import Secret
from control_plane.kit.wiring import UnitsOfWork, provided
from control_plane.web.rendering import page
from control_plane.web.routes import SEE_OTHER, PageRoute, local_path

router = APIRouter(route_class=PageRoute, include_in_schema=False)
SignIns = Annotated[SignInService, provided(SignInService)]


@router.get("/sign-in", dependencies=[open_to_all("whoever is to sign in is not signed in yet")])
async def sign_in_form(request: Request, next: str = "/") -> Response:  # noqa: A002 - the query's usual name
    return page(request, "sign_in.html", next=local_path(next), name="", problem="")


@router.post("/sign-in", dependencies=[open_to_all("whoever is to sign in is not signed in yet")])
async def sign_in(
    request: Request,
    sign_ins: SignIns,
    name: Annotated[str, Form(max_length=255)],
    password: Annotated[str, Form(max_length=1024)],
    next: Annotated[str, Form(max_length=2000)] = "/",  # noqa: A002 - the form's usual name
) -> Response:
    try:
        opened = await sign_ins.sign_in(name, Secret(password), "console")
    except ProblemError as error:
        return page(request, "sign_in.html", error.status, next=local_path(next), name=name, problem=error.detail)
    return signed_in(request, opened, local_path(next))


@router.post("/sign-out")
async def sign_out(
    request: Request, principal: Annotated[Principal, requires(Permission.SELF)], sign_ins: SignIns, units: UnitsOfWork
) -> Response:
    async with units() as uow:
        await sign_ins.sign_out(uow, principal)
    answer = RedirectResponse("/sign-in", SEE_OTHER)
    answer.delete_cookie(RequestAuthenticator.cookie_of(request), path="/")
    return answer
