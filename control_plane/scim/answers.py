"""Answers in SCIM's own shape, errors too (RFC 7644 §3.12), and a word in the audit log for what was refused."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

import msgspec
import structlog
from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import ValidationError
from scim2_models import Context, Error, ListResponse, Resource, ResponseParameters, SCIMException
from sqlalchemy.exc import IntegrityError
from starlette.exceptions import HTTPException

from control_plane.kit.errors import ProblemError
from control_plane.kit.wiring import part_of
from control_plane.scim.refusals import Refusals

SCIM_JSON: Final = "application/scim+json"
_READS: Final = ("GET", "HEAD")
_log = structlog.get_logger(__name__)

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class ScimJson(Response):
    media_type = SCIM_JSON

    def render(self, content: Any) -> bytes:
        return b"" if content is None else msgspec.json.encode(content)


class Refused(msgspec.Struct, frozen=True):
    status: int
    detail: str
    scim_type: str = ""
    cause: str = ""  # for the audit log, when it says more than the detail
    headers: Mapping[str, str] = {}

    def answer(self) -> Response:
        error = Error(status=self.status, scim_type=self.scim_type or None, detail=self.detail)
        return ScimJson(error.model_dump(), self.status, {"cache-control": "no-store", **self.headers})


class ScimRoute(APIRoute):
    """Whatever goes wrong below `/scim` is told as SCIM tells it."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def handling(request: Request) -> Response:
            try:
                response = await handle(request)
            except Exception as error:  # noqa: BLE001 - the outermost place that knows SCIM
                refused = _refused(error)
            else:
                response.headers["cache-control"] = "no-store"
                return response
            if request.method not in _READS or refused.status in (401, 403):
                await part_of(request.app, Refusals).tell(request, refused.status, refused.cause or refused.detail)
            return refused.answer()

        return handling


def _refused(error: Exception) -> Refused:
    match error:
        case SCIMException():
            return Refused(error.status, error.detail, error.scim_type, getattr(error, "cause", ""))
        case ValidationError():
            first = Error.from_validation_errors(error)[0]
            return Refused(first.status or 400, first.detail or "not valid", first.scim_type or "")
        case IntegrityError():
            return Refused(409, "somebody else has just pushed the same", "uniqueness")
        case ProblemError():
            return Refused(error.status, error.detail, headers=error.headers)
        case HTTPException():
            return Refused(error.status_code, str(error.detail), headers=error.headers or {})
    _log.error("a SCIM request failed", exc_info=error)
    return Refused(500, "the control plane failed; its log says why")


def resource(found: Resource[Any], context: Context, status: int = 200, *, selected: Any = None) -> Response:
    """`selected`: the ResponseParameters of the request."""
    meta = found.meta
    headers = {} if meta is None else {"etag": meta.version or "", "content-location": meta.location or ""}
    if status == 201 and meta is not None:
        headers["location"] = meta.location or ""
    return ScimJson(found.model_dump(scim_ctx=context, response_parameters=selected), status, headers)


def listed(resources: Sequence[Resource[Any]], *, total: int, start: int = 1, selected: Any = None) -> Response:
    shown = [
        one.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE, response_parameters=selected) for one in resources
    ]
    return ScimJson(
        {
            "schemas": [str(ListResponse.__schema__)],
            "totalResults": total,
            "startIndex": start,
            "itemsPerPage": len(shown),
            "Resources": shown,
        }
    )


def selection(model: type[Resource[Any]], sent: Mapping[str, Any]) -> ResponseParameters[Any]:
    """`attributes` and `excludedAttributes` of a request."""
    known = {name: sent[name] for name in ("attributes", "excludedAttributes") if sent.get(name)}
    shape: Any = ResponseParameters.__class_getitem__(model)
    parameters: ResponseParameters[Any] = shape.model_validate(known)
    return parameters
