"""The keys of issuers: given in the trust, or fetched (OpenID Connect Discovery 1.0 §4) and kept for a time.

A token with a key that is not known asks the issuer again, but not more often than every half minute, so that nobody
makes this machine ask for them. When the issuer cannot be reached, what is known of it stays good for an hour.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from control_plane.kit.jws import Key
from control_plane.kit.outside import OutsideError, address_problem, fetch
from control_plane.workloads import tokens
from control_plane.workloads.documents import WorkloadTrustSpec
from control_plane.workloads.platforms import issuer_of, traits_of
from control_plane.workloads.tokens import ReadToken, TokenError

FRESH: Final = timedelta(minutes=10)
STALE: Final = timedelta(hours=1)
AGAIN: Final = timedelta(seconds=30)
_MOST: Final = 1000  # sources; trusts that are gone leave theirs behind
LARGEST_ANSWER: Final = 256 * 1024
_ACCEPT: Final = "application/jwk-set+json, application/json"  # Kubernetes gives its keys as the former only
_DISCOVERY: Final = "/.well-known/openid-configuration"
Fetch = Callable[[str, str], Awaitable[bytes]]


class Source(msgspec.Struct, frozen=True):
    """Where the keys of an issuer come from. Equal for trusts that mean the same keys."""

    issuer: str
    jwks: str
    jwks_url: str
    ca: str
    use: str

    @classmethod
    def of(cls, spec: WorkloadTrustSpec) -> Source:
        return cls(issuer_of(spec), spec.jwks, spec.jwks_url, spec.ca, traits_of(spec).key_use)


class _Known:
    """What is known of one source."""

    def __init__(self) -> None:
        self.keys: Sequence[Key] = ()
        self.fetched_at: datetime | None = None
        self.tried_at: datetime | None = None
        self.turn = asyncio.Lock()

    def good(self, now: datetime, within: timedelta) -> bool:
        return self.fetched_at is not None and now - self.fetched_at < within

    def tried(self, now: datetime) -> bool:
        return self.tried_at is not None and now - self.tried_at < AGAIN


async def _fetched(url: str, ca: str) -> bytes:
    if problem := address_problem(url):
        raise OutsideError(problem)
    return (await fetch(url, {"accept": _ACCEPT}, ca=ca, most=LARGEST_ANSWER)).content


class IssuerKeys:
    def __init__(self, fetch: Fetch = _fetched) -> None:
        self._fetch = fetch
        self._known: dict[Source, _Known] = {}

    async def keys_for(self, spec: WorkloadTrustSpec, token: ReadToken, now: datetime) -> Sequence[Key]:
        """Raises TokenError: there are none. Never inside a transaction: it may ask the network."""
        source = Source.of(spec)
        if source.jwks:
            return tokens.keys_of(source.jwks, source.use)
        known = self._of(source)
        if known.good(now, FRESH) and (tokens.knows(known.keys, token) or known.tried(now)):
            return known.keys
        async with known.turn:  # the others wait for the first one's answer
            if not known.tried(now):
                await self._renew(source, known, now)
        if not known.good(now, STALE):
            raise TokenError("the keys of its issuer cannot be fetched now")
        return known.keys

    def _of(self, source: Source) -> _Known:
        if source not in self._known and len(self._known) >= _MOST:
            self._known.clear()
        return self._known.setdefault(source, _Known())

    async def _renew(self, source: Source, known: _Known, now: datetime) -> None:
        """What is known stays when the issuer cannot be asked, for as long as it is good."""
        known.tried_at = now
        try:
            known.keys = tokens.keys_of(await self._fetch(await self._address(source), source.ca), source.use)
            known.fetched_at = now
        except (OutsideError, TokenError) as error:
            if not known.good(now, STALE):
                raise TokenError(f"its keys cannot be fetched: {error}") from error

    async def _address(self, source: Source) -> str:
        if source.jwks_url:
            return source.jwks_url
        told = _object(await self._fetch(source.issuer.rstrip("/") + _DISCOVERY, source.ca))
        if told.get("issuer") != source.issuer:
            raise TokenError(f"{source.issuer} says that it is {str(told.get('issuer'))[:200]!r}")
        address = told.get("jwks_uri")
        if not isinstance(address, str):
            raise TokenError(f"{source.issuer} says not where its keys are")
        return address


def _object(text: bytes) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TokenError("its discovery document is no JSON") from error
    if not isinstance(told, dict):
        raise TokenError("its discovery document is no object")
    return told
