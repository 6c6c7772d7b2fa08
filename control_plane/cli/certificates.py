"""`assentry certificate`: a client certificate instead of a token. Its key is made here and never leaves here."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from control_plane.cli.binding import Bound, MinutesOption, NetworkOption, TargetsArgument, bound
from control_plane.cli.client import Api
from control_plane.cli.config import load_profile, profile_path, write_private
from control_plane.cli.output import Format, OutputOption, print_fields, print_json, say

KEY, CERTIFICATE, AUTHORITY = "client.key", "client.crt", "ca.crt"
FIELDS: Final = ("credential_id", "expires_at", "certificate", "key", "ca")
_EVERYWHERE: Final = Bound()


class Issued(msgspec.Struct, frozen=True):
    """All PEM. `ca` verifies the agents' certificates."""

    credential_id: str
    expires_at: str
    certificate: bytes
    key: bytes
    ca: bytes

    def __repr__(self) -> str:
        return f"Issued({self.credential_id!r}, ***)"


def certificate(
    targets: TargetsArgument = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", "-d", help="where the files go; beside the profile when not named")
    ] = None,
    network: NetworkOption = None,
    minutes: MinutesOption = 60,
    output: OutputOption = Format.TABLE,
) -> None:
    """Get a short-lived client certificate for yourself: a credential for every client that speaks TLS."""
    written = obtain(Api(load_profile()), folder or default_folder(), bound(targets, network, minutes))
    if output is Format.JSON:
        print_json(written)
        return
    print_fields(written, FIELDS, output)
    settings = " ".join(
        f"{name}={shlex.quote(value)}" for name, value in client_settings(Path(written["folder"])).items()
    )
    say(f"\nFor psql and everything else that uses libpq:\n  export {settings}")


def default_folder() -> Path:
    return profile_path().parent / "certificate"


def issue(api: Api, bounds: Bound = _EVERYWHERE) -> Issued:
    """A fresh key and its certificate, on no disk."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "assentry")])  # the control plane puts its own
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    issued = api.post("/v1/client-certificates", bounds.body(csr=request.public_bytes(Encoding.PEM).decode()))
    return Issued(
        credential_id=issued["credential_id"],
        expires_at=issued["expires_at"],
        certificate=issued["certificate"].encode(),
        key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        ca=issued["ca"].encode(),
    )


def obtain(api: Api, folder: Path, bounds: Bound = _EVERYWHERE) -> dict[str, str]:
    """A fresh key and its certificate, and the authority that the agents' certificates come from, in this folder."""
    issued = issue(api, bounds)
    folder = folder.absolute()
    write_private(folder / KEY, issued.key)
    write_private(folder / CERTIFICATE, issued.certificate)
    write_private(folder / AUTHORITY, issued.ca)
    return {
        "credential_id": issued.credential_id,
        "expires_at": issued.expires_at,
        "folder": str(folder),
        "certificate": str(folder / CERTIFICATE),
        "key": str(folder / KEY),
        "ca": str(folder / AUTHORITY),
    }


def client_settings(folder: Path) -> dict[str, str]:
    """libpq's environment variables: this certificate, and an agent that must prove who it is."""
    return {
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": str(folder / AUTHORITY),
        "PGSSLCERT": str(folder / CERTIFICATE),
        "PGSSLKEY": str(folder / KEY),
    }
