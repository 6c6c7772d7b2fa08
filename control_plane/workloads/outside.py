"""What issuers publish, fetched: https only except on this machine, no redirects, no proxy, limits on size and time."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from typing import Final

import httpx

LARGEST_ANSWER: Final = 256 * 1024
_SECONDS: Final = 10.0
_CONNECT_SECONDS: Final = 5.0
_ACCEPT: Final = "application/jwk-set+json, application/json"  # Kubernetes gives its keys as the former only


class OutsideError(Exception):
    """`args[0]`: what was asked and what came, for the audit log."""


def address_problem(url: str) -> str:
    """Why nothing is fetched from there. Empty: it may be."""
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, TypeError, ValueError):
        return f"{url!r} is no URL"
    if parts.scheme not in ("https", "http") or not parts.host:
        return f"{url!r} does not begin with https:// and a host"
    if parts.userinfo or parts.fragment:
        return f"{url!r} carries a password or a fragment"
    if parts.scheme == "http" and not _is_this_machine(parts.host):
        return f"{url!r} is not https"
    return ""


async def fetch(url: str, ca: str = "") -> bytes:
    """`ca`: PEM of who signed its certificate; empty: what this machine trusts. Raises OutsideError."""
    if problem := address_problem(url):
        raise OutsideError(problem)
    try:
        async with asyncio.timeout(_SECONDS):
            return await _fetched(url, ca)
    except (httpx.HTTPError, TimeoutError, ssl.SSLError, ValueError) as error:
        raise OutsideError(f"{url} cannot be fetched ({type(error).__name__}): {error}"[:300]) from None


async def _fetched(url: str, ca: str) -> bytes:
    trusted = ssl.create_default_context(cadata=ca or None)
    timeout = httpx.Timeout(_SECONDS, connect=_CONNECT_SECONDS)
    client = httpx.AsyncClient(verify=trusted, timeout=timeout, follow_redirects=False, trust_env=False)
    async with client, client.stream("GET", url, headers={"accept": _ACCEPT}) as answer:
        if answer.status_code != httpx.codes.OK:
            raise OutsideError(f"{url} answered {answer.status_code}")
        kept = bytearray()
        async for chunk in answer.aiter_bytes():
            kept += chunk
            if len(kept) > LARGEST_ANSWER:
                raise OutsideError(f"{url} answered with more than {LARGEST_ANSWER} bytes")
        return bytes(kept)


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
