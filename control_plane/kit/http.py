"""What every HTTP request goes through before the application: limits, a request id, headers, one log line.

Plain ASGI, so streams are not buffered. The log line has the path without its query, and no header or body.
"""

from __future__ import annotations

import re
import time
from typing import Any

import structlog
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from control_plane.kit.errors import problem_response
from control_plane.kit.ids import random_text

LARGEST_BODY = 4 * 1024 * 1024
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}\Z")
_log = structlog.get_logger(__name__)

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Limits:
    """Refuses a body beyond the limit, whatever its Content-Length says, and NUL in addresses."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            await _refuse(scope, receive, send, 400, "bad-request", "an address holds no NUL")
            return
        length = _header(scope, b"content-length")
        if length.isdigit() and int(length) > LARGEST_BODY:
            await _refuse(scope, receive, send, 413, "too-large", f"a body has at most {LARGEST_BODY} bytes")
            return
        await self._counted(scope, receive, send)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        received = 0

        async def counting() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > LARGEST_BODY:
                raise HTTPException(413, f"a body has at most {LARGEST_BODY} bytes")  # FastAPI lets this one through
            return message

        await self._app(scope, counting, send)


class RequestLog:
    """Gives every request an id (the proxy's, when it sent a plausible one), security headers and a log line."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self._app = app
        self._headers = dict(_HEADERS)
        if https:
            self._headers["strict-transport-security"] = "max-age=31536000; includeSubDomains"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        started = time.monotonic()
        status = 0

        async def with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add(MutableHeaders(scope=message), scope, request_id)
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, with_headers)
            finally:
                milliseconds = round((time.monotonic() - started) * 1000, 1)
                _log.info("request", method=scope["method"], path=scope["path"], status=status, ms=milliseconds)

    def _add(self, headers: MutableHeaders, scope: Scope, request_id: str) -> None:
        headers["x-request-id"] = request_id
        for name, value in self._headers.items():
            headers.setdefault(name, value)
        if scope["path"].startswith("/v1/"):
            headers.setdefault("cache-control", "no-store")


def _request_id(scope: Scope) -> str:
    sent = _header(scope, b"x-request-id")
    return sent.decode() if _REQUEST_ID.match(sent) else random_text(20)


def _header(scope: Scope, name: bytes) -> bytes:
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    return next((value for key, value in headers if key == name), b"")


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, code: str, detail: str) -> None:
    response: Any = problem_response(status, code, code.replace("-", " ").capitalize(), detail)
    await response(scope, receive, send)


def client_address(request: Request) -> str:
    """The host that asks, as the server knows it; empty when it does not."""
    return request.client.host if request.client is not None else ""
