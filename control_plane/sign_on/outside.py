"""HTTP to providers outside: https only (plain on loopback), no redirects, bounded in time and size. Never in a
transaction.

A redirect would take a request with a secret in it where nobody meant it to go; a body without an end would take the
memory of the control plane.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

MOST_BYTES: Final = 1024 * 1024
TOTAL_SECONDS: Final = 20.0  # of one question, however slowly the answer drips
_TIMES: Final = httpx.Timeout(10.0, connect=5.0)


class OutsideError(Exception):
    """`args[0]` says what was asked and what is wrong with the answer; no secret."""


class TooMuchError(httpx.TransportError):
    """The answer is longer than any that is meant."""


def allowed(url: str) -> bool:
    """Whether this may be asked: https, or http on this machine; without a name or password in it."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    if not host or "@" in parts.netloc or not url.isprintable() or " " in url:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _loopback(host))


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class BoundedTransport(httpx.AsyncBaseTransport):
    """Refuses what may not be asked, and an answer beyond the limit."""

    def __init__(self, inner: httpx.AsyncBaseTransport | None = None) -> None:
        self._inner = inner or httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not allowed(str(request.url)):
            raise httpx.UnsupportedProtocol("only https is asked, or http on loopback", request=request)
        request.headers["accept-encoding"] = "identity"  # what is counted is what is kept
        answer = await self._inner.handle_async_request(request)
        if answer.headers.get("content-encoding", "identity") != "identity":
            await answer.aclose()
            raise TooMuchError("the answer is packed, which was not asked for", request=request)
        answer.stream = _Bounded(answer.stream)
        return answer

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Bounded(httpx.AsyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        count = 0
        async for chunk in self._stream:
            count += len(chunk)
            if count > MOST_BYTES:
                raise TooMuchError(f"the answer has more than {MOST_BYTES} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def settings() -> dict[str, Any]:
    """For a client of httpx, or one that is made of it."""
    return {"transport": BoundedTransport(), "timeout": _TIMES, "follow_redirects": False, "trust_env": False}


async def fetch(url: str, headers: dict[str, str] | None = None) -> httpx.Response:
    """A GET that answered with 200. Raises OutsideError."""
    try:
        async with asyncio.timeout(TOTAL_SECONDS), httpx.AsyncClient(**settings()) as client:
            answer = await client.get(url, headers={"accept": "application/json", **(headers or {})})
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise OutsideError(f"{url} cannot be asked: {type(error).__name__}: {error}") from error
    if answer.status_code != httpx.codes.OK:
        raise OutsideError(f"{url} answered {answer.status_code}")
    return answer


async def fetch_object(url: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """A JSON object. Raises OutsideError."""
    answer = await fetch(url, headers)
    try:
        found = answer.json()
    except ValueError as error:
        raise OutsideError(f"{url} answered what is no JSON") from error
    if not isinstance(found, dict):
        raise OutsideError(f"{url} answered what is no JSON object")
    return found
