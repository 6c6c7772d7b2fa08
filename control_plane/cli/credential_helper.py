"""`assentry credential-helper …`: what other clients run by themselves whenever they need a credential.

psql cannot run anything (libpq has no such hook, and reads a password file only where it is a plain file), so that its
helper prints variables for a shell, and `assentry connect` starts it. The others ask each in its own way: kubectl by an
exec plugin, ssh by `Match exec`, everything of AWS by `credential_process`. Each answer is one fresh credential for one
target; nothing but what is said here goes to standard output. `--setup` prints what belongs into the client's own
configuration instead, where nothing secret is.
"""

from __future__ import annotations

import shlex
from typing import Annotated, Final

import typer

from control_plane.cli import aws_credentials, kubernetes_credentials, ssh_credentials
from control_plane.cli.binding import MinutesOption, NetworkOption, bound
from control_plane.cli.client import Api
from control_plane.cli.config import load_profile, runtime_folder
from control_plane.cli.connecting import AddressOption, DatabaseOption, credential_in_files, endpoint_of

app = typer.Typer(no_args_is_help=True, help="Credentials for clients that ask for them by themselves.")
app.command("kubernetes")(kubernetes_credentials.kubernetes)
app.command("ssh")(ssh_credentials.ssh)
app.command("aws")(aws_credentials.aws)

TargetArgument = Annotated[str, typer.Argument(help="name of the target")]
_FOLDER: Final = "certificates"


@app.callback()
def group() -> None:
    """Credentials for clients that ask for them by themselves."""


@app.command()
def psql(
    target: TargetArgument,
    address: AddressOption = "",
    database: DatabaseOption = "",
    network: NetworkOption = None,
    minutes: MinutesOption = 60,
) -> None:
    """Print the variables that psql and everything with libpq reads: eval "$(assentry credential-helper psql NAME)".

    On this machine nothing is written; elsewhere a certificate and its key, below $XDG_RUNTIME_DIR if there is one.
    """
    profile = load_profile()
    api = Api(profile)
    endpoint = endpoint_of(profile, api, target, address, database)
    folder = runtime_folder() / _FOLDER / target
    settings = {**endpoint.settings, **credential_in_files(api, endpoint, bound([target], network, minutes), folder)}
    for name, value in settings.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
