"""Commands that start something: the two planes, and a client with the endpoint filled in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Annotated

import typer

from control_plane.cli.client import Api
from control_plane.cli.config import client_environment, load_profile
from control_plane.cli.output import errors


def control_plane(
    context: typer.Context,
) -> None:
    """Run the control plane; what follows goes to it (`serve`, `init`, …)."""
    _become([sys.executable, "-m", "control_plane", *context.args])


def agent(context: typer.Context) -> None:
    """Run an agent: `assentry agent --config agent.toml`."""
    _become([sys.executable, "-m", "data_plane", *context.args])


def connect(
    target: Annotated[str, typer.Argument(help="name of the target")],
    address: Annotated[str, typer.Option(help="where its agent listens, host:port")],
    client: Annotated[list[str] | None, typer.Argument(help="further arguments of the client, after --")] = None,
    database: Annotated[str, typer.Option(help="database; the target's own when empty")] = "",
) -> None:
    """Run psql against a target with a fresh short-lived token as its password."""
    psql = shutil.which("psql")
    if psql is None:
        errors.print("psql is not installed; any PostgreSQL client works with `assentry token` as its password")
        raise typer.Exit(1)
    profile = load_profile()
    issued = Api(profile).post("/v1/tokens", {"targets": [target]})
    host, _, port = address.rpartition(":")
    environment = client_environment(
        PGHOST=host, PGPORT=port, PGPASSWORD=issued["token"], PGUSER="assentry", PGDATABASE=database or target
    )
    done = subprocess.run([psql, *(client or [])], env=environment, check=False)
    raise typer.Exit(done.returncode)


def _become(command: list[str]) -> None:
    """Replaces this process, so that signals reach the plane itself."""
    os.execv(command[0], command)  # noqa: S606 - our own interpreter and module, no shell
