"""`/v1/slack/interactions`: where Slack sends what people press, in HTTP mode. Nobody else gets anywhere here.

No credential of ours is involved: the request carries Slack's signature over its raw body, of the last five minutes,
and is taken once. Who pressed is found afterwards, and decides with their own permissions or not at all.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Final
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from control_plane.kit.access import open_to_all
from control_plane.kit.errors import (
    InvalidError,
    NotFoundError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
    problems,
)
from control_plane.kit.wiring import provided
from control_plane.slack.feature import SlackFeature
from control_plane.slack.interactions import Unreadable, read

LARGEST_BODY: Final = 1024 * 1024
_MOST_FIELDS: Final = 8
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {"type": "object", "properties": {"payload": {"type": "string"}}, "required": ["payload"]}
            }
        },
    }
}

router = APIRouter(prefix="/v1/slack", tags=["slack"], responses=problems(401, 404, 422))
Feature = Annotated[SlackFeature, provided(SlackFeature)]


@router.post(
    "/interactions",
    summary="What people press in Slack; signed by Slack",
    dependencies=[open_to_all("Slack signs it; who pressed is found by the configured mapping")],
    openapi_extra=_BODY,
)
async def interactions(request: Request, slack: Feature) -> Response:
    if slack.verifier is None or slack.answering is None:
        raise NotFoundError("Slack is not configured to send its interactions here")
    body = await _body(request)
    signature = request.headers.get("x-slack-signature", "")
    problem = slack.verifier.problem(body, request.headers.get("x-slack-request-timestamp", ""), signature)
    if problem:
        raise UnauthenticatedError(f"this is not Slack's: {problem}")
    interaction = read(_payload(body))
    if isinstance(interaction, Unreadable):
        raise InvalidError(interaction.why)
    try:
        answered = await slack.answering.answer(interaction, hashlib.sha256(signature.encode()).hexdigest())
    except TimeoutError as error:
        raise UnavailableError("it could not be taken in time; press again") from error
    if answered.replayed:
        raise UnauthenticatedError("this is not Slack's: its signature was used before")
    return JSONResponse(dict(answered.body)) if answered.body else Response()


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise TooLargeError(f"a body of Slack's has at most {LARGEST_BODY} bytes")
    return bytes(body)


def _payload(body: bytes) -> bytes:
    try:
        found = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError as error:
        raise InvalidError("the body is not a form of Slack's") from error
    payloads = found.get("payload", [])
    if len(payloads) != 1:
        raise InvalidError("the body has not exactly one payload")
    return payloads[0].encode()
