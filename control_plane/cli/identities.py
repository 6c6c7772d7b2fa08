"""Who is signed in, short-lived credentials, and who there is."""

from __future__ import annotations

from typing import Annotated

import httpx
import msgspec
import typer

from control_plane.cli.binding import MinutesOption, NetworkOption, TargetsArgument, bound
from control_plane.cli.client import Api, ApiError, Json, part
from control_plane.cli.config import load_profile, save_profile, stored_profile
from control_plane.cli.output import Format, OutputOption, cell, print_fields, print_json, print_list, say

app = typer.Typer(no_args_is_help=True, help="People, machines and their credentials.")
_CREDENTIAL = ("id", "kind", "identity_id", "targets", "networks", "issued_at", "expires_at", "last_used_at")


def logout() -> None:
    """End the session and forget it."""
    profile = stored_profile()
    try:
        Api(profile).delete("/v1/session")
    except ApiError as error:
        if error.status != httpx.codes.UNAUTHORIZED:
            raise
    save_profile(msgspec.structs.replace(profile, token=""))
    say("Signed out")


def console_link() -> None:
    """Print a one-time link that opens the console in a browser, signed in as you."""
    profile = load_profile()
    typer.echo(profile.url + Api(profile).post("/v1/session/links")["path"])


def whoami(output: OutputOption = Format.TABLE) -> None:
    """Show who is signed in, and what they may do."""
    profile = load_profile()
    who = {**Api(profile).get("/v1/session"), "control_plane": profile.url}
    print_fields(who, ("name", "kind", "groups", "permissions", "control_plane"), output)


def token(
    targets: TargetsArgument = None,
    network: NetworkOption = None,
    minutes: MinutesOption = 60,
    output: OutputOption = Format.TABLE,
) -> None:
    """Print a short-lived token for yourself: the password for every client."""
    minted = Api(load_profile()).post("/v1/tokens", bound(targets, network, minutes).body())
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
    print_fields(Api(load_profile()).post(f"/v1/identities/{part(name)}/password", {}), ("password",), output)


@app.command()
def disable(name: Annotated[str, typer.Argument(help="name of a person or machine")]) -> None:
    """End somebody, and their machines: sessions, sign-ins, tokens and keys, at once and for good."""
    _switched(name, disabled=True)
    say(f"{cell(name)} is disabled; what they and their machines had open has ended")


@app.command()
def enable(name: Annotated[str, typer.Argument(help="name of a disabled person or machine")]) -> None:
    """Let somebody sign in again; what has ended stays so."""
    able = _switched(name, disabled=False)["able"]
    say(f"{cell(name)} is enabled" + ("" if able else ", and may do nothing until the owner is too"))


def _switched(name: str, *, disabled: bool) -> Json:
    shown: Json = Api(load_profile()).patch(f"/v1/identities/{part(name)}", {"disabled": disabled}, if_match="*")
    return shown


@app.command()
def accounts(
    name: Annotated[str, typer.Argument(help="name of a person")], output: OutputOption = Format.TABLE
) -> None:
    """List as which subjects of identity providers somebody signs in."""
    found = Api(load_profile()).get(f"/v1/identities/{part(name)}/accounts")
    print_list(found, ("provider", "subject", "email", "created_at", "last_used_at"), output)


@app.command()
def link(
    name: Annotated[str, typer.Argument(help="name of a person")],
    provider: Annotated[str, typer.Argument(help="name of an identity provider")],
    subject: Annotated[str, typer.Argument(help="as the provider names them; in the audit log of a refused sign-in")],
) -> None:
    """Say that a subject of an identity provider is this person."""
    Api(load_profile()).put(f"/v1/identities/{part(name)}/accounts/{part(provider)}", {"subject": subject})


@app.command()
def unlink(
    name: Annotated[str, typer.Argument(help="name of a person")],
    provider: Annotated[str, typer.Argument(help="name of an identity provider")],
) -> None:
    """Take that back; ends what they have signed in for there."""
    Api(load_profile()).delete(f"/v1/identities/{part(name)}/accounts/{part(provider)}")


@app.command()
def keys(limit: Annotated[int, typer.Option(min=1)] = 100, output: OutputOption = Format.TABLE) -> None:
    """List the service-account keys of machines, never the keys themselves."""
    found = Api(load_profile()).pages("/v1/service-account-keys", limit)
    print_list(found, ("id", "identity", "description", "created_at", "expires_at", "revoked_at"), output)


@app.command()
def credentials(limit: Annotated[int, typer.Option(min=1)] = 100, output: OutputOption = Format.TABLE) -> None:
    """List tokens and certificates that are still good: your own, as an admin all."""
    found = Api(load_profile()).pages("/v1/credentials", limit)
    print_list(found, _CREDENTIAL, output)


@app.command()
def locks(output: OutputOption = Format.TABLE) -> None:
    """List requesters who asked too much in a minute and may not ask for a time."""
    print_list(Api(load_profile()).get("/v1/request-locks"), ("identity", "until"), output)


@app.command()
def unlock(name: Annotated[str, typer.Argument(help="name of a locked requester")]) -> None:
    """Let a requester ask again who is locked for asking too much."""
    Api(load_profile()).delete(f"/v1/request-locks/{part(name)}")
    say(f"{cell(name)} may ask again")


@app.command()
def revoke(
    credential: Annotated[str, typer.Argument(help="id of a token or certificate (crd_…) or of a key (key_…)")],
) -> None:
    """Revoke a credential, and for a key all that was made with it; sessions that rest on it end at once."""
    kind = "service-account-keys" if credential.startswith("key_") else "credentials"
    Api(load_profile()).delete(f"/v1/{kind}/{part(credential)}")
    say(f"{cell(credential)} is revoked")
