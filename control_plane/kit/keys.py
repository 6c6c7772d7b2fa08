"""The deployment's Ed25519 signing keys: what snapshots, grants, tokens and audit checkpoints are signed with.

One file a key in `STATE_DIR/keys`, PKCS#8 PEM, sealed (kit/sealing). The newest signs; all verify, so a key is rotated
by adding one, waiting until every agent has the new one in a snapshot, and retiring the old.
A signature always covers a context (`assentry-grant-v1\\0`), so one kind can never pass for another.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from control_plane.kit import key_files
from control_plane.kit.sealing import FileSeal

SNAPSHOT_CONTEXT = b"assentry-snapshot-v1\0"
GRANT_CONTEXT = b"assentry-grant-v1\0"
AUDIT_CONTEXT = b"assentry-audit-v1\0"
_SEALED_AS: Final = "signing-key"


class PublicKey(msgspec.Struct, frozen=True):
    key_id: str
    raw: bytes  # 32 bytes


class Signature(msgspec.Struct, frozen=True):
    key_id: str
    signature: bytes


class SigningKeys:
    """Holds private keys in memory; prints none of them."""

    def __init__(self, keys: Mapping[str, Ed25519PrivateKey]) -> None:
        """`keys` by key id, oldest first."""
        if not keys:
            raise ValueError("a deployment needs a signing key")
        self._keys = dict(keys)
        self._active = list(self._keys)[-1]

    def __repr__(self) -> str:
        return f"SigningKeys(active={self._active!r}, known={len(self._keys)})"

    @classmethod
    def open(cls, directory: Path, seal: FileSeal) -> Self:
        """Loads the keys of the directory; an empty one gets its first key. Raises SealError."""
        files = key_files.opened(directory, lambda: add_key(directory, seal))
        return cls({_key_id(key): key for key in (key_files.ed25519(file, seal, _SEALED_AS) for file in files)})

    def sign(self, context: bytes, payload: bytes) -> Signature:
        return Signature(self._active, self._keys[self._active].sign(context + payload))

    def verify(self, context: bytes, payload: bytes, signature: Signature) -> bool:
        key = self._keys.get(signature.key_id)
        if key is None:
            return False
        try:
            key.public_key().verify(signature.signature, context + payload)
        except InvalidSignature:
            return False
        return True

    def public_keys(self) -> tuple[PublicKey, ...]:
        return tuple(PublicKey(key_id, _public(key)) for key_id, key in self._keys.items())

    def sign_token(self, claims: Mapping[str, Any]) -> str:
        """A compact JWT (RFC 7519, EdDSA) of type `assentry`."""
        return self._token("assentry", claims)

    def sign_bound_token(self, claims: Mapping[str, Any]) -> str:
        """One that says in `net` where its client may be: agents that do not look at that refuse its type."""
        return self._token("assentry-bound", claims)

    def _token(self, kind: str, claims: Mapping[str, Any]) -> str:
        header = {"alg": "EdDSA", "kid": self._active, "typ": kind}
        signed = _part(header) + b"." + _part(claims)
        return (signed + b"." + _base64url(self._keys[self._active].sign(signed))).decode()


def add_key(directory: Path, seal: FileSeal) -> str:
    """Makes a key that signs from the next start on; returns its id."""
    key = Ed25519PrivateKey.generate()
    key_id = _key_id(key)
    file = directory / f"{key_files.next_number(directory)}-{key_id}.pem"
    seal.write(file, key_files.private_pem(key), _SEALED_AS)
    return key_id


def _public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _key_id(key: Ed25519PrivateKey) -> str:
    """Follows from the key itself: two keys never share an id."""
    return "key_" + base64.b32encode(hashlib.sha256(_public(key)).digest()[:10]).decode().lower()


def _part(value: Mapping[str, Any]) -> bytes:
    return _base64url(msgspec.json.encode(value))


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
