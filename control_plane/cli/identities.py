"""Signing in, short-lived credentials, and who there is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from control_plane.cli.client import Api, Json
from control_plane.cli.config import Profile, load_profile, save_profile
from control_plane.cli.output import Format, OutputOption, console, print_fields, print_json, print_list

app = typer.Typer(no_args_is_help=True, help="People, machines and their keys.")


def login(
    name: Annotated[str, typer.Option(prompt=True)],
    url: Annotated[str, typer.Option(help="the control plane; the one used last when empty")] = "",
    password_file: Annotated[Path | None, typer.Option(help="read the password here instead of asking")] = None,
) -> None:
    """Sign in; the session is kept in a file that only you can read."""
    password = password_file.read_text().rstrip("\n") if password_file else typer.prompt("Password", hide_input=True)
    profile = Profile(url or load_profile().url)
    opened = Api(profile).post("/v1/session", {"name": name, "password": password, "channel": "cli"})
    path = save_profile(Profile(profile.url, opened["token"]))
    console.print(f"Signed in to {profile.url} as {name} until {opened['expires_at']}; kept in {path}")


def logout() -> None:
    """End the session and forget it."""
    profile = load_profile()
    Api(profile).delete("/v1/session")
    save_profile(Profile(profile.url))
    console.print("Signed out")


def console_link() -> None:
    """Print a one-time link that opens the console in a browser, signed in as you."""
    profile = load_profile()
    typer.echo(profile.url + Api(profile).post("/v1/session/links")["path"])


def whoami(output: OutputOption = Format.TABLE) -> None:
    """Show who is signed in, and what they may do."""
    print_fields(Api(load_profile()).get("/v1/session"), ("name", "kind", "groups", "permissions"), output)


def token(
    targets: Annotated[list[str] | None, typer.Argument(help="targets it is good for; all when none is named")] = None,
    minutes: Annotated[int, typer.Option(min=1, max=720, help="how long it lives")] = 60,
    output: OutputOption = Format.TABLE,
) -> None:
    """Print a short-lived token for yourself: the password for every client."""
    body: Json = {"targets": targets or ["*"], "ttl_seconds": minutes * 60}
    minted = Api(load_profile()).post("/v1/tokens", body)
    if output is Format.JSON:
        print_json(minted)
    else:
        typer.echo(minted["token"])


@app.command("list")
def list_identities(limit: Annotated[int, typer.Option(min=1)] = 100, output: OutputOption = Format.TABLE) -> None:
    """List people and machines."""
    found = Api(load_profile()).pages("/v1/identities", limit)
    print_list(found, ("name", "kind", "email", "owner", "groups", "disabled"), output)


@app.command()
def key(
    machine: Annotated[str, typer.Argument(help="name of the machine identity")],
    days: Annotated[int, typer.Option(min=1, max=365)] = 30,
    description: str = "",
    output: OutputOption = Format.TABLE,
) -> None:
    """Make a service-account key for a machine: shown once, it expires, and it gets the machine its tokens."""
    body: Json = {"identity": machine, "description": description, "ttl_days": days}
    print_fields(Api(load_profile()).post("/v1/service-account-keys", body), ("id", "key", "expires_at"), output)


@app.command()
def password(
    name: Annotated[str, typer.Argument(help="name of a person")],
    output: OutputOption = Format.TABLE,
) -> None:
    """Give a person a new password, made up here and shown once; ends their sign-ins."""
    print_fields(Api(load_profile()).post(f"/v1/identities/{name}/password", {}), ("password",), output)
