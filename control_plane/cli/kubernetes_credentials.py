"""kubectl's exec plugin (client.authentication.k8s.io, ExecCredential): a token or a certificate for one target.

kubectl says in KUBERNETES_EXEC_INFO which version of the answer it wants; anything that is none of the two is refused.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
import typer
from ruamel.yaml import YAML

from control_plane.cli import certificates
from control_plane.cli.binding import Bound, MinutesOption, NetworkOption, bound
from control_plane.cli.client import Api, Json
from control_plane.cli.config import kubernetes_exec_info, load_profile
from control_plane.cli.errors import CommandError
from control_plane.cli.output import print_json

_VERSIONS: Final = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


class _ExecInfo(msgspec.Struct, frozen=True):
    apiVersion: str
    kind: str = "ExecCredential"


def kubernetes(
    target: Annotated[str, typer.Argument(help="name of the target")],
    certificate: Annotated[bool, typer.Option("--certificate", help="a client certificate instead of a token")] = False,
    network: NetworkOption = None,
    minutes: MinutesOption = 60,
    setup: Annotated[str, typer.Option("--setup", help="print the kubeconfig for this server, https://host:port")] = "",
) -> None:
    """Answer kubectl with a fresh credential; --setup URL prints the kubeconfig that makes it ask."""
    api, bounds = Api(load_profile()), bound([target], network, minutes)
    if setup:
        _print_kubeconfig(api, target, setup, [word for given in bounds.networks for word in ("--network", given)])
        return
    version = _asked_version(kubernetes_exec_info())
    status = _by_certificate(api, bounds) if certificate else _by_token(api, bounds)
    print_json({"apiVersion": version, "kind": "ExecCredential", "status": status})


def _asked_version(info: str) -> str:
    """Raises CommandError."""
    if not info:
        return _VERSIONS[0]
    try:
        asked = msgspec.json.decode(info, type=_ExecInfo)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise CommandError(f"KUBERNETES_EXEC_INFO cannot be read ({error}): is it kubectl that asks?") from error
    if asked.apiVersion not in _VERSIONS:
        raise CommandError(
            f"{asked.apiVersion!r} is not known here: write apiVersion {_VERSIONS[0]} into the kubeconfig"
        )
    return asked.apiVersion


def _by_token(api: Api, bounds: Bound) -> Json:
    minted = api.post("/v1/tokens", bounds.body())
    return {"expirationTimestamp": minted["expires_at"], "token": minted["token"]}


def _by_certificate(api: Api, bounds: Bound) -> Json:
    issued = certificates.issue(api, bounds)
    return {
        "expirationTimestamp": issued.expires_at,
        "clientCertificateData": issued.certificate.decode(),
        "clientKeyData": issued.key.decode(),
    }


def _print_kubeconfig(api: Api, target: str, server: str, options: list[str]) -> None:
    """Raises CommandError."""
    if not server.startswith("https://"):
        raise CommandError(f"--setup: {server!r} is not the https:// address of the target's agent")
    name = f"assentry-{target}"
    exec_plugin = {
        "apiVersion": _VERSIONS[0],
        "command": "assentry",
        "args": ["credential-helper", "kubernetes", target, *options],
        "interactiveMode": "Never",
        "installHint": "pip install assentry, then assentry login",
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": _authority(api)}}],
        "users": [{"name": name, "user": {"exec": exec_plugin}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    YAML().dump(config, typer.get_text_stream("stdout"))


def _authority(api: Api) -> str:
    return str(api.get("/v1/ca")["base64"])
