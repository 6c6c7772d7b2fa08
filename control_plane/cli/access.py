"""`assentry access`: a target for a limited time, asked for beforehand."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from control_plane.cli.client import Api, Json, part
from control_plane.cli.config import load_profile
from control_plane.cli.deciding import decided, ended_well
from control_plane.cli.output import Format, OutputOption, cell, print_fields, print_list, say

app = typer.Typer(no_args_is_help=True, help="A target for a limited time.")
COLUMNS: Final = ("short_code", "state", "requester", "offer", "target", "group", "duration", "until", "waits_for")
FIELDS: Final = ("short_code", "state", "offer", "target", "group", "duration", "until", "waits_for", "outcome")
Reference = Annotated[str, typer.Argument(help="short code or id")]


@app.command()
def offers(output: OutputOption = Format.TABLE) -> None:
    """List what you may ask for."""
    found = Api(load_profile()).get("/v1/offered-access")
    print_list(found, ("name", "target", "longest", "group", "policies", "description"), output)


@app.command()
def request(
    offer: Annotated[str, typer.Argument(help="as `assentry access offers` lists it")],
    length: Annotated[str, typer.Option("--for", "-f", help="90s, 15m, 2h: from the approval on")],
    reason: Annotated[str, typer.Option("--reason", "-r", help="shown to reviewers")],
    wait: Annotated[bool, typer.Option("--wait", help="until people have decided; fails unless they agree")] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Ask for access."""
    api = Api(load_profile())
    body: Json = {"offer": offer, "for": length, "reason": reason}
    asked = api.post("/v1/access-requests", body)
    if wait:
        if output is Format.TABLE:
            say(f"request {cell(asked['short_code'])} waits for {cell(asked['waits_for'])}")
        decided(api, asked["id"])
        asked = api.get(f"/v1/access-requests/{part(asked['id'])}")
    print_fields(asked, FIELDS, output)
    if wait:
        ended_well(asked)


@app.command("list")
def list_access(limit: Annotated[int, typer.Option(min=1)] = 50, output: OutputOption = Format.TABLE) -> None:
    """List requests and windows, newest first."""
    print_list(Api(load_profile()).pages("/v1/access-requests", limit), COLUMNS, output)


@app.command()
def end(
    reference: Reference,
    reason: Annotated[str, typer.Option("--reason", "-r")] = "",
    output: OutputOption = Format.TABLE,
) -> None:
    """End access before its time; live sessions that rest on it end at once."""
    ended = Api(load_profile()).post(f"/v1/access-requests/{part(reference)}/end", {"reason": reason})
    print_fields(ended, FIELDS, output)
