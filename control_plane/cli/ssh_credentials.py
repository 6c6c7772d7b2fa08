"""ssh's `Match exec`: a key and a certificate in place before ssh looks for them, renewed when they are about to end.

    Match host "bastion.example.com" exec "assentry credential-helper ssh bastion"
        …

ssh runs it before it connects and goes by its exit code: when there is no certificate to be had the block does not
match, and what went wrong stands on standard error.
"""

from __future__ import annotations

import fcntl
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from cryptography.hazmat.primitives.serialization import SSHCertificate, load_ssh_public_identity

from control_plane.cli import ssh_certificates
from control_plane.cli.binding import MinutesOption, NetworkOption, bound
from control_plane.cli.client import Api
from control_plane.cli.config import load_profile
from control_plane.cli.errors import CommandError
from control_plane.kit.clock import SystemClock

_LEFT_SECONDS: Final = 120  # less than this left: another one
_HOSTS: Final = re.compile(r"[A-Za-z0-9.*?!,:_-]+")


def ssh(
    target: Annotated[str, typer.Argument(help="name of the target; good at every server when not named")] = "",
    network: NetworkOption = None,
    minutes: MinutesOption = 60,
    setup: Annotated[str, typer.Option("--setup", help="print the block for these hosts, patterns of ssh_config")] = "",
) -> None:
    """Have a certificate in place for ssh; --setup HOSTS prints the block for ~/.ssh/config that makes it ask."""
    api = Api(load_profile())
    bounds, folder = bound([target] if target else None, network, minutes), ssh_certificates.default_folder(target)
    if setup:
        words = [*([target] if target else []), *(word for given in bounds.networks for word in ("--network", given))]
        _print_block(shlex.join(words), setup, str(api.get("/v1/session")["name"]), folder)
        return
    with _alone(folder):
        if not _is_good(folder, bounds.networks):
            ssh_certificates.obtain(api, folder, bounds)


def _is_good(folder: Path, networks: Sequence[str]) -> bool:
    """Whether what lies there is for these networks and lasts long enough for ssh to sign in."""
    try:
        kept = load_ssh_public_identity((folder / ssh_certificates.CERTIFICATE).read_bytes())
    except (OSError, ValueError):
        return False
    if not isinstance(kept, SSHCertificate) or not (folder / ssh_certificates.KEY).exists():
        return False
    bound_to = kept.critical_options.get(b"source-address", b"").decode()
    left = kept.valid_before - SystemClock().now().timestamp()
    return left > _LEFT_SECONDS and bound_to == ",".join(networks)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Several ssh that start at once do not each take the other's key away."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _print_block(words: str, hosts: str, name: str, folder: Path) -> None:
    """Raises CommandError."""
    if _HOSTS.fullmatch(hosts) is None:
        raise CommandError(f"--setup: {hosts!r} is no list of host patterns, such as *.example.com,bastion")
    command = f"assentry credential-helper ssh {words}".rstrip()
    typer.echo(f'Match host "{hosts}" exec "{command}"')
    typer.echo(f"    User {name}")
    typer.echo(f'    IdentityFile "{folder / ssh_certificates.KEY}"')
    typer.echo(f'    CertificateFile "{folder / ssh_certificates.CERTIFICATE}"')
    typer.echo("    IdentitiesOnly yes")
