"""`/v1/device`: the command line signs in by a browser (RFC 8628). Forms in, JSON out, errors as RFC 6749 §5.2 says."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from control_plane.kit.access import open_to_all
from control_plane.kit.errors import problems
from control_plane.kit.http import client_address
from control_plane.kit.wiring import provided
from control_plane.sign_on.device import DeviceSignIns
from control_plane.sign_on.device_codes import Begun, NotYet, Opened

CLIENT_ID = "assentry-cli"
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"
_DESCRIPTIONS = {
    "invalid_client": f"the client_id is {CLIENT_ID}",
    "unsupported_grant_type": f"the grant_type is {GRANT_TYPE}",
    NotYet.PENDING: "nobody has confirmed it yet",
    NotYet.SLOW_DOWN: "wait five seconds longer between two polls from now on",
    NotYet.DENIED: "the sign-in was refused",
    NotYet.EXPIRED: "the codes are too old; begin anew",
    NotYet.UNKNOWN: "this code is not, or not any more, one to sign in with",
}

router = APIRouter(prefix="/v1/device", tags=["session"], responses=problems(422))
Service = Annotated[DeviceSignIns, provided(DeviceSignIns)]
ClientId = Annotated[str, Form(max_length=64, description=f"always {CLIENT_ID}")]


class DeviceOut(BaseModel):
    device_code: str = Field(description="a secret of whoever asks", examples=["assentry_d_…"])
    user_code: str = Field(description="what the person enters", examples=["WDJB-MJHT"])
    verification_uri: str = Field(description="where", examples=["https://assentry.example.org/device"])
    verification_uri_complete: str = Field(examples=["https://assentry.example.org/device?code=WDJB-MJHT"])
    expires_in: int = Field(description="seconds", examples=[600])
    interval: int = Field(description="seconds between two polls, at least", examples=[5])

    @classmethod
    def of(cls, begun: Begun) -> DeviceOut:
        return cls(
            device_code=begun.device_code.reveal(),
            user_code=begun.user_code,
            verification_uri=begun.verification_uri,
            verification_uri_complete=begun.complete_uri,
            expires_in=begun.lifetime_seconds,
            interval=begun.pause_seconds,
        )


class DeviceTokenOut(BaseModel):
    access_token: str = Field(description="for `Authorization: Bearer`", examples=["assentry_s_…"])
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the word of RFC 6750
    expires_in: int = Field(description="seconds", examples=[43_200])
    expires_at: datetime
    name: str = Field(description="who signed in", examples=["ada"])

    @classmethod
    def of(cls, opened: Opened) -> DeviceTokenOut:
        sign_in = opened.sign_in
        return cls(
            access_token=sign_in.token.reveal(),
            expires_in=opened.seconds,
            expires_at=sign_in.expires_at,
            name=sign_in.identity.name,
        )


class OAuthErrorOut(BaseModel):
    error: str = Field(examples=["authorization_pending"])
    error_description: str = Field(examples=["nobody has confirmed it yet"])


_REFUSALS: dict[int | str, dict[str, Any]] = {400: {"model": OAuthErrorOut, "description": "Not, or not yet"}}


@router.post(
    "",
    summary="Ask for a sign-in that a person confirms in a browser",
    responses={**_REFUSALS, **problems(403, 404, 429, 503)},
    response_model=DeviceOut,
    dependencies=[open_to_all("this is how one gets a credential")],
)
async def begin(
    request: Request,
    service: Service,
    client_id: ClientId = "",
    provider: Annotated[
        str, Form(max_length=64, description="confirm it there, by its own device flow; empty: in this console")
    ] = "",
) -> Any:
    if client_id != CLIENT_ID:
        return _refused("invalid_client")
    address = client_address(request)
    return DeviceOut.of(await (service.begin_at(provider, address) if provider else service.begin(address)))


@router.post(
    "/token",
    summary="Whether the sign-in is confirmed; then, once, its token",
    responses={**_REFUSALS, **problems(403, 404)},
    response_model=DeviceTokenOut,
    dependencies=[open_to_all("the device code is what it is asked with")],
)
async def poll(
    request: Request,
    service: Service,
    client_id: ClientId = "",
    grant_type: Annotated[str, Form(max_length=128, description=f"always {GRANT_TYPE}")] = "",
    device_code: Annotated[str, Form(max_length=256)] = "",
) -> Any:
    if client_id != CLIENT_ID:
        return _refused("invalid_client")
    if grant_type != GRANT_TYPE:
        return _refused("unsupported_grant_type")
    answer = await service.poll(device_code, client_address(request))
    if isinstance(answer, NotYet):
        return _refused(answer)
    return DeviceTokenOut.of(answer)


def _refused(error: str) -> JSONResponse:
    return JSONResponse({"error": str(error), "error_description": _DESCRIPTIONS[error]}, 400)
