"""`assentry scim-clients`: identity providers that push people and groups here, and their tokens."""

from __future__ import annotations

import enum
from datetime import datetime, timedelta
from typing import Annotated, Final

import httpx
import typer

from control_plane.cli.client import Api, Json, part
from control_plane.cli.config import load_profile
from control_plane.cli.errors import CommandError
from control_plane.cli.output import Format, OutputOption, cell, print_fields, print_list, say, warn
from control_plane.kit.clock import SystemClock

app = typer.Typer(no_args_is_help=True, help="Identity providers that push people and groups here (SCIM).")
COLUMNS: Final = ("name", "provider", "people", "groups", "tokens", "expires_at", "last_used_at", "description")
FIELDS: Final = ("name", "url", "provider", "description", "people", "groups", "links", "created_at", "created_by")
TOKENS: Final = ("id", "created_at", "created_by", "expires_at", "last_used_at")
_SOON: Final = timedelta(days=14)
Name = Annotated[str, typer.Argument(help="name of the SCIM client")]
IdentityOption = Annotated[str, typer.Option(help="name of a person who is here already")]
GroupOption = Annotated[str, typer.Option(help="name of a group that is here already")]


class Fate(enum.StrEnum):
    END = "end"
    KEEP = "keep"


@app.command("list")
def list_clients(limit: Annotated[int, typer.Option(min=1)] = 100, output: OutputOption = Format.TABLE) -> None:
    """All of them; the dates are of the token that is good for the longest."""
    found = list(Api(load_profile()).pages("/v1/scim-clients", limit))
    print_list(found if output is Format.JSON else [_row(one) for one in found], COLUMNS, output)
    _warn_of(found)


@app.command()
def show(name: Name, output: OutputOption = Format.TABLE) -> None:
    """One, with the address for the provider, its tokens and the links that wait."""
    found = Api(load_profile()).get(_path(name))
    if output is Format.JSON:
        print_fields(found, (), output)
        return
    waiting = [
        f"{one['subject']}{' (by name)' if one['by_name'] else ''} → {one['identity'] or one['group']}"
        for one in found["links"]
    ]
    print_fields({**found, "links": waiting}, FIELDS, output)
    print_list(found["tokens"], TOKENS, output)
    _warn_of([found])


@app.command()
def create(
    name: Name,
    provider: Annotated[str, typer.Option(help="the IdentityProvider whose subjects its external ids are")] = "",
    description: str = "",
    days: Annotated[int, typer.Option(min=1, max=365, help="how long its first token lives")] = 180,
    output: OutputOption = Format.TABLE,
) -> None:
    """Make one with its first token, which is shown this once."""
    api = Api(load_profile())
    body: Json = {"name": name, "provider": provider or None, "description": description}
    made = api.post("/v1/scim-clients", body)
    minted = api.post(f"{_path(name)}/tokens", {"ttl_days": days})
    shown = {"name": name, "url": made["url"], "token": minted["token"], "expires_at": minted["expires_at"]}
    print_fields(shown, ("name", "url", "token", "expires_at"), output)


@app.command()
def token(
    name: Name,
    days: Annotated[int, typer.Option(min=1, max=365)] = 180,
    output: OutputOption = Format.TABLE,
) -> None:
    """A second token, shown this once: give it to the provider, then revoke the first."""
    minted = Api(load_profile()).post(f"{_path(name)}/tokens", {"ttl_days": days})
    print_fields(minted, ("id", "token", "expires_at"), output)


@app.command()
def revoke(name: Name, token_id: Annotated[str, typer.Argument(metavar="TOKEN", help="its id (sct_…)")]) -> None:
    """Revoke a token, at once."""
    Api(load_profile()).delete(f"{_path(name)}/tokens/{part(token_id)}")
    say(f"{cell(token_id)} is revoked")


@app.command()
def link(
    name: Name,
    subject: Annotated[str, typer.Argument(help="the external id; with --by-name a group's displayName")],
    identity: IdentityOption = "",
    group: GroupOption = "",
    by_name: Annotated[bool, typer.Option("--by-name", help="whichever group the provider calls so first")] = False,
) -> None:
    """Say who or which of those that are here a subject is, before the provider pushes it."""
    body: Json = {"subject": subject, "identity": identity or None, "group": group or None, "by_name": by_name}
    Api(load_profile()).put(f"{_path(name)}/links", body)
    say(f"when {cell(name)} pushes {cell(subject)}, it is {cell(identity or group)}")


@app.command()
def unlink(
    name: Name,
    subject: Annotated[str, typer.Argument(help="as it was linked")],
    group: Annotated[bool, typer.Option("--group", help="a group's, not a person's")] = False,
) -> None:
    """Take back a link that was not used yet."""
    query = httpx.QueryParams(kind="group" if group else "person", subject=subject)
    Api(load_profile()).delete(f"{_path(name)}/links?{query}")
    say(f"{cell(subject)} is linked no more")


@app.command()
def delete(
    name: Name,
    people: Annotated[Fate | None, typer.Option(help="what becomes of those whom it has pushed")] = None,
) -> None:
    """Take one away, with its tokens and all that it said of groups."""
    Api(load_profile()).delete(_path(name) + (f"?people={people.value}" if people else ""))
    say(f"{cell(name)} is deleted")


def _path(name: str) -> str:
    if not name:
        raise CommandError("name the SCIM client; `assentry scim-clients list` shows them")
    return f"/v1/scim-clients/{part(name)}"


def _row(client: Json) -> Json:
    until = [one["expires_at"] for one in client["tokens"]]
    used = [one["last_used_at"] for one in client["tokens"] if one["last_used_at"]]
    return {
        **client,
        "tokens": len(client["tokens"]),
        "expires_at": max(until, default=None),
        "last_used_at": max(used, default=None),
    }


def _warn_of(clients: list[Json]) -> None:
    """Without a token nobody who leaves is told to leave here."""
    for client in clients:
        until = [datetime.fromisoformat(one["expires_at"]) for one in client["tokens"]]
        name = cell(client["name"])
        if not until:
            warn(f"[red]{name} has no token: what its provider pushes is refused[/red]")
        elif max(until) < SystemClock().now() + _SOON:
            warn(f"[yellow]{name} pushes no more from {cell(max(until).isoformat())} on: make it a token[/yellow]")
