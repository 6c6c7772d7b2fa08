"""A statement with the signature of a security key, complete: anybody can check it, offline and years later.

What an assertion means is WebAuthn Level 2, section 7.2. Light on purpose, as `audit.verification` is: it is done here
a second time, without the library that did it when the signature was given. Whether the key was that person's says the
audit log, where its registration stands.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from control_plane.security_keys.statement import StatementError, challenge_of, decode

USER_PRESENT: Final = 0x01
USER_VERIFIED: Final = 0x04
_SHORTEST: Final = 37  # hash of the relying party's id, flags, counter


class Signed(msgspec.Struct, frozen=True):
    """Bytes are base64url without padding."""

    key_id: str
    public_key: str  # SubjectPublicKeyInfo in DER
    rp_id: str
    origin: str
    statement: str  # as it was signed
    client_data: str
    authenticator_data: str
    signature: str


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    """Raises ValueError."""
    if len(text) % 4 == 1 or not text.isascii() or "=" in text:
        raise ValueError("not base64url without padding")
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def problem(signed: Signed) -> str:
    """Why this proves nothing. Empty: the key signed exactly this statement, for this origin, with its user there and
    verified."""
    try:
        decode(signed.statement)
        client_data, authenticator_data = decoded(signed.client_data), decoded(signed.authenticator_data)
        wrong = _client_problem(signed, client_data) or _authenticator_problem(signed, authenticator_data)
        if wrong:
            return wrong
        _verify(signed, authenticator_data + hashlib.sha256(client_data).digest())
    except StatementError as error:
        return str(error)
    except InvalidSignature:
        return "the signature is not the key's"
    except (ValueError, UnsupportedAlgorithm, binascii.Error) as error:
        return f"it cannot be read: {error}"
    return ""


def _client_problem(signed: Signed, raw: bytes) -> str:
    client: Any = json.loads(raw)
    if not isinstance(client, Mapping):
        return "the client's data is no object"
    if client.get("type") != "webauthn.get":
        return "it was made for something else than signing"
    expected = encoded(challenge_of(signed.statement))
    if not hmac.compare_digest(str(client.get("challenge")).encode(errors="replace"), expected.encode()):
        return "another statement was signed"
    if client.get("origin") != signed.origin:
        return "it was signed at another origin"
    return "it was signed inside another site's page" if client.get("crossOrigin") else ""


def _authenticator_problem(signed: Signed, raw: bytes) -> str:
    if len(raw) < _SHORTEST:
        return "the authenticator's data is too short"
    if not hmac.compare_digest(raw[:32], hashlib.sha256(signed.rp_id.encode()).digest()):
        return "the key signed for another site"
    if not raw[32] & USER_PRESENT:
        return "nobody touched the key"
    return "" if raw[32] & USER_VERIFIED else "the key did not verify who holds it, by PIN or biometry"


def _verify(signed: Signed, data: bytes) -> None:
    """By the algorithm that belongs to the kind of key: ES256, RS256 or EdDSA. Raises InvalidSignature, ValueError."""
    signature = decoded(signed.signature)
    match load_der_public_key(decoded(signed.public_key)):
        case EllipticCurvePublicKey() as key:
            key.verify(signature, data, ECDSA(hashes.SHA256()))
        case RSAPublicKey() as key:
            key.verify(signature, data, PKCS1v15(), hashes.SHA256())
        case Ed25519PublicKey() as key:
            key.verify(signature, data)
        case _:
            raise ValueError("a kind of key that no security key has")
