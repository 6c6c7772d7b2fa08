"""The deployment's X.509 certificate authority: who is who on the link, at the listeners, and among clients.

Its key lies in `STATE_DIR/ca`, sealed (kit/sealing). It signs four kinds of certificates, told apart by their extended
key usage and their names, so that none can pass for another:
- the control plane's own server certificate, for the fixed name `SERVER_NAME`;
- an agent's client certificate, URI `urn:assentry:agent:<id>`;
- an agent's listener certificate, for the names that the request asks for (never one below `.assentry.internal`);
- a requester's client certificate, URI `urn:assentry:identity:<id>:credential:<id>`, and for each target or network
  it is bound to `urn:assentry:target:<name>`, `urn:assentry:network:<CIDR>`: agents refuse what they do not know.
Does not revoke: agents are looked up at every connection, requesters' credentials stand in snapshots.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from control_plane.agents import rotation
from control_plane.identities.binding import Binding
from control_plane.identities.ports import CertificateRequestError, IssuedCertificate
from control_plane.kit import key_files
from control_plane.kit.sealing import FileSeal, SealError

SERVER_NAME: Final = "control-plane.assentry.internal"
_RESERVED: Final = ".assentry.internal"
_MOST_NAMES: Final = 32
_SMALLEST_RSA: Final = 2048
_DNS_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
)

_Usage = x509.ObjectIdentifier


class CertificateAuthority:
    """Implements `identities.ports.CertificateIssuer` as well."""

    def __init__(
        self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, others: Sequence[x509.Certificate] = ()
    ) -> None:
        """`others` are trusted beside it: the authority before it, or the one that comes after it (see `rotation`)."""
        self._key = key
        self._certificate = certificate
        self._others = others

    def __repr__(self) -> str:
        return f"CertificateAuthority({self._certificate.subject.rfc4514_string()!r}, ***)"

    @classmethod
    def open(cls, directory: Path, now: datetime, seal: FileSeal) -> Self:
        """Loads it from the directory; an empty one gets its authority. Raises SealError."""
        key_files.made(directory)
        rotation.finish(directory)
        key_file, certificate_file = directory / "ca.key", directory / "ca.pem"
        if not certificate_file.exists():
            rotation.create(key_file, certificate_file, now, seal)
        key = load_pem_private_key(key_files.content(key_file, seal, rotation.SEALED_AS), password=None)
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise SealError(f"{key_file} does not belong to {certificate_file}: take both from the same backup")
        others = [x509.load_pem_x509_certificate(file.read_bytes()) for file in rotation.beside(directory)]
        return cls(key, certificate, others)

    @property
    def certificates(self) -> bytes:
        """PEM: what others trust; the one that signs comes first."""
        return b"".join(one.public_bytes(Encoding.PEM) for one in (self._certificate, *self._others))

    # -------------------------------------------------------------- what it signs

    def server(self, now: datetime, life: timedelta) -> tuple[bytes, bytes]:
        """Key and certificate, PEM, of the gRPC server."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName(SERVER_NAME)]
        certificate = self._sign(key.public_key(), SERVER_NAME, names, ExtendedKeyUsageOID.SERVER_AUTH, now, now + life)
        return rotation.pem(key), certificate.public_bytes(Encoding.PEM)

    def agent(self, request: bytes, agent_id: str, name: str, now: datetime, until: datetime) -> tuple[bytes, str]:
        """The client certificate for the link, PEM, and its serial number. Raises CertificateRequestError."""
        key = _requested(request).public_key()
        uri = x509.UniformResourceIdentifier(f"urn:assentry:agent:{agent_id}")
        certificate = self._sign(key, name, [uri], ExtendedKeyUsageOID.CLIENT_AUTH, now, until)
        return certificate.public_bytes(Encoding.PEM), f"{certificate.serial_number:x}"

    def listener(self, request: bytes, name: str, now: datetime, until: datetime) -> tuple[bytes, tuple[str, ...]]:
        """The server certificate shown to clients, PEM, and its names. Raises CertificateRequestError."""
        parsed = _requested(request)
        names = _asked_names(parsed) or [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        certificate = self._sign(parsed.public_key(), name, names, ExtendedKeyUsageOID.SERVER_AUTH, now, until)
        return certificate.public_bytes(Encoding.PEM), tuple(str(one.value) for one in names)

    def issue(
        self,
        request: bytes,
        identity_id: str,
        credential_id: str,
        now: datetime,
        expires_at: datetime,
        binding: Binding = Binding(),  # noqa: B008 - frozen
    ) -> IssuedCertificate:
        """A requester's certificate. Raises CertificateRequestError."""
        key = _requested(request).public_key()
        names = [f"identity:{identity_id}:credential:{credential_id}"]
        names += [] if binding.everywhere else [f"target:{target}" for target in binding.targets]
        names += [f"network:{network}" for network in binding.networks]
        uris = [x509.UniformResourceIdentifier(f"urn:assentry:{name}") for name in names]
        certificate = self._sign(key, identity_id, uris, ExtendedKeyUsageOID.CLIENT_AUTH, now, expires_at)
        pem = certificate.public_bytes(Encoding.PEM).decode()
        return IssuedCertificate(pem, self.certificates.decode(), certificate.not_valid_after_utc)

    def _sign(
        self,
        key: object,
        subject: str,
        names: Sequence[x509.GeneralName],
        usage: _Usage,
        now: datetime,
        until: datetime,
    ) -> x509.Certificate:
        until = min(until, self._certificate.not_valid_after_utc)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(rotation.name(subject))
            .issuer_name(self._certificate.subject)
            .public_key(key)  # type: ignore[arg-type]  # one of the kinds that `_requested` lets through
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - rotation.BACKDATED)
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(rotation.key_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(authority, critical=False)
        )
        return builder.sign(self._key, hashes.SHA256())


def _requested(request: bytes) -> x509.CertificateSigningRequest:
    """A request whose sender holds the key, and a key that is good enough."""
    try:
        load = x509.load_pem_x509_csr if request.lstrip().startswith(b"-----BEGIN") else x509.load_der_x509_csr
        parsed = load(request)
        valid = parsed.is_signature_valid
        key = parsed.public_key()
    except (ValueError, TypeError, InvalidSignature) as error:
        raise CertificateRequestError("not a PKCS#10 certificate request") from error
    if not valid:
        raise CertificateRequestError("the request is not signed with its own key")
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _SMALLEST_RSA:
        return parsed
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in {"secp256r1", "secp384r1"}:
        return parsed
    if isinstance(key, ed25519.Ed25519PublicKey):
        return parsed
    raise CertificateRequestError("use an elliptic-curve key (P-256, P-384, Ed25519) or RSA of 2048 bits or more")


def _asked_names(request: x509.CertificateSigningRequest) -> list[x509.GeneralName]:
    try:
        asked = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    except ValueError as error:
        raise CertificateRequestError("the names in the request cannot be read") from error
    names = list(asked)
    if len(names) > _MOST_NAMES:
        raise CertificateRequestError(f"a listener has at most {_MOST_NAMES} names")
    for name in names:
        _must_be_fit(name)
    return names


def _must_be_fit(name: x509.GeneralName) -> None:
    if isinstance(name, x509.IPAddress):
        return
    if not isinstance(name, x509.DNSName) or _DNS_NAME.fullmatch(name.value) is None:
        raise CertificateRequestError(f"{name.value!r} is neither a host name in lower case nor an address")
    if name.value.endswith(_RESERVED):
        raise CertificateRequestError(f"names below {_RESERVED} belong to the control plane")


def expiry(certificate: bytes) -> datetime:
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc.astimezone(UTC)
