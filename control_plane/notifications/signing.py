"""Signatures as the Standard Webhooks specification says (1.0.0, "Signature scheme"): HMAC-SHA256, version v1. Pure.

What is signed is `id.timestamp.body`, so neither can be changed; the timestamp bounds how long a signature is of use,
and the id, which is believed once, ends replays within that time. Several signatures stand beside each other while one
secret takes another's place.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from control_plane.kit.secret import Secret

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
TOLERANCE_SECONDS: Final = 300
LEAST_KEY_BYTES: Final = 24
_PREFIX: Final = "whsec_"
_VERSION: Final = "v1"
_MOST_SIGNATURES: Final = 8
_LONGEST_ID: Final = 128


class Wrong(msgspec.Struct, frozen=True):
    """Why a message is not believed. For the log; the sender is told less."""

    why: str


class Genuine(msgspec.Struct, frozen=True):
    id: str
    at_seconds: int


def key_of(secret: Secret) -> bytes:
    """`whsec_` and base64, as the specification writes secrets, or any other text as it is. Raises ValueError."""
    text = secret.reveal()
    key = _decoded(text[len(_PREFIX) :]) if text.startswith(_PREFIX) else text.encode()
    if len(key) < LEAST_KEY_BYTES:
        raise ValueError(f"the secret has fewer than {LEAST_KEY_BYTES} bytes; make one by: openssl rand -base64 32")
    return key


def signed(keys: Sequence[bytes], message_id: str, at_seconds: int, body: bytes) -> dict[str, str]:
    """The headers."""
    signatures = (f"{_VERSION},{_mac(key, message_id, str(at_seconds), body)}" for key in keys)
    return {ID: message_id, TIMESTAMP: str(at_seconds), SIGNATURE: " ".join(signatures)}


def verified(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, now_seconds: int) -> Genuine | Wrong:
    """Compares in constant time. `headers` have names in lower case."""
    message_id, at, given = (headers.get(name, "") for name in (ID, TIMESTAMP, SIGNATURE))
    if not message_id or len(message_id) > _LONGEST_ID or not (message_id.isascii() and message_id.isprintable()):
        return Wrong("no usable webhook-id")
    if not (at.isascii() and at.isdecimal() and len(at) <= 12):
        return Wrong("no usable webhook-timestamp")
    parts = [part.partition(",") for part in given.split(" ", _MOST_SIGNATURES)[:_MOST_SIGNATURES]]
    sent = [value.encode() for version, _, value in parts if version == _VERSION]
    expected = [_mac(key, message_id, at, body).encode() for key in keys]
    if not any([hmac.compare_digest(one, other) for one in sent for other in expected]):  # noqa: C419 - all are compared
        return Wrong("no signature fits")
    if abs(now_seconds - int(at)) > TOLERANCE_SECONDS:
        return Wrong("its timestamp is too far from now")
    return Genuine(message_id, int(at))


def _mac(key: bytes, message_id: str, at: str, body: bytes) -> str:
    content = f"{message_id}.{at}.".encode() + body
    return base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"after {_PREFIX} a secret is base64") from error
