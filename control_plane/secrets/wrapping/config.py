"""What operators write in ASSENTRY_WRAPPING_KEYS becomes wrapping keys. The one place that reads variables for them.

`file:/path`, `env:NAME`, `age:/path`, `aws-kms:ARN`, `gcp-kms:NAME`, `azure-kms:URL`, `vault-transit:URL`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from control_plane.secrets.ports import KeyWrapper, WrapperConfigurationError
from control_plane.secrets.wrapping import local
from control_plane.secrets.wrapping.age import AgeKey
from control_plane.secrets.wrapping.aws import aws_kms
from control_plane.secrets.wrapping.azure import azure_kms
from control_plane.secrets.wrapping.gcp import gcp_kms
from control_plane.secrets.wrapping.vault import vault_transit


def _file(path: str, where: str) -> KeyWrapper:
    return local.from_text(local.read_private(Path(path), where), where)


def _env(name: str, where: str) -> KeyWrapper:
    if name not in os.environ:
        raise WrapperConfigurationError(f"{where}: there is no such variable")
    return local.from_text(os.environ[name], where)


def _age(path: str, where: str) -> KeyWrapper:
    return AgeKey(Path(path), where)


_KINDS: Final[Mapping[str, Callable[[str, str], KeyWrapper]]] = {
    "file": _file,
    "env": _env,
    "age": _age,
    "aws-kms": aws_kms,
    "gcp-kms": gcp_kms,
    "azure-kms": azure_kms,
    "vault-transit": vault_transit,
}


def open_wrapper(entry: str) -> KeyWrapper:
    """One entry. It makes nothing and asks no service. Raises WrapperConfigurationError."""
    kind, colon, rest = entry.partition(":")
    if kind not in _KINDS or not colon or not rest:
        # Not repeated whole: somebody may have written the key itself.
        shown = f"{kind}:…" if kind in _KINDS else "an entry"
        raise WrapperConfigurationError(
            f"wrapping key {shown}: begin with one of: {', '.join(f'{k}:' for k in _KINDS)}"
        )
    return _KINDS[kind](rest, f"wrapping key {_shown(kind, rest)}")


def _shown(kind: str, rest: str) -> str:
    """What follows `env:` is a name, or the key itself by mistake."""
    if kind == "env" and not rest.isidentifier():
        return "env:…"
    return f"{kind}:{rest.partition('?')[0]}"
