"""What a provider announces of itself (OpenID Connect Discovery 1.0) and its keys (RFC 7517), kept for a while.

A token signed by a key that is not known asks for the keys again, but not more often than once in a while: whoever
sends tokens with made-up key ids must not make this control plane ask the provider at that rate.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import msgspec
from joserfc.jwk import KeySet

from control_plane.kit.clock import Clock
from control_plane.kit.jws import ASYMMETRIC, MOST_KEYS, listed_keys, public_key
from control_plane.kit.outside import OutsideError, allowed, fetch_object
from control_plane.sign_on.oidc_tokens import UnknownKeyError

_KEPT: Final = timedelta(hours=1)
_AGAIN: Final = timedelta(seconds=30)
_REQUIRED: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_ENDPOINTS: Final = (*_REQUIRED, "userinfo_endpoint", "end_session_endpoint", "device_authorization_endpoint")
T = TypeVar("T")


class Announced(msgspec.Struct, frozen=True):
    issuer: str
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    jwks_uri: str = ""
    userinfo_endpoint: str = ""
    end_session_endpoint: str = ""
    device_authorization_endpoint: str = ""
    id_token_signing_alg_values_supported: tuple[str, ...] = ("RS256",)
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    code_challenge_methods_supported: tuple[str, ...] | None = None  # None: it does not say
    authorization_response_iss_parameter_supported: bool = False

    @property
    def algorithms(self) -> frozenset[str]:
        return frozenset(self.id_token_signing_alg_values_supported) & ASYMMETRIC


class _Failed(msgspec.Struct, frozen=True):
    why: str
    at: datetime


class _Kept(msgspec.Struct):
    announced: Announced
    announced_at: datetime
    keys: KeySet | None = None
    keys_at: datetime | None = None


class Providers:
    """By issuer: nobody waits for another's. What was in vain just now is not tried again: whoever signs in would wait
    for it every time. Errors are OutsideErrors, which name the address."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._failed: dict[tuple[str, str], _Failed] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def announced(self, issuer: str) -> Announced:
        return (await self._current(issuer)).announced

    async def verified(self, issuer: str, verify: Callable[[KeySet], T]) -> T:
        """What `verify` returns with the provider's keys; once more with new ones when it misses one. Raises also
        what `verify` raises."""
        kept = await self._current(issuer)
        try:
            return verify(await self._keys(kept, _KEPT))
        except UnknownKeyError:
            before = kept.keys_at
            keys = await self._keys(kept, _AGAIN)
            if kept.keys_at == before:
                raise
            return verify(keys)

    async def _current(self, issuer: str) -> _Kept:
        async with self._turns[issuer]:
            kept, now = self._kept.get(issuer), self._clock.now()
            if kept is None or now - kept.announced_at >= _KEPT:
                announced = await self._tried((issuer, ""), discover, issuer)
                if kept is None or kept.announced.jwks_uri != announced.jwks_uri:
                    kept = self._kept[issuer] = _Kept(announced, now)
                kept.announced, kept.announced_at = announced, now
            return kept

    async def _keys(self, kept: _Kept, oldest: timedelta) -> KeySet:
        issuer, address = kept.announced.issuer, kept.announced.jwks_uri
        async with self._turns[issuer]:
            now = self._clock.now()
            if kept.keys is None or kept.keys_at is None or now - kept.keys_at >= oldest:
                kept.keys = await self._tried((issuer, address), _fetched_keys, address)
                kept.keys_at = now
            return kept.keys

    async def _tried(self, what: tuple[str, str], ask: Callable[[str], Awaitable[T]], address: str) -> T:
        failed = self._failed.get(what)
        if failed is not None and self._clock.now() < failed.at + _AGAIN:
            raise OutsideError(failed.why)
        try:
            found = await ask(address)
        except OutsideError as error:
            self._failed[what] = _Failed(str(error), self._clock.now())
            raise
        self._failed.pop(what, None)
        return found


async def _fetched_keys(address: str) -> KeySet:
    return key_set(await fetch_object(address))


async def discover(issuer: str, get: Callable[[str], Awaitable[Mapping[str, Any]]] = fetch_object) -> Announced:
    """Raises OutsideError: not to be had, or not of this issuer."""
    url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    try:
        found = msgspec.convert(await get(url), Announced)
    except msgspec.ValidationError as error:
        raise OutsideError(f"{url}: {error}") from error
    if found.issuer != issuer:
        raise OutsideError(f"{url} is of the issuer {found.issuer[:128]!r}, not {issuer!r}; write it exactly so")
    for name in _ENDPOINTS:
        address = getattr(found, name)
        if (name in _REQUIRED and not address) or (address and not allowed(address)):
            raise OutsideError(f"{url}: its {name} is missing or no https address")
    methods = found.code_challenge_methods_supported
    if methods is not None and "S256" not in methods:
        raise OutsideError(f"{url}: it does not take PKCE with S256")
    if not found.algorithms:
        raise OutsideError(f"{url}: it signs ID tokens with no asymmetric algorithm")
    return found


def key_set(document: Mapping[str, Any]) -> KeySet:
    """The public keys that can sign; others are left out. Raises OutsideError."""
    listed = listed_keys(document)
    if listed is None:
        raise OutsideError(f"its keys are no list of at most {MOST_KEYS} keys")
    return KeySet([key for one in listed if (key := public_key(one, "use", "key_ops")) is not None])
