"""What tokens that others sign are verified with (RFC 7515, RFC 7517): algorithms, keys, the signature. No claims.

Only asymmetric algorithms, and of a key only its public half. What else a token must be is for whoever takes it:
`sign_on/oidc_tokens`, `workloads/tokens`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

ASYMMETRIC: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}
)
MOST_KEYS: Final = 100
SMALLEST_RSA: Final = 2048
SECRET_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})  # of a JWK (RFC 7518 §6)
_PUBLIC: Final = ("kty", "kid", "alg", "n", "e", "crv", "x", "y")
Key = RSAKey | ECKey | OKPKey


def listed_keys(document: object) -> list[dict[str, Any]] | None:
    """Of a JWK set, what could be keys. None: it is no set, or too large."""
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or len(keys) > MOST_KEYS:
        return None
    return [one for one in keys if isinstance(one, dict)]


def public_key(told: Mapping[str, Any], *more: str) -> Key | None:
    """`more`: what is kept beside the key itself. None: of no use here."""
    kept = {name: told[name] for name in (*_PUBLIC, *more) if name in told}
    if kept.get("kty") not in ("RSA", "EC", "OKP"):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # of short keys: see `is_short`
            key = JWKRegistry.import_key(kept)
            key.raw_value  # noqa: B018 - only now it is read
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return key if isinstance(key, RSAKey | ECKey | OKPKey) else None


def is_short(key: object) -> bool:
    return isinstance(key, RSAKey) and key.raw_value.key_size < SMALLEST_RSA


def is_signed_with(compact: jws.CompactSignature, key: Key, algorithm: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # of the name EdDSA, which RFC 9864 calls Ed25519
            return bool(jws.validate_compact(compact, key, algorithms=[algorithm]))
    except (JoseError, ValueError, TypeError):
        return False
