"""The `assentry` command, put together. Errors that a user can mend are one line, never a traceback."""

from __future__ import annotations

import sys

import typer

from control_plane.cli import agents, approvals, audit, documents, identities, processes, sessions
from control_plane.cli.client import ApiError
from control_plane.cli.demo.command import demo
from control_plane.cli.output import cell, errors
from control_plane.cli.yaml_documents import DocumentError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A human decision between automated agents and what they touch.",
)
app.command()(demo)
app.command()(identities.login)
app.command()(identities.logout)
app.command()(identities.whoami)
app.command()(identities.token)
app.command("console")(identities.console_link)
app.command()(processes.connect)
app.command()(documents.plan)
app.command()(documents.apply)
app.command()(documents.export)
app.add_typer(approvals.app, name="approvals")
app.add_typer(sessions.app, name="sessions")
app.add_typer(audit.app, name="audit")
app.add_typer(identities.app, name="identities")
app.add_typer(agents.app, name="agents")
PASSES_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
app.command("control-plane", context_settings=PASSES_ON)(processes.control_plane)
app.command("agent", context_settings=PASSES_ON)(processes.agent)


def main() -> None:
    try:
        app()
    except (ApiError, DocumentError) as error:
        errors.print(f"[red]error[/red] {cell(str(error))}", soft_wrap=True)
        sys.exit(1)
