"""The errands `rotate-credential` and `show-credential`: another password for the agent's own account at a target, and
which account that is. The control plane hears names and outcomes, never a secret.

One rotation of a target at a time among all workers of this agent, and what became of the last one is kept: asked
again for the same one, because its answer was lost, any worker only tells it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from data_plane.credentials import stored
from data_plane.credentials.rotation import Rotated, Rotation
from data_plane.credentials.stored import Stage, StoredCredential
from data_plane.identifiers import TargetName
from data_plane.link.errands import ErrandError
from data_plane.link.files import locked_directory, private_directory, write_atomically
from data_plane.policy.model import TargetSpec
from data_plane.protocols.interface import ProtocolService

ROTATE: Final = "rotate-credential"
SHOW: Final = "show-credential"
_TURN_SECONDS: Final = 0.25  # between two looks whether another worker has finished


class OwnSecrets(Protocol):
    def source(self, name: TargetName) -> StoredCredential:
        """What the agent signs in with."""

    def kept(self, name: TargetName) -> str:
        """Where, for people."""


class _Last(msgspec.Struct, frozen=True):
    rotation: str
    outcome: Rotated


class CredentialErrands:
    """`folder` is shared by the workers of this agent."""

    def __init__(
        self,
        folder: Path,
        spec: Callable[[TargetName], TargetSpec | None],
        service: ProtocolService,
        secrets: OwnSecrets,
    ) -> None:
        self._folder, self._spec, self._service, self._secrets = folder, spec, service, secrets

    async def rotate(self, name: TargetName, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Implements `errands.Do`. `rotation` in the arguments names it."""
        rotation = str(arguments.get("rotation", ""))
        folder = private_directory(self._folder / name)
        async with _alone(folder):
            last = _last(folder)
            if last is None or not rotation or last.rotation != rotation:
                last = _Last(rotation, await self._rotated(name))
                await asyncio.to_thread(write_atomically, folder / "last", msgspec.json.encode(last))
        return msgspec.structs.asdict(last.outcome)

    async def _rotated(self, name: TargetName) -> Rotated:
        spec = self._spec(name)
        rotate = spec.credential.rotate if spec is not None else None
        if spec is None or rotate is None:
            raise ErrandError(f"the target {name!r} says nothing of rotation in the snapshot of this agent: try again")
        secret = self._secrets.source(name)
        return await Rotation(secret.store, secret.username, self._service.rotating(spec), rotate.accounts).rotate()

    async def show(self, name: TargetName, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Implements `errands.Do`."""
        del arguments
        secret = self._secrets.source(name)
        text = await secret.store.read()
        waiting = stored.waiting(text)
        return {
            "account": stored.account(text, secret.username).username,
            "kept": self._secrets.kept(name),
            "writable": secret.store.writable,
            "unfinished": waiting is not None and waiting.stage is not Stage.ASLEEP,
        }


@contextlib.asynccontextmanager
async def _alone(folder: Path) -> AsyncIterator[None]:
    """No other worker is at it, whatever became of one that was."""
    while True:
        try:
            descriptor = locked_directory(folder)
            break
        except BlockingIOError:
            await asyncio.sleep(_TURN_SECONDS)
    try:
        yield
    finally:
        os.close(descriptor)


def _last(folder: Path) -> _Last | None:
    try:
        return msgspec.json.decode((folder / "last").read_bytes(), type=_Last)
    except (OSError, msgspec.DecodeError):
        return None
