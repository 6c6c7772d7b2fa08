"""ID tokens and logout tokens, judged (OpenID Connect Core 1.0 §3.1.3.7, Back-Channel Logout 1.0 §2.6). Pure.

Nothing in a token says how it is to be judged: the keys, the algorithms, the issuer and the audience are those of the
provider's configuration; a token that brings keys of its own, or asks for what is not understood, is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from control_plane.kit.jws import ASYMMETRIC, SMALLEST_RSA, is_short, is_signed_with

SKEW: Final = timedelta(seconds=60)
LONGEST: Final = 64 * 1024
_FORBIDDEN: Final = ("jku", "x5u", "jwk", "crit", "b64", "zip")
_LOGOUT: Final = "http://schemas.openid.net/event/backchannel-logout"
_LOGOUT_TYPE: Final = "logout+jwt"
_LOGOUT_AGE: Final = timedelta(minutes=10)
_LATEST: Final = 253_402_300_799.0  # the end of the year 9999


class TokenError(Exception):
    """`args[0]` is the exact cause, for the audit log; whoever sent the token does not hear it."""


class UnknownKeyError(TokenError):
    """None of the keys that are known has this id: the provider may have new ones."""


class Expected(msgspec.Struct, frozen=True):
    issuer: str
    client_id: str
    algorithms: frozenset[str]  # that the provider announces; only asymmetric ones count
    now: datetime


class Claims(msgspec.Struct, frozen=True):
    """What every token of these must say, in exactly these shapes."""

    iss: str
    aud: str | tuple[str, ...]
    iat: float | int
    exp: float | int | None = None
    nbf: float | int | None = None
    sub: str = ""
    azp: str = ""
    nonce: str | None = None
    at_hash: str = ""
    acr: str = ""
    amr: tuple[str, ...] = ()
    auth_time: float | int | None = None
    sid: str = ""
    jti: str = ""
    events: dict[str, Any] | None = None


class IdToken(msgspec.Struct, frozen=True):
    claims: Claims
    everything: Mapping[str, Any]  # as it was signed


def id_token(text: str, keys: KeySet, expected: Expected, *, nonce: str | None, access_token: str = "") -> IdToken:
    """Raises TokenError. `nonce` None: of a renewal or the device flow, where there is none to compare."""
    header, everything, claims = _signed(text, keys, expected)
    if header.get("typ", "JWT") == _LOGOUT_TYPE or claims.events is not None:
        raise TokenError("it is a logout token, no ID token")
    _of_subject(claims)
    if claims.exp is None:
        raise TokenError("it has no exp")
    if nonce is not None and not hmac.compare_digest((claims.nonce or "").encode(), nonce.encode()):
        raise TokenError("its nonce is not the one of this sign-in")
    if access_token and claims.at_hash and claims.at_hash != _half_hash(access_token, header["alg"]):
        raise TokenError("its at_hash is not that of the access token")
    return IdToken(claims, everything)


def logout_token(text: str, keys: KeySet, expected: Expected) -> Claims:
    """Raises TokenError. Whether its `jti` was used before is for the caller to say."""
    header, _, claims = _signed(text, keys, expected)
    if header.get("typ", _LOGOUT_TYPE) not in {_LOGOUT_TYPE, "JWT"}:
        raise TokenError(f"its type is {header.get('typ')!r}, no logout token's")
    if not isinstance((claims.events or {}).get(_LOGOUT), dict):
        raise TokenError("it does not tell of a logout")
    if claims.nonce is not None:
        raise TokenError("a logout token has no nonce")
    if not claims.jti or len(claims.jti) > 255:
        raise TokenError("it has no jti of 1 to 255 characters")
    if not claims.sub and not claims.sid:
        raise TokenError("it names neither a subject nor a session")
    if claims.iat < (expected.now - _LOGOUT_AGE).timestamp():
        raise TokenError("it was made long ago")
    return claims


def instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


# ---------------------------------------------------------------- signature


def _signed(text: str, keys: KeySet, expected: Expected) -> tuple[dict[str, Any], dict[str, Any], Claims]:
    header = _header(text)
    algorithm = _algorithm(header, expected)
    key = _key(header, keys)
    try:
        compact = jws.extract_compact(text.encode())
    except (JoseError, ValueError, TypeError) as error:
        raise TokenError(f"its signature is not good: {type(error).__name__}") from error
    if not is_signed_with(compact, key, algorithm):
        raise TokenError("its signature is not good")
    everything = _object(compact.payload, "payload")
    try:
        claims = msgspec.convert(everything, Claims)
    except msgspec.ValidationError as error:
        raise TokenError(f"its claims have not the shape that they must have: {error}") from error
    _check(claims, expected)
    return header, everything, claims


def _header(text: str) -> dict[str, Any]:
    if len(text) > LONGEST:
        raise TokenError(f"it has more than {LONGEST} characters")
    parts = text.split(".")
    if len(parts) != 3 or not text.isascii():
        raise TokenError("it is no signed token of three parts")
    try:
        raw = base64.b64decode(parts[0] + "=" * (-len(parts[0]) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise TokenError("its header is no base64url") from error
    header = _object(raw, "header")
    if found := [name for name in _FORBIDDEN if name in header]:
        raise TokenError(f"its header has {', '.join(found)}: a token does not say how it is to be judged")
    return header


def _algorithm(header: Mapping[str, Any], expected: Expected) -> str:
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ASYMMETRIC:
        raise TokenError(f"it is signed by {str(algorithm)[:32]!r}, which is no asymmetric algorithm that is taken")
    if algorithm not in expected.algorithms:
        raise TokenError(f"it is signed by {algorithm}, which the provider does not announce")
    return algorithm


def _key(header: Mapping[str, Any], keys: KeySet) -> Any:
    """By its id alone; without one only when there is no choice."""
    usable = [key for key in keys.keys if key.get("use") in {None, "sig"}]
    kid = header.get("kid")
    if kid is None:
        if len(usable) != 1:
            raise TokenError("it names no key, and the provider has several")
        found = usable
    elif not isinstance(kid, str):
        raise TokenError("its key id is no text")
    else:
        found = [key for key in usable if key.get("kid") == kid]
    if not found:
        raise UnknownKeyError(f"the provider has no key {str(kid)[:64]!r}")
    key = found[0]
    if key.get("alg") not in {None, header["alg"]}:
        raise TokenError(f"its key is for {key.get('alg')}, not for {header['alg']}")
    if is_short(key):
        raise TokenError(f"its RSA key has fewer than {SMALLEST_RSA} bits")
    return key


def _object(raw: bytes, what: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TokenError(f"its {what} is no JSON") from error
    if not isinstance(found, dict):
        raise TokenError(f"its {what} is no JSON object")
    return found


# ---------------------------------------------------------------- claims


def _check(claims: Claims, expected: Expected) -> None:
    if claims.iss != expected.issuer:
        raise TokenError(f"its issuer is {claims.iss[:128]!r}, not {expected.issuer!r}")
    audiences = (claims.aud,) if isinstance(claims.aud, str) else claims.aud
    if expected.client_id not in audiences:
        raise TokenError("it is for another audience")
    if (len(audiences) > 1 or claims.azp) and claims.azp != expected.client_id:
        raise TokenError("its authorized party is not this client")
    now, skew = expected.now.timestamp(), SKEW.total_seconds()
    for name, value in (("exp", claims.exp), ("iat", claims.iat), ("nbf", claims.nbf), ("auth_time", claims.auth_time)):
        if value is not None and not 0 <= value <= _LATEST:
            raise TokenError(f"its {name} is no time")
    if claims.exp is not None and now >= claims.exp + skew:
        raise TokenError("it has expired")
    if claims.iat > now + skew:
        raise TokenError("it was made in the future")
    if claims.nbf is not None and claims.nbf > now + skew:
        raise TokenError("it is not valid yet")
    if claims.auth_time is not None and claims.auth_time > now + skew:
        raise TokenError("its auth_time lies in the future")


def _of_subject(claims: Claims) -> None:
    if not claims.sub or len(claims.sub) > 255 or not claims.sub.isprintable():
        raise TokenError("its subject is not one of 1 to 255 printable characters")
    if len(claims.sid) > 255:
        raise TokenError("its sid has more than 255 characters")


def _half_hash(text: str, algorithm: str) -> str:
    """OpenID Connect Core §3.1.3.6. EdDSA over Ed25519 hashes with SHA-512."""
    name = "sha512" if algorithm in {"EdDSA", "Ed25519"} else f"sha{algorithm[2:]}"
    digest = hashlib.new(name, text.encode()).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()
