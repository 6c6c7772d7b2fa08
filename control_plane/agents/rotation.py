"""The files of the certificate authority, and how one takes the place of another while agents stay connected.

    ca.key ca.pem       the one that signs
    next.key next.pem   made by `prepare`: trusted already, signs nothing yet
    old.pem             left by `switch`: trusted still, its key is gone

Agents hear whom to trust at every renewal, so that each step waits until every certificate that was given out before
the last one has ended: then all agents that were not off for so long have renewed theirs. The control plane reads the
files when it starts. The keys are sealed (kit/sealing) as one thing, so that `switch` needs no more than a rename.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from control_plane.kit.sealing import FileSeal

SEALED_AS: Final = "authority-key"
BACKDATED: Final = timedelta(minutes=5)  # clocks differ
_LIFE: Final = timedelta(days=3650)


class RotationError(Exception):
    """The step cannot be taken now; `args[0]` says why and what to do."""


def prepare(directory: Path, now: datetime, seal: FileSeal) -> str:
    """A new authority beside the one that signs. What to do then."""
    if beside(directory):
        raise RotationError("a rotation is under way: go on with ca-switch or ca-forget")
    if not (directory / "ca.pem").exists():
        raise RotationError(f"{directory} holds no authority yet: start the control plane once")
    create(directory / "next.key", directory / "next.pem", now, seal)
    return "restart the control plane; when every agent has renewed its certificates, run ca-switch and restart again"


def switch(directory: Path, now: datetime, wait: timedelta) -> str:
    """The new one signs from the next start on; the old one is trusted still."""
    if not (directory / "next.pem").exists():
        raise RotationError("there is no new authority: run ca-prepare first")
    made_at = x509.load_pem_x509_certificate((directory / "next.pem").read_bytes()).not_valid_before_utc + BACKDATED
    _must_have_passed(made_at + wait, now)
    _write(directory / "old.pem", (directory / "ca.pem").read_bytes(), 0o644)
    (directory / "next.key").replace(directory / "ca.key")
    finish(directory)
    return "restart the control plane; when every agent has renewed its certificates, run ca-forget and restart again"


def forget(directory: Path, now: datetime, wait: timedelta) -> str:
    """The old one is trusted no more."""
    old = directory / "old.pem"
    if not old.exists():
        raise RotationError("there is no old authority to forget")
    _must_have_passed(datetime.fromtimestamp(old.stat().st_mtime, UTC) + wait, now)
    old.unlink()
    return "restart the control plane: the old authority is trusted no more"


def finish(directory: Path) -> None:
    """A switch that was cut short after its key was in place."""
    if (directory / "next.pem").exists() and not (directory / "next.key").exists():
        (directory / "next.pem").replace(directory / "ca.pem")


def beside(directory: Path) -> Sequence[Path]:
    """Those that are trusted and do not sign."""
    return [file for file in (directory / "next.pem", directory / "old.pem") if file.exists()]


def _must_have_passed(at: datetime, now: datetime) -> None:
    if now < at:
        raise RotationError(f"wait until {at:%Y-%m-%d %H:%M} UTC: agents may not have heard of the last step before")


def create(key_file: Path, certificate_file: Path, now: datetime, seal: FileSeal) -> None:
    """Both or none: the certificate comes last and its absence means that there is no authority yet."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = name(f"Assentry CA {now:%Y-%m-%d} {secrets.token_hex(4)}")  # two may be of one day
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + _LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    seal.write(key_file, pem(key), SEALED_AS)
    _write(certificate_file, certificate.public_bytes(Encoding.PEM), 0o644)


def _write(file: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
