"""`assentry api-tokens`: tokens for scripts of one's own, narrower than oneself."""

from __future__ import annotations

import re
from typing import Annotated, Final

import typer

from control_plane.cli.client import Api, Json, part
from control_plane.cli.config import load_profile
from control_plane.cli.output import Format, OutputOption, cell, print_fields, print_json, print_list, say

app = typer.Typer(no_args_is_help=True, help="Tokens for scripts of your own: short-lived and narrower than you.")
COLUMNS: Final = ("id", "name", "identity", "permissions", "created_at", "expires_at", "last_used_at")
_SECONDS: Final = {"m": 60, "h": 3600, "d": 86_400}
_LENGTH: Final = re.compile(r"([1-9][0-9]{0,5})([mhd])", re.ASCII)


def _length(text: str) -> int:
    found = _LENGTH.fullmatch(text)
    if found is None:
        raise typer.BadParameter("write 90m, 12h or 7d")
    return int(found[1]) * _SECONDS[found[2]]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="what it is for")],
    permission: Annotated[
        list[str],
        typer.Option("--permission", "-p", help="request, sessions, terminate, policy-read, audit; may be repeated"),
    ],
    length: Annotated[int, typer.Option("--for", "-f", parser=_length, help="90m, 12h, 7d; 30d at the longest")] = "1d",  # type: ignore[assignment]
    output: OutputOption = Format.TABLE,
) -> None:
    """Make a token for yourself, shown once; a script gives it in ASSENTRY_TOKEN."""
    body: Json = {"name": name, "permissions": permission, "ttl_seconds": length}
    made = Api(load_profile()).post("/v1/api-tokens", body)
    if output is Format.JSON:
        print_json(made)
    else:
        print_fields(made, ("id", "token", "permissions", "expires_at"), output)


@app.command("list")
def list_tokens(limit: Annotated[int, typer.Option(min=1)] = 100, output: OutputOption = Format.TABLE) -> None:
    """List tokens that are still good, never the tokens themselves: your own, as an admin all."""
    print_list(Api(load_profile()).pages("/v1/api-tokens", limit), COLUMNS, output)


@app.command()
def revoke(token: Annotated[str, typer.Argument(help="id of a token (pat_…)")]) -> None:
    """Revoke a token, and all that was made with it."""
    Api(load_profile()).delete(f"/v1/api-tokens/{part(token)}")
    say(f"{cell(token)} is revoked")
