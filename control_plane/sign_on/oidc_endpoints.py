"""`/sign-in/oidc/{provider}/backchannel-logout`: where a provider says that somebody has signed out there.

Back-Channel Logout 1.0 §2.8: 200 when the sign-ins are over, 400 for whatever was not accepted; never stored.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import JSONResponse

from control_plane.kit.access import open_to_all
from control_plane.kit.errors import problems
from control_plane.kit.http import client_address
from control_plane.kit.wiring import provided
from control_plane.sign_on.oidc_logout import LogoutRefusedError, OidcLogout
from control_plane.sign_on.oidc_tokens import LONGEST

router = APIRouter(tags=["session"])
Logout = Annotated[OidcLogout, provided(OidcLogout)]
_JSON: dict[str, dict[str, str]] = {"application/json": {}}
_NOT_STORED = {"cache-control": "no-store"}


@router.post(
    "/sign-in/oidc/{provider}/backchannel-logout",
    summary="An identity provider tells that somebody has signed out there",
    responses={**problems(422), 400: {"description": "The token was not accepted", "content": _JSON}},
    dependencies=[open_to_all("the provider's signature is what counts")],
)
async def backchannel_logout(
    request: Request,
    logout: Logout,
    provider: Annotated[str, Path(max_length=64)],
    logout_token: Annotated[str, Form(max_length=LONGEST)],
) -> JSONResponse:
    try:
        await logout.back_channel(provider, logout_token, client_address(request))
    except LogoutRefusedError:
        told = {"error": "invalid_request", "error_description": "the logout token was not accepted"}
        return JSONResponse(told, 400, _NOT_STORED)
    return JSONResponse({}, headers=_NOT_STORED)
