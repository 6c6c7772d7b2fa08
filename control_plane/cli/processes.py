"""Commands that start something: the two planes, or a client with its endpoint filled in, and become it."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import typer

from control_plane.cli import certificates
from control_plane.cli.client import Api
from control_plane.cli.config import Profile, client_environment, load_profile, save_profile, stored_profile
from control_plane.cli.errors import CommandError


def control_plane(context: typer.Context) -> None:
    """Run the control plane; what follows goes to it: `serve`, or `init` for the first admin."""
    _become_plane("control_plane", "control-plane", "fastapi", context.args)


def agent(context: typer.Context) -> None:
    """Run an agent: `assentry agent --config agent.toml`."""
    _become_plane("data_plane", "agent", "grpc", context.args)


def _become_plane(module: str, extra: str, needs: str, arguments: list[str]) -> None:
    """Replaces this process, so that signals reach the plane itself."""
    require(needs, extra)
    command = [sys.executable, "-m", module, *arguments]
    os.execv(command[0], command)  # noqa: S606 - our own interpreter and module, no shell


def require(module: str, extra: str) -> None:
    """Raises CommandError when a plane's libraries are not installed."""
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise CommandError(f"this needs more than the command line: pip install 'assentry[{extra}]'")


def connect(
    target: Annotated[str, typer.Argument(help="name of the target")],
    client: Annotated[list[str] | None, typer.Argument(help="further arguments of psql, after --")] = None,
    address: Annotated[
        str, typer.Option(help="where the target's agent listens, host:port; remembered for the next time")
    ] = "",
    database: Annotated[str, typer.Option(help="database, when the target has none of its own")] = "",
    show: Annotated[bool, typer.Option("--print", help="print the command instead of running it")] = False,
) -> None:
    """Run psql against a target with a fresh credential of yours: a token on this machine, else a certificate."""
    profile = load_profile()
    host, port = _endpoint(profile, target, address)
    api = Api(profile)
    name = str(api.get("/v1/session")["name"])
    settings = {"PGHOST": host, "PGPORT": port, "PGUSER": name, "PGDATABASE": database or name}
    if show:
        typer.echo(_command_line(target, settings))
        return
    psql = shutil.which("psql")
    if psql is None:
        raise CommandError("psql is not installed; --print shows what any other client needs")
    environment = client_environment(**settings, **_credential(api, target, host))
    os.execve(psql, [psql, *(client or [])], environment)  # noqa: S606 - the user's psql, no shell


def _endpoint(profile: Profile, target: str, address: str) -> tuple[str, str]:
    """Raises CommandError."""
    known = address or profile.addresses.get(target, "")
    if not known:
        raise CommandError(f"where does the agent of {target!r} listen? Say it once with --address host:port")
    host, _, port = known.rpartition(":")
    if not host or not port.isdecimal():
        raise CommandError(f"--address: {known!r} is not host:port")
    if address and address != profile.addresses.get(target):
        stored = stored_profile()
        save_profile(msgspec.structs.replace(stored, addresses={**stored.addresses, target: address}))
    return host.strip("[]"), port


def _credential(api: Api, target: str, host: str) -> Mapping[str, str]:
    """A token never leaves this machine: elsewhere the certificate shows who we are, and who the agent is."""
    if _is_this_machine(host):
        issued: dict[str, Any] = api.post("/v1/tokens", {"targets": [target]})
        return {"PGPASSWORD": issued["token"]}
    folder = certificates.default_folder()
    certificates.obtain(api, folder)
    return certificates.client_settings(folder)


def _command_line(target: str, settings: Mapping[str, str]) -> str:
    """For a shell; the credential is fetched when it runs."""
    words = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
    if _is_this_machine(settings["PGHOST"]):
        before = f'PGPASSWORD="$(assentry token {shlex.quote(target)})" psql'
    else:
        tls = certificates.client_settings(certificates.default_folder())
        before = "assentry certificate >/dev/null && " + " ".join(
            f"{key}={shlex.quote(one)}" for key, one in tls.items()
        )
        before += " psql"
    return f"{before} {shlex.quote(' '.join(f'{word}={settings[key]}' for word, key in words.items()))}"


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
