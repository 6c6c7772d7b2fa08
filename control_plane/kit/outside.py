"""HTTP to the outside: https only (plain on loopback), no redirects, no proxy, bounded in time and size. Never in a
transaction.

A redirect would take a request with a secret in it where nobody meant it to go; a body without an end would take the
memory of the control plane.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

MOST_BYTES: Final = 1024 * 1024
TOTAL_SECONDS: Final = 10.0  # of one question, however slowly the answer drips
_TIMES: Final = httpx.Timeout(10.0, connect=5.0)


class OutsideError(Exception):
    """`args[0]` says what was asked and what is wrong with the answer; no secret."""


class TooMuchError(httpx.TransportError):
    """The answer is longer than any that is meant."""


def allowed(url: str) -> bool:
    """Whether this may be asked: https, or http on this machine; without a name or password in it."""
    return not _problem(url)


def address_problem(url: str) -> str:
    """Why nothing is fetched from there, for whoever wrote it. Empty: it may be."""
    return f"{url!r} carries a fragment" if "#" in url else _problem(url)


def _problem(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return f"{url!r} is no URL"
    if parts.scheme not in ("https", "http") or not host:
        return f"{url!r} does not begin with https:// and a host"
    if "@" in parts.netloc or not url.isprintable() or " " in url:
        return f"{url!r} carries a password, or what no address has in it"
    return f"{url!r} is not https" if parts.scheme == "http" and not _loopback(host) else ""


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class BoundedTransport(httpx.AsyncBaseTransport):
    """Refuses what may not be asked, and an answer beyond the limit."""

    def __init__(self, inner: httpx.AsyncBaseTransport, most: int) -> None:
        self._inner = inner
        self._most = most

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if problem := _problem(str(request.url)):
            raise httpx.UnsupportedProtocol(problem, request=request)
        request.headers["accept-encoding"] = "identity"  # what is counted is what is kept
        answer = await self._inner.handle_async_request(request)
        if answer.headers.get("content-encoding", "identity") != "identity":
            await answer.aclose()
            raise TooMuchError("the answer is packed, which was not asked for", request=request)
        answer.stream = _Bounded(answer.stream, self._most)
        return answer

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Bounded(httpx.AsyncByteStream):
    def __init__(self, stream: Any, most: int) -> None:
        self._stream = stream
        self._most = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        count = 0
        async for chunk in self._stream:
            count += len(chunk)
            if count > self._most:
                raise TooMuchError(f"the answer has more than {self._most} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def settings(ca: str | None = None, most: int = MOST_BYTES) -> dict[str, Any]:
    """For a client of httpx, or one that is made of it. `ca`: PEM of who signed the other side's certificate; empty:
    whom this machine trusts; None: the authorities that browsers trust."""
    trusted = True if ca is None else ssl.create_default_context(cadata=ca or None)
    transport = BoundedTransport(httpx.AsyncHTTPTransport(verify=trusted), most)
    return {"transport": transport, "timeout": _TIMES, "follow_redirects": False, "trust_env": False}


async def fetch(
    url: str, headers: Mapping[str, str] | None = None, *, ca: str | None = None, most: int = MOST_BYTES
) -> httpx.Response:
    """A GET that answered with 200. Raises OutsideError."""
    try:
        async with asyncio.timeout(TOTAL_SECONDS), httpx.AsyncClient(**settings(ca, most)) as client:
            answer = await client.get(url, headers={"accept": "application/json", **(headers or {})})
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ssl.SSLError, ValueError) as error:
        raise OutsideError(f"{url} cannot be asked: {type(error).__name__}: {error}"[:500]) from error
    if answer.status_code != httpx.codes.OK:
        raise OutsideError(f"{url} answered {answer.status_code}")
    return answer


async def fetch_object(url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A JSON object. Raises OutsideError."""
    answer = await fetch(url, headers)
    try:
        found = answer.json()
    except ValueError as error:
        raise OutsideError(f"{url} answered what is no JSON") from error
    if not isinstance(found, dict):
        raise OutsideError(f"{url} answered what is no JSON object")
    return found
