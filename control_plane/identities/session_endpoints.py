"""`/v1/session`: sign in, see who one is, sign out, change one's password."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response

from control_plane.identities.cookies import Cookies
from control_plane.identities.reauthentication import Reauthentication
from control_plane.identities.schemas import (
    PasswordChange,
    PrincipalOut,
    ReauthenticatedOut,
    ReauthenticateIn,
    SignInIn,
    SignInOut,
)
from control_plane.identities.sign_ins import SignInService
from control_plane.kit.access import SIGN_INS, Permission, Principal, SignedIn, open_to_all, requires
from control_plane.kit.errors import problems
from control_plane.kit.http import client_address
from control_plane.kit.secret import Secret
from control_plane.kit.wiring import UnitsOfWork, provided

router = APIRouter(prefix="/v1/session", tags=["session"], responses=problems(401, 422))
Service = Annotated[SignInService, provided(SignInService)]
Again = Annotated[Reauthentication, provided(Reauthentication)]
CookiePart = Annotated[Cookies, provided(Cookies)]
Person = Annotated[Principal, requires(Permission.SELF, by=SIGN_INS)]


@router.post(
    "",
    summary="Sign in",
    responses=problems(429, 503),
    dependencies=[open_to_all("this is how one gets a credential")],
)
async def sign_in(
    body: SignInIn, service: Service, cookies: CookiePart, request: Request, response: Response
) -> SignInOut:
    password = Secret(body.password.get_secret_value())
    opened = await service.sign_in(body.name, password, body.channel, client_address(request))
    browser = body.channel == "console"
    if browser:
        cookies.set(response, opened)
    response.headers["cache-control"] = "no-store"
    return SignInOut(
        name=opened.identity.name,
        token=None if browser else opened.token.reveal(),
        csrf_token=opened.csrf if browser else None,
        expires_at=opened.expires_at,
    )


@router.get("", summary="Who is signed in")
async def who(principal: SignedIn) -> PrincipalOut:
    return PrincipalOut.of(principal)


@router.delete("", status_code=204, summary="Sign out", responses=problems(403))
async def sign_out(
    person: Person, service: Service, units: UnitsOfWork, cookies: CookiePart, response: Response
) -> None:
    async with units() as uow:
        await service.sign_out(uow, person)
    cookies.clear(response)


@router.post(
    "/reauthenticate",
    summary="Prove again who one is, for decisions that need a fresh sign-in; renews this sign-in only",
    responses=problems(403, 429, 503),
)
async def reauthenticate(person: Person, body: ReauthenticateIn, again: Again) -> ReauthenticatedOut:
    return ReauthenticatedOut(authenticated_at=await again.renew(person, body.method, body.proof))


@router.put(
    "/password",
    status_code=204,
    summary="Change one's own password; every other sign-in ends",
    responses=problems(403, 429, 503),
)
async def change_password(person: Person, body: PasswordChange, service: Service) -> None:
    old, new = Secret(body.old.get_secret_value()), Secret(body.new.get_secret_value())
    await service.change_password(person, old, new)
