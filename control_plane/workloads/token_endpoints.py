"""`POST /v1/token`: token exchange (RFC 8693) and client credentials (RFC 6749 §4.4), for workloads."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from control_plane.kit.access import open_to_all
from control_plane.kit.clock import milliseconds
from control_plane.kit.http import client_address
from control_plane.kit.wiring import UnitsOfWork, provided
from control_plane.workloads.asking import ACCESS_TOKEN, ASSERTION, CLIENT, EXCHANGE, JWT, Asked, asked_of
from control_plane.workloads.errors import Code, RefusedError
from control_plane.workloads.exchange import Granted, TokenService

router = APIRouter(prefix="/v1", tags=["workloads"])
Service = Annotated[TokenService, provided(TokenService)]
_FORM: Final = "application/x-www-form-urlencoded"
_NOT_KEPT: Final = {"cache-control": "no-store", "pragma": "no-cache"}
_STATUS: Final = {"invalid_client": 401, "slow_down": 429, "temporarily_unavailable": 503}


class GrantedOut(BaseModel):
    access_token: str = Field(description="the password for the targets, or the bearer for this API")
    issued_token_type: str = Field(examples=[ACCESS_TOKEN, JWT])
    token_type: str = Field(description="`Bearer`: for this API; `N_A`: for targets", examples=["Bearer"])
    expires_in: int = Field(description="seconds", examples=[900])
    credential_id: str | None = Field(default=None, description="of a token for targets, to revoke it by")


class RefusedOut(BaseModel):
    """RFC 6749 §5.2."""

    error: Code
    error_description: str


def _form_schema() -> dict[str, Any]:
    texts = {
        "grant_type": f"{EXCHANGE} or {CLIENT}",
        "subject_token": "the platform's own token of the workload; or an acting token, by which it acts for somebody",
        "subject_token_type": JWT,
        "actor_token": "the platform's token of who acts, when that is not the subject",
        "actor_token_type": JWT,
        "requested_token_type": ACCESS_TOKEN,
        "client_id": "the machine's name",
        "client_assertion_type": ASSERTION,
        "client_assertion": "a JWT signed with a key that is registered for the machine (RFC 7523)",
        "client_secret": "or a secret of the machine, here or in the Authorization header",
        "trust": "which trust is meant, when several take the token",
    }
    properties: dict[str, Any] = {name: {"type": "string", "description": text} for name, text in texts.items()}
    properties["audience"] = {
        "type": "array",
        "items": {"type": "string"},
        "description": "names of targets, each in a parameter of its own; none: a bearer for this API",
    }
    schema = {"type": "object", "required": ["grant_type"], "properties": properties}
    return {"requestBody": {"required": True, "content": {_FORM: {"schema": schema}}}}


@router.post(
    "/token",
    summary="Exchange a workload's own token, or a machine's key or secret, for a short-lived one",
    response_model=GrantedOut,
    response_model_exclude_none=True,
    responses={status: {"model": RefusedOut} for status in (400, 401, 429, 503)},
    openapi_extra=_form_schema(),
    dependencies=[open_to_all("what is sent proves who asks")],
)
async def token(request: Request, service: Service, units: UnitsOfWork) -> JSONResponse:
    try:
        granted = await service.answer(await _asked(request, service))
    except RefusedError as refused:
        return _refusal(refused)
    async with units.reading() as uow:
        now = milliseconds(uow.now)
    out = GrantedOut(
        access_token=granted.token.reveal(),
        issued_token_type=JWT if granted.for_targets else ACCESS_TOKEN,
        token_type="N_A" if granted.for_targets else "Bearer",
        expires_in=_seconds(granted, now),
        credential_id=granted.credential_id or None,
    )
    return JSONResponse(out.model_dump(exclude_none=True), headers=_NOT_KEPT)


async def _asked(request: Request, service: TokenService) -> Asked:
    address = client_address(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise RefusedError("invalid_request", f"the body is {_FORM}")
    try:
        return asked_of(await request.body(), request.headers.get("authorization", ""), address)
    except RefusedError as refused:
        if refused.code == "invalid_client":
            await service.refused(refused, address)
        raise


def _seconds(granted: Granted, now_ms: int) -> int:
    return max(0, (milliseconds(granted.expires_at) - now_ms) // 1000)


def _refusal(refused: RefusedError) -> JSONResponse:
    headers = dict(_NOT_KEPT)
    if refused.code == "invalid_client":
        headers["www-authenticate"] = 'Basic realm="assentry"'
    if refused.retry_after:
        headers["retry-after"] = str(refused.retry_after)
    out = RefusedOut(error=refused.code, error_description=refused.told)
    return JSONResponse(out.model_dump(), _STATUS.get(refused.code, 400), headers)
