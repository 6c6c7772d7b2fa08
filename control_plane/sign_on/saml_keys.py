"""The key pairs with which this control plane is a SAML service provider: they sign requests and open assertions.

One file a pair in `STATE_DIR/saml`, key and certificate, PEM, sealed (kit/sealing) like the signing keys. The newest
signs and is what providers should encrypt for; all open what is encrypted, and all stand in our metadata, so that one
takes the place of another when the providers know both. The first is made when somebody first needs it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

from control_plane.kit import key_files
from control_plane.kit.clock import Clock
from control_plane.kit.sealing import FileSeal, SealError
from control_plane.kit.secret import Secret

SIGNATURE: Final = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
_SEALED_AS: Final = "saml-service-provider"
_BITS: Final = 3072
_LIFE: Final = timedelta(days=3650)  # nobody looks at it: the certificate only holds the key


class KeyPair:
    """Prints no key."""

    def __init__(self, key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self.certificate = certificate

    def __repr__(self) -> str:
        return f"KeyPair({self.certificate.serial_number:x}, ***)"

    def sign(self, content: bytes) -> bytes:
        """By `SIGNATURE`."""
        return self._key.sign(content, padding.PKCS1v15(), hashes.SHA256())

    def private_pem(self) -> Secret:
        return Secret(key_files.private_pem(self._key).decode())

    def pem(self) -> bytes:
        return self.private_pem().reveal().encode() + self.certificate.public_bytes(Encoding.PEM)


class ServiceKeys:
    def __init__(self, directory: Path, seal: FileSeal, clock: Clock) -> None:
        self._directory = directory
        self._seal = seal
        self._clock = clock
        self._known: Sequence[KeyPair] = ()
        self._turn = asyncio.Lock()

    async def pairs(self) -> Sequence[KeyPair]:
        """The newest first. Raises SealError."""
        async with self._turn:
            if not self._known:
                self._known = await asyncio.to_thread(self._open)
            return self._known

    def _open(self) -> Sequence[KeyPair]:
        files = key_files.opened(self._directory, lambda: add_pair(self._directory, self._seal, self._clock.now()))
        return [self._load(file) for file in reversed(files)]

    def _load(self, file: Path) -> KeyPair:
        content = key_files.content(file, self._seal, _SEALED_AS)
        key, certificate = load_pem_private_key(content, password=None), x509.load_pem_x509_certificate(content)
        if not isinstance(key, rsa.RSAPrivateKey) or key.public_key() != certificate.public_key():
            raise SealError(f"{file} holds no RSA key with its certificate; restore it from a backup")
        return KeyPair(key, certificate)


def add_pair(directory: Path, seal: FileSeal, now: datetime) -> None:
    """Makes a pair that signs from the next start on."""
    seal.write(directory / f"{key_files.next_number(directory)}.pem", made(now).pem(), _SEALED_AS)


def made(now: datetime) -> KeyPair:
    key = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "assentry")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _LIFE)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(key, certificate)
