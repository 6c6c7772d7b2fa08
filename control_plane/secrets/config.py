"""The settings of sealing (`ASSENTRY_WRAPPING_KEYS`), and the envelope that follows from them.

Nothing set: a key in the state directory, made at the first start. It protects a database that is kept elsewhere, and
nothing from who can read the state directory. Set later, it stays behind those that are set until it is removed.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog
from pydantic_settings import BaseSettings

from control_plane.kit.starting import StartError
from control_plane.secrets.envelope import Envelope
from control_plane.secrets.ports import KeyWrapper, WrapperFactory, WrappingError

_log = structlog.get_logger(__name__)

DEFAULT_FILE: Final = "wrapping.key"
_SETTING: Final = "ASSENTRY_WRAPPING_KEYS"


class SecretSettings(BaseSettings):
    """The control plane's settings inherit these."""

    wrapping_keys: str = ""  # file:/path, env:NAME, age:/path, aws-kms:ARN, …: the first seals, all of them open


def open_envelope(entries: str, state_dir: Path, open_wrapper: WrapperFactory) -> Envelope:
    """Raises StartError."""
    wrappers = [_opened(entry, open_wrapper) for entry in entries.replace(",", " ").split()]
    default = state_dir / DEFAULT_FILE
    if not wrappers:
        _make(default)
        _log.warning(
            "wrapping keys are not configured: the one that is used lies beside what it seals",
            file=str(default),
            advice=f"set {_SETTING} to a key that is kept elsewhere, then run: assentry secrets rewrap",
        )
    beside = ""
    if default.exists():
        wrappers.append(_opened(f"file:{default}", open_wrapper))
        beside = wrappers[-1].id
    return Envelope(_unlike(wrappers), beside)


def _opened(entry: str, open_wrapper: WrapperFactory) -> KeyWrapper:
    try:
        return open_wrapper(entry)
    except WrappingError as error:
        raise StartError(f"{_SETTING}: {error}") from error


def _unlike(wrappers: Sequence[KeyWrapper]) -> list[KeyWrapper]:
    """The default one may be configured as well."""
    return list({one.id: one for one in reversed(wrappers)}.values())[::-1]


def _make(file: Path) -> None:
    """Whole or not at all, and never over another one."""
    if file.exists():
        return
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(base64.b64encode(os.urandom(32)) + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
    try:
        os.link(fresh, file)
    except FileExistsError:
        return  # another process was quicker; its key is the one
    finally:
        fresh.unlink()
