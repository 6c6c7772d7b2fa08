"""What can go wrong, as nouns that carry an HTTP status, rendered as RFC 9457 problem+json.

A feature raises these or its own subclasses. The `detail` says what to do about it and never holds a
secret, the text of an operation or whether something that the caller may not see exists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

_log = structlog.get_logger(__name__)

PROBLEM_JSON = "application/problem+json"


class FieldProblem(BaseModel):
    """One thing wrong with what was sent, and where."""

    path: str = Field(description="JSON path", examples=["$.documents[2].spec.rules[0].effect"])
    message: str = Field(examples=["must be one of allow, hold, deny"])


class Problem(BaseModel):
    """RFC 9457, and the shape of every error of this API."""

    type: str = Field(examples=["urn:assentry:problem:not-found"])
    title: str = Field(examples=["Not found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["there is no target named orders"])
    errors: list[FieldProblem] = Field(default_factory=list)


class ProblemError(Exception):
    """The root of the errors that a caller sees. Subclasses set the three class variables."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"

    def __init__(
        self, detail: str, errors: Sequence[FieldProblem] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})


class InvalidError(ProblemError):
    status, code, title = 422, "invalid", "Not valid"


class UnauthenticatedError(ProblemError):
    status, code, title = 401, "unauthenticated", "Not signed in"


class ForbiddenError(ProblemError):
    status, code, title = 403, "forbidden", "Not permitted"


class NotFoundError(ProblemError):
    status, code, title = 404, "not-found", "Not found"


class ConflictError(ProblemError):
    status, code, title = 409, "conflict", "In conflict with what is there"


class PreconditionFailedError(ProblemError):
    status, code, title = 412, "precondition-failed", "Changed in the meantime"


class TooLargeError(ProblemError):
    status, code, title = 413, "too-large", "Too large"


class TooManyRequestsError(ProblemError):
    status, code, title = 429, "too-many-requests", "Too many requests"


class UnavailableError(ProblemError):
    status, code, title = 503, "unavailable", "Not available now"


def problem_response(
    status: int,
    code: str,
    title: str,
    detail: str,
    errors: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    body = Problem(type=f"urn:assentry:problem:{code}", title=title, status=status, detail=detail, errors=list(errors))
    return JSONResponse(body.model_dump(mode="json"), status, dict(headers or {}), media_type=PROBLEM_JSON)


def install_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, http_problem)
    app.add_exception_handler(Exception, _unexpected)


async def _problem(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ProblemError)  # noqa: S101 - registered for this type only
    return problem_response(error.status, error.code, error.title, error.detail, error.errors, error.headers)


async def _validation(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type only
    errors = [FieldProblem(path=_path(item["loc"]), message=str(item["msg"])) for item in error.errors()]
    return problem_response(422, "invalid", "Not valid", "the request is not valid, see errors", errors)


def _path(location: Sequence[str | int]) -> str:
    """('body', 'rules', 0, 'name') is $.rules[0].name; other places keep their name: query.limit."""
    place, *rest = location
    path = "$" if place == "body" else str(place)
    return path + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in rest)


async def http_problem(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type only
    title = str(error.detail)
    code = title.lower().replace(" ", "-")
    return problem_response(error.status_code, code, title, title, headers=error.headers)


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    _log.error("request failed", method=request.method, path=request.url.path, exc_info=error)
    return problem_response(500, "internal", "Internal error", "the control plane failed; its log says why")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: these statuses answer with a Problem."""
    content = {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": "Problem", "content": content} for status in statuses}
