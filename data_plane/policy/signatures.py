"""Ed25519 signatures of the control plane, each over a context and the payload exactly as sent.

The context keeps a signature made for one purpose from being shown for another.
"""

from __future__ import annotations

from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SNAPSHOT = b"assentry-snapshot-v1\0"
GRANT = b"assentry-grant-v1\0"


def refusal(keys: Mapping[str, bytes], key_id: str, context: bytes, payload: bytes, signature: bytes) -> str:
    """Empty when `signature` is good; else why not. `keys` are the pinned raw public keys by id."""
    key = keys.get(key_id)
    if key is None:
        return f"signed with key {key_id!r}, which is not pinned"
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, context + payload)
    except (InvalidSignature, ValueError):
        return f"the signature with key {key_id!r} is wrong"
    return ""
