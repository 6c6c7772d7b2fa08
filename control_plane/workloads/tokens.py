"""Compact JWTs (RFC 7515, RFC 7519) as others sign them: read first, believed only after `verify`.

Only asymmetric algorithms. The key is one of those that the issuer announces; what a token says of keys itself
(`jwk`, `jku`, `x5c`, `x5u`) and what it calls critical is refused, unread.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from control_plane.kit.jws import ASYMMETRIC, MOST_KEYS, Key, is_short, is_signed_with, listed_keys
from control_plane.kit.jws import public_key as jws_key

LONGEST_TOKEN: Final = 16 * 1024
_OF_THEIR_OWN: Final = ("crit", "jwk", "jku", "x5c", "x5u", "b64", "zip", "enc")
_EVERYDAY: Final = "sig"
_CURVES: Final = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519", "Ed25519": "Ed25519"}


class TokenError(Exception):
    """`args[0]`: why it is no token that could be good, for the audit log."""


class ReadToken(msgspec.Struct, frozen=True):
    """Nothing of it is proven."""

    algorithm: str
    key_id: str
    type: str  # lower case
    claims: dict[str, Any]
    compact: jws.CompactSignature


def read(token: str) -> ReadToken:
    """Raises TokenError."""
    if len(token) > LONGEST_TOKEN:
        raise TokenError(f"it has more than {LONGEST_TOKEN} characters")
    try:
        compact = jws.extract_compact(token.encode("ascii"))
        header, claims = compact.headers(), json.loads(compact.payload)
    except (JoseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise TokenError("it is no signed token in the compact form") from error
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise TokenError("its header or its claims are no object")
    if told := [name for name in _OF_THEIR_OWN if name in header]:
        raise TokenError(f"its header brings {told[0]!r}, which no token may say here")
    algorithm, key_id, kind = (header.get(name, "") for name in ("alg", "kid", "typ"))
    if not (isinstance(algorithm, str) and isinstance(key_id, str) and isinstance(kind, str)):
        raise TokenError("its header is not well-formed")
    if algorithm not in ASYMMETRIC:
        raise TokenError(f"it is signed by {algorithm[:20]!r}; only asymmetric algorithms are taken")
    return ReadToken(algorithm, key_id, kind.lower(), claims, compact)


def verify(token: ReadToken, keys: Sequence[Key]) -> None:
    """With the key that it names; without a name, with any. Raises TokenError."""
    fitting = [key for key in keys if _fits(key, token)]
    if not fitting:
        raise TokenError(f"its issuer announces no key {token.key_id[:100]!r} for {token.algorithm}")
    if not any(is_signed_with(token.compact, key, token.algorithm) for key in fitting):
        raise TokenError("its signature is wrong")


def knows(keys: Sequence[Key], token: ReadToken) -> bool:
    """Whether one of them could have signed it; else the issuer may have new ones."""
    return any(_fits(key, token) for key in keys)


def keys_of(text: str | bytes, use: str) -> list[Key]:
    """Those of a JWK set (RFC 7517 §5) that can be used; what is not understood is left out. Raises TokenError."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TokenError('no JWK set: an object with "keys"') from error
    if (listed := listed_keys(document)) is None:
        raise TokenError(f'no JWK set: an object with "keys", at most {MOST_KEYS} keys')
    found = [key for one in listed if _is_for(one, use) if (key := public_key(one))]
    if not found:
        raise TokenError("none of its keys can be used: RSA of 2048 bits or more, EC or Ed25519, for signatures")
    return found


def public_key(told: Mapping[str, Any]) -> Key | None:
    """Only its public half. None: of no use here."""
    key = jws_key(told)
    return key if key is not None and not is_short(key) else None


def _is_for(told: Mapping[str, Any], use: str) -> bool:
    """A key that says nothing may verify what any OpenID issuer signs; a SPIFFE bundle's says what it is for."""
    return bool(told.get("use", _EVERYDAY) == use)


def _fits(key: Key, token: ReadToken) -> bool:
    if token.key_id and key.kid != token.key_id:
        return False
    if key.alg and key.alg != token.algorithm:
        return False
    if isinstance(key, RSAKey):
        return token.algorithm[:2] in ("RS", "PS")
    return key.get("crv") == _CURVES.get(token.algorithm)
