"""`assentry security-keys`: which there are, and removing one that somebody has lost. They are added in the console."""

from __future__ import annotations

from typing import Annotated

import typer

from control_plane.cli.client import Api, part
from control_plane.cli.config import load_profile
from control_plane.cli.output import Format, OutputOption, cell, print_list, say

app = typer.Typer(no_args_is_help=True, help="Security keys, which sign high-risk approvals.")
_COLUMNS = ("id", "name", "synced", "created_at", "last_used_at", "blocked_at")


@app.command("list")
def list_keys(
    of: Annotated[str, typer.Option(help="somebody else, for admins; else your own")] = "",
    output: OutputOption = Format.TABLE,
) -> None:
    """List security keys. `blocked_at`: its counter went back, so there is a copy, and it proves nothing."""
    api = Api(load_profile())
    path = f"/v1/identities/{part(of)}/security-keys" if of else "/v1/security-keys"
    print_list(api.get(path), _COLUMNS, output)


@app.command()
def add() -> None:
    """Say where a key is added: in the browser, which speaks with it."""
    say(f"open {cell(load_profile().url)}/security-keys in the browser that the key is plugged into")


@app.command()
def remove(
    of: Annotated[str, typer.Argument(help="who has lost it")],
    key: Annotated[str, typer.Argument(help="its id, see `security-keys list --of`")],
) -> None:
    """Remove a key that somebody has lost. Your own you remove in the console, with a key."""
    Api(load_profile()).delete(f"/v1/identities/{part(of)}/security-keys/{part(key)}")
    say(f"{cell(key)} of {cell(of)} is removed; they register another one in the console")
