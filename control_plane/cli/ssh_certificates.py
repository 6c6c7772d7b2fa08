"""`assentry ssh-certificate`: a key, made here, and its short-lived certificate; in files or in ssh-agent only."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Annotated, Final

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from control_plane.cli.binding import Bound, MinutesOption, NetworkOption, TargetsArgument, bound
from control_plane.cli.client import Api
from control_plane.cli.config import load_profile, profile_path, write_private
from control_plane.cli.errors import CommandError
from control_plane.cli.output import Format, OutputOption, print_fields

KEY: Final = "id_ed25519"
CERTIFICATE: Final = f"{KEY}-cert.pub"
_FIELDS: Final = ("credential_id", "principals", "expires_at", "key", "certificate")


def ssh_certificate(
    targets: TargetsArgument = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", "-d", help="where the files go; beside the profile when not named")
    ] = None,
    agent: Annotated[bool, typer.Option("--agent", help="give the key to ssh-agent and keep no files")] = False,
    network: NetworkOption = None,
    minutes: MinutesOption = 60,
    output: OutputOption = Format.TABLE,
) -> None:
    """Get a short-lived SSH certificate for yourself, for servers that trust this deployment's authority."""
    api, bounds = Api(load_profile()), bound(targets, network, minutes)
    if agent:
        with tempfile.TemporaryDirectory(prefix="assentry-") as passing:
            issued = obtain(api, Path(passing), bounds)
            _give_to_agent(Path(passing), bounds.minutes)
        print_fields({**issued, "key": "in ssh-agent", "certificate": "in ssh-agent"}, _FIELDS, output)
        return
    print_fields(obtain(api, folder or default_folder(""), bounds), _FIELDS, output)


def default_folder(target: str) -> Path:
    """`target` empty: of those that are good everywhere or for several."""
    kept = profile_path().parent / "ssh"
    return kept / target if target else kept


def obtain(api: Api, folder: Path, bounds: Bound) -> dict[str, object]:
    """A fresh key and its certificate, where ssh looks for the one beside the other."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    issued = api.post("/v1/ssh-certificates", bounds.body(public_key=public))
    folder = folder.absolute()
    write_private(folder / KEY, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    write_private(folder / CERTIFICATE, issued["certificate"].encode() + b"\n")
    return {**issued, "key": str(folder / KEY), "certificate": str(folder / CERTIFICATE)}


def _give_to_agent(folder: Path, minutes: int) -> None:
    """It forgets the key when the certificate ends. Raises CommandError."""
    command = ["ssh-add", "-q", "-t", str(minutes * 60), str(folder / KEY)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise CommandError("ssh-add is not installed: leave --agent out and use the files") from error
    except subprocess.CalledProcessError as error:
        raise CommandError(f"ssh-agent did not take the key: {error.stderr.strip()}") from error
