"""`assentry connect`: becomes a client with its endpoint and a fresh credential of the user's filled in.

A token goes to an agent on this machine only; elsewhere a certificate shows who the client is, and the agent must show
who it is. The credential is for this target alone and leaves nothing behind: a token is in the client's environment, a
certificate and its key are in memory where the system can do that (Linux), else in files that only the user can read.
"""

from __future__ import annotations

import ipaddress
import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from control_plane.cli import certificates, memory_files
from control_plane.cli.binding import Bound, MinutesOption, NetworkOption, bound
from control_plane.cli.client import Api
from control_plane.cli.config import Profile, client_environment, load_profile, save_profile, stored_profile
from control_plane.cli.errors import CommandError

AddressOption = Annotated[
    str, typer.Option(help="where the target's agent listens, host:port; remembered for the next time")
]
DatabaseOption = Annotated[str, typer.Option(help="database, when the target has none of its own")]


class Endpoint(msgspec.Struct, frozen=True):
    """Where a target's agent listens, and as whom to connect there."""

    host: str
    port: str
    user: str
    database: str

    @property
    def is_this_machine(self) -> bool:
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def settings(self) -> dict[str, str]:
        """As libpq's environment variables."""
        return {"PGHOST": self.host, "PGPORT": self.port, "PGUSER": self.user, "PGDATABASE": self.database}


def connect(
    target: Annotated[str, typer.Argument(help="name of the target")],
    client: Annotated[list[str] | None, typer.Argument(help="further arguments of the client, after --")] = None,
    address: AddressOption = "",
    database: DatabaseOption = "",
    with_: Annotated[
        str, typer.Option("--with", help="the client: psql, or another that uses libpq: pg_dump, …")
    ] = "psql",
    network: NetworkOption = None,
    minutes: MinutesOption = 60,
    show: Annotated[bool, typer.Option("--print", help="print the command instead of running it")] = False,
) -> None:
    """Run psql, or another client, against a target with a fresh credential of yours that nothing keeps."""
    profile = load_profile()
    api = Api(profile)
    endpoint = endpoint_of(profile, api, target, address, database)
    bounds = bound([target], network, minutes)
    if show:
        typer.echo(_command_line(with_, endpoint, bounds))
        return
    program = shutil.which(with_)
    if program is None:
        raise CommandError(f"{with_} is not installed; --print shows what any other client needs")
    environment = client_environment(**endpoint.settings, **_credential(api, endpoint, bounds))
    os.execve(program, [program, *(client or [])], environment)  # noqa: S606 - the user's own client, no shell


def endpoint_of(profile: Profile, api: Api, target: str, address: str, database: str) -> Endpoint:
    """Remembers the address. Raises CommandError."""
    host, port = _address(profile, target, address)
    name = str(api.get("/v1/session")["name"])
    return Endpoint(host, port, name, database or name)


def _address(profile: Profile, target: str, address: str) -> tuple[str, str]:
    """Raises CommandError."""
    known = address or profile.addresses.get(target, "")
    if not known:
        raise CommandError(f"where does the agent of {target!r} listen? Say it once with --address host:port")
    host, _, port = known.rpartition(":")
    if not host or not port.isdecimal():
        raise CommandError(f"--address: {known!r} is not host:port")
    if address and address != profile.addresses.get(target):
        stored = stored_profile(new=True)
        save_profile(msgspec.structs.replace(stored, addresses={**stored.addresses, target: address}))
    return host.strip("[]"), port


def _credential(api: Api, endpoint: Endpoint, bounds: Bound) -> Mapping[str, str]:
    if endpoint.is_this_machine or not memory_files.available():
        return credential_in_files(api, endpoint, bounds, certificates.default_folder())
    issued = certificates.issue(api, bounds)
    return {
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": memory_files.write("ca", issued.ca),
        "PGSSLCERT": memory_files.write("certificate", issued.certificate),
        "PGSSLKEY": memory_files.write("key", issued.key),
    }


def credential_in_files(api: Api, endpoint: Endpoint, bounds: Bound, folder: Path) -> Mapping[str, str]:
    """For a client that this process does not become; `folder`: where a certificate goes, if it takes one."""
    if endpoint.is_this_machine:
        return {"PGPASSWORD": str(api.post("/v1/tokens", bounds.body())["token"])}
    certificates.obtain(api, folder, bounds)
    return certificates.client_settings(folder)


def _command_line(program: str, endpoint: Endpoint, bounds: Bound) -> str:
    """For a shell; the credential is fetched when it runs."""
    words = [*bounds.targets, *(word for network in bounds.networks for word in ("--network", network))]
    words += ["--minutes", str(bounds.minutes)] if bounds.minutes != Bound().minutes else []
    settings = endpoint.settings
    if endpoint.is_this_machine:
        before = f'PGPASSWORD="$(assentry token {shlex.join(words)})"'
    else:
        settings |= certificates.client_settings(certificates.default_folder())
        before = f"assentry certificate {shlex.join(words)} >/dev/null &&"
    return " ".join([before, *(f"{name}={shlex.quote(value)}" for name, value in settings.items()), program])
