"""`assentry accounts`: the accounts that agents have made at targets for sessions."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from control_plane.cli.client import Api, Json
from control_plane.cli.config import load_profile
from control_plane.cli.errors import CommandError
from control_plane.cli.output import Format, OutputOption, print_list

app = typer.Typer(no_args_is_help=True, help="Accounts at targets that were made for one session each.")
COLUMNS: Final = ("account", "target", "state", "session", "leased", "detail")


@app.callback()
def accounts() -> None:
    """Accounts at targets that were made for one session each."""


@app.command("list")
def list_accounts(
    stuck: Annotated[bool, typer.Option("--stuck", help="only those that would not go away")] = False,
    everything: Annotated[bool, typer.Option("--all", help="also those that are gone")] = False,
    target: str = "",
    session: Annotated[str, typer.Option(help="id of a session")] = "",
    limit: Annotated[int, typer.Option(min=1)] = 50,
    output: OutputOption = Format.TABLE,
) -> None:
    """List the accounts that are not known to be gone, newest first."""
    if stuck and everything:
        raise CommandError("--stuck and --all exclude each other")
    show = "stuck" if stuck else "all" if everything else "there"
    found = Api(load_profile()).pages("/v1/accounts", limit, show=show, target=target or None, session=session or None)
    print_list(found if output is Format.JSON else map(_row, found), COLUMNS, output)


def _row(account: Json) -> Json:
    return {**account, "session": account["session_id"], "leased": account["leased_at"]}
