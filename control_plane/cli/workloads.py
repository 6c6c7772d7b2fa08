"""`assentry workloads`: a workload's own token for a short-lived one; what machines sign in with; acting for others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from control_plane.cli import workload_tokens
from control_plane.cli.client import Api, Json, part
from control_plane.cli.config import client_environment, load_profile, write_private
from control_plane.cli.errors import CommandError
from control_plane.cli.output import Format, OutputOption, cell, print_fields, print_json, print_list, say

app = typer.Typer(no_args_is_help=True, help="Workloads and machines that prove themselves, without a static secret.")
_SIGN_INS: Final = ("id", "identity", "trust", "method", "subject", "claims", "behalf", "created_at", "expires_at")
_CREDENTIALS: Final = ("id", "identity", "kind", "description", "targets", "expires_at", "last_used_at", "revoked_at")
Machine = Annotated[str, typer.Argument(help="name of the machine; it has an owner, a purpose and an end date")]
Targets = Annotated[list[str] | None, typer.Argument(help="targets that the token is for; none: this control plane")]


@app.command()
def exchange(
    targets: Targets = None,
    audience: Annotated[str, typer.Option(help="whom the platform's token is for; this control plane when empty")] = "",
    token_file: Annotated[Path | None, typer.Option(help="read the platform's token here")] = None,
    trust: Annotated[str, typer.Option(help="which trust, when several take the token")] = "",
    key: Annotated[Path | None, typer.Option(help="sign with this private key instead of a platform's token")] = None,
    machine: Annotated[str, typer.Option(help="whose key it is")] = "",
    output: OutputOption = Format.TABLE,
) -> None:
    """Print a short-lived token for this workload: the password for the targets, or with none ASSENTRY_TOKEN.

    The platform's token is found on GitHub Actions, GitLab, in a Kubernetes pod, or in a file."""
    environment, url, wanted = client_environment(), load_profile().url, targets or []
    acting = environment.get(workload_tokens.ACTING_VARIABLE, "")
    if key is not None:
        if not machine:
            raise CommandError("--key needs --machine: whose key it is")
        told = workload_tokens.by_key(url, machine, key, wanted, acting)
    else:
        found = workload_tokens.platform_token(environment, audience or url, token_file)
        told = workload_tokens.exchange(url, found, wanted, trust, acting)
    if output is Format.JSON:
        print_json(told)
    else:
        typer.echo(told["access_token"])


@app.command("list")
def list_sign_ins(limit: Annotated[int, typer.Option(min=1)] = 50, output: OutputOption = Format.TABLE) -> None:
    """Which workloads signed in, newest first, and on whose behalf."""
    found = Api(load_profile()).pages("/v1/workload-sign-ins", limit)
    print_list(found if output is Format.JSON else map(_row, found), _SIGN_INS, output)


@app.command()
def end(sign_in: Annotated[str, typer.Argument(help="id of a sign-in (wsi_…)")]) -> None:
    """End one sign-in of a workload with all that was made with it; its sessions end at once."""
    Api(load_profile()).delete(f"/v1/workload-sign-ins/{part(sign_in)}")
    say(f"{cell(sign_in)} is ended")


@app.command()
def credentials(limit: Annotated[int, typer.Option(min=1)] = 100, output: OutputOption = Format.TABLE) -> None:
    """List the key pairs and secrets that machines sign in with; never a secret."""
    print_list(Api(load_profile()).pages("/v1/client-credentials", limit), _CREDENTIALS, output)


@app.command("key-pair")
def key_pair(
    machine: Machine,
    file: Annotated[Path, typer.Option("--file", "-f", help="where the new private key goes; it never leaves here")],
    target: Annotated[list[str] | None, typer.Option(help="what its tokens may be for; all when none is named")] = None,
    days: Annotated[int, typer.Option(min=1, max=365)] = 180,
    description: str = "",
    output: OutputOption = Format.TABLE,
) -> None:
    """Make a key pair for a machine here, and register its public half."""
    if file.exists():
        raise CommandError(f"{file} is there already; name another file")
    made = Ed25519PrivateKey.generate()
    body: Json = {"identity": machine, "description": description, "targets": target or ["*"], "ttl_days": days}
    body["jwk"] = workload_tokens.public_jwk(made)
    told = Api(load_profile()).post("/v1/client-credentials/key-pairs", body)
    write_private(file, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    print_fields(told, ("id", "identity", "targets", "expires_at"), output)


@app.command()
def secret(
    machine: Machine,
    target: Annotated[list[str] | None, typer.Option(help="what its tokens may be for; all when none is named")] = None,
    days: Annotated[int, typer.Option(min=1, max=90)] = 30,
    description: str = "",
    output: OutputOption = Format.TABLE,
) -> None:
    """Make a client secret for a machine that can keep no key: shown once, it ends within 90 days."""
    body: Json = {"identity": machine, "description": description, "targets": target or ["*"], "ttl_days": days}
    told = Api(load_profile()).post("/v1/client-credentials/secrets", body)
    print_fields(told, ("id", "identity", "secret", "targets", "expires_at"), output)


@app.command()
def revoke(credential: Annotated[str, typer.Argument(help="id of a key pair or secret (clc_…)")]) -> None:
    """Revoke a key pair or secret and all that was made with it; its sessions end at once."""
    Api(load_profile()).delete(f"/v1/client-credentials/{part(credential)}")
    say(f"{cell(credential)} is revoked")


@app.command()
def delegate(
    actor: Annotated[str, typer.Argument(help="the machine that may act on your behalf")],
    minutes: Annotated[int, typer.Option(min=1, max=480)] = 60,
    output: OutputOption = Format.TABLE,
) -> None:
    """Print a token by which a machine acts on your behalf: it gets no right by it, and you approve nothing of it.

    Give it to that machine as ASSENTRY_ACTING_TOKEN."""
    told = Api(load_profile()).post("/v1/acting-tokens", {"actor": actor, "ttl_seconds": minutes * 60})
    if output is Format.JSON:
        print_json(told)
    else:
        typer.echo(told["token"])


@app.command("delegations")
def list_delegations(output: OutputOption = Format.TABLE) -> None:
    """List by which machines others act on your behalf."""
    print_list(Api(load_profile()).get("/v1/acting-tokens"), ("id", "actor", "created_at", "expires_at"), output)


@app.command("take-back")
def take_back(token: Annotated[str, typer.Argument(help="id of what `delegate` made (act_…)")]) -> None:
    """Take a delegation back, with all that was got by it."""
    Api(load_profile()).delete(f"/v1/acting-tokens/{part(token)}")
    say(f"{cell(token)} is taken back")


def _row(told: Json) -> Json:
    claims = [f"{name}={value}" for name, value in told["claims"].items()]
    return {**told, "claims": claims, "behalf": [one["name"] for one in told["on_behalf_of"]]}
