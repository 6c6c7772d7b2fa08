"""The `assentry` command, put together. Errors that a user can mend are one line, never a traceback."""

from __future__ import annotations

import importlib.metadata
import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from control_plane.cli import (
    access,
    access_reviews,
    accounts,
    agents,
    api_tokens,
    approval_acts,
    approvals,
    audit,
    certificates,
    connecting,
    credential_helper,
    doctor,
    documents,
    identities,
    plans,
    processes,
    rotation,
    scim_clients,
    secrets,
    security_keys,
    sessions,
    signing_in,
    ssh_certificates,
    targets,
    workloads,
)
from control_plane.cli.asking import asking
from control_plane.cli.demo.command import demo
from control_plane.cli.errors import CommandError
from control_plane.cli.output import cell, end_of_output, warn

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A human decision between automated agents and what they touch.",
)
app.command()(demo)
app.command()(signing_in.login)
app.command()(identities.logout)
app.command()(identities.whoami)
app.command()(identities.token)
app.command()(certificates.certificate)
app.command("ssh-certificate")(ssh_certificates.ssh_certificate)
app.command("console")(identities.console_link)
app.command()(connecting.connect)
app.command()(documents.plan)
app.command()(documents.apply)
app.command()(documents.export)
for act in approval_acts.COMMANDS:
    approvals.app.command()(act)
identities.app.command()(access_reviews.report)
for command in rotation.COMMANDS:
    targets.app.command()(command)
app.add_typer(credential_helper.app, name="credential-helper")
app.add_typer(approvals.app, name="approvals")
app.add_typer(plans.app, name="plans")
app.add_typer(access.app, name="access")
app.add_typer(access_reviews.app, name="access-reviews")
app.add_typer(sessions.app, name="sessions")
app.add_typer(accounts.app, name="accounts")
app.add_typer(scim_clients.app, name="scim-clients")
app.add_typer(secrets.app, name="secrets")
app.add_typer(security_keys.app, name="security-keys")
app.add_typer(audit.app, name="audit")
app.add_typer(identities.app, name="identities")
app.add_typer(api_tokens.app, name="api-tokens")
app.add_typer(agents.app, name="agents")
app.add_typer(targets.app, name="targets")
app.add_typer(workloads.app, name="workloads")
app.add_typer(doctor.app, name="doctor")
PASSES_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
app.command("control-plane", context_settings=PASSES_ON)(processes.control_plane)
app.command("agent", context_settings=PASSES_ON)(processes.agent)
asking(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"assentry {importlib.metadata.version('assentry')}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="print it")] = False,
) -> None:
    """A human decision between automated agents and what they touch."""


def main() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a character shows its code
    try:
        app()
    except CommandError as error:
        _fail(str(error))
    except BrokenPipeError:
        end_of_output()
        sys.exit(1)
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    finally:
        _flush()


def _fail(message: str) -> None:
    warn(f"[red]error[/red] {cell(message)}")
    sys.exit(1)


def _flush() -> None:
    """Here and not when the interpreter ends, where a closed pipe is a complaint on the terminal."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        end_of_output()
