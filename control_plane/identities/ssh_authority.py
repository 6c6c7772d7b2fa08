"""The authority that signs the SSH certificates of people and machines (OpenSSH's PROTOCOL.certkeys), never of hosts.

One Ed25519 key a file in `STATE_DIR/ssh-ca`, sealed (kit/sealing) like the signing keys: the newest signs, all are
trusted, so that a server that knows them all goes on while one takes the other's place. A certificate allows a terminal
and nothing else: no forwarding of ports, agents or displays, no commands of the user's own at sign-in.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificateBuilder,
    SSHCertificateType,
    load_ssh_public_key,
)

from control_plane.identities.ports import CertificateRequestError
from control_plane.kit import key_files
from control_plane.kit.sealing import FileSeal

_SEALED_AS: Final = "ssh-authority-key"
_BACKDATED: Final = timedelta(minutes=5)  # clocks differ
_SMALLEST_RSA: Final = 2048
_KINDS: Final = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
_UserKey = Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey


class SshAuthority:
    """Holds private keys in memory; prints none of them."""

    def __init__(self, keys: Sequence[Ed25519PrivateKey]) -> None:
        """Oldest first; the last one signs."""
        if not keys:
            raise ValueError("an SSH authority needs a key")
        self._keys = tuple(keys)

    def __repr__(self) -> str:
        return f"SshAuthority({fingerprint(self.public_keys[-1])!r}, ***)"

    @classmethod
    def open(cls, directory: Path, seal: FileSeal) -> Self:
        """Loads the keys of the directory; an empty one gets its first. Raises SealError."""
        files = key_files.opened(directory, lambda: add_key(directory, seal))
        return cls([key_files.ed25519(file, seal, _SEALED_AS) for file in files])

    @property
    def public_keys(self) -> tuple[bytes, ...]:
        """As OpenSSH writes them, `ssh-ed25519 AAAA…`, oldest first."""
        return tuple(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) for key in self._keys)

    def issue(
        self,
        public_key: str,
        key_id: str,
        principals: Sequence[str],
        networks: Sequence[str],
        now: datetime,
        expires_at: datetime,
    ) -> bytes:
        """The line of a `-cert.pub` file. Raises CertificateRequestError."""
        builder = (
            SSHCertificateBuilder()
            .public_key(user_key(public_key))
            .serial(secrets.randbits(64))
            .type(SSHCertificateType.USER)
            .key_id(key_id.encode())
            .valid_principals([principal.encode() for principal in principals])
            .valid_after(int((now - _BACKDATED).timestamp()))
            .valid_before(int(expires_at.timestamp()))
            .add_extension(b"permit-pty", b"")
        )
        if networks:
            builder = builder.add_critical_option(b"source-address", ",".join(networks).encode())
        return builder.sign(self._keys[-1]).public_bytes()


def add_key(directory: Path, seal: FileSeal) -> None:
    """Makes a key that signs from the next start on."""
    key = key_files.private_pem(Ed25519PrivateKey.generate())
    seal.write(directory / f"{key_files.next_number(directory)}.pem", key, _SEALED_AS)


def rotate(directory: Path, seal: FileSeal) -> str:
    """Another key beside those that are trusted. What to do then."""
    key_files.made(directory)
    add_key(directory, seal)
    return "restart the control plane: the new key signs; SSH servers trust it when they have fetched /v1/ssh-ca again"


def user_key(text: str) -> _UserKey:
    """One line of a `.pub` file. A key in hardware that signs in a format of its own (`sk-…`) is not taken.

    Raises CertificateRequestError."""
    if text.strip().count("\n") or not text.strip().startswith(tuple(f"{kind} " for kind in _KINDS)):
        raise CertificateRequestError(
            "not one line of an OpenSSH public key: Ed25519, ECDSA, or RSA of 2048 bits or more"
        )
    try:
        key = load_ssh_public_key(text.strip().encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateRequestError("the SSH public key cannot be read") from error
    if isinstance(key, RSAPublicKey) and key.key_size < _SMALLEST_RSA:
        raise CertificateRequestError("the RSA key is too short: 2048 bits or more")
    if not isinstance(key, _UserKey):
        raise CertificateRequestError("use an Ed25519, ECDSA or RSA key")
    return key


def fingerprint(public_key: bytes) -> str:
    """As `ssh-keygen -l` tells it."""
    digest = hashlib.sha256(base64.b64decode(public_key.split()[1])).digest()
    return f"SHA256:{base64.b64encode(digest).rstrip(b'=').decode()}"
