"""AWS's `credential_process`: keys that no AWS account knows, for the endpoint of an agent.

The session token is the credential itself, bound to the target; it goes with every request. The secret key follows from
it by HMAC-SHA256, so that whoever verifies the token offline can verify the request's signature too, and nobody has to
keep a secret for it. Like every bearer of a token they are good for whoever has them, and only inside TLS.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import shlex
from typing import Annotated, Final

import typer

from control_plane.cli.binding import MinutesOption, NetworkOption, bound
from control_plane.cli.client import Api
from control_plane.cli.config import load_profile
from control_plane.cli.errors import CommandError
from control_plane.cli.output import print_json

_CONTEXT: Final = b"assentry-aws-secret-v1"
_ENDPOINT: Final = re.compile(r"https://[^\s]+")


def aws(
    target: Annotated[str, typer.Argument(help="name of the target")],
    network: NetworkOption = None,
    minutes: MinutesOption = 60,
    setup: Annotated[str, typer.Option("--setup", help="print the profile for this endpoint, https://host:port")] = "",
) -> None:
    """Answer AWS's tools with fresh keys; --setup URL prints the profile for ~/.aws/config that makes them ask."""
    bounds = bound([target], network, minutes)
    if setup:
        options = shlex.join([target, *(word for given in bounds.networks for word in ("--network", given))])
        _print_profile(target, setup, options)
        return
    minted = Api(load_profile()).post("/v1/tokens", bounds.body())
    print_json(
        {
            "Version": 1,
            "AccessKeyId": minted["credential_id"],
            "SecretAccessKey": secret_key(minted["token"]),
            "SessionToken": minted["token"],
            "Expiration": minted["expires_at"],
        }
    )


def secret_key(token: str) -> str:
    """40 characters, as AWS's own have."""
    return base64.urlsafe_b64encode(hmac.digest(token.encode(), _CONTEXT, hashlib.sha256)[:30]).decode()


def _print_profile(target: str, endpoint: str, options: str) -> None:
    """Raises CommandError."""
    if _ENDPOINT.fullmatch(endpoint) is None:
        raise CommandError(f"--setup: {endpoint!r} is not the https:// address of the target's agent")
    typer.echo(f"[profile {target}]")
    typer.echo(f"credential_process = assentry credential-helper aws {options}")
    typer.echo(f"endpoint_url = {endpoint}")
