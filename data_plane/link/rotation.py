"""The errands `rotate-credential` and `show-credential`: another password for the agent's own account at a target, and
which account that is. The control plane hears names and outcomes, never a secret."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from data_plane.credentials import stored
from data_plane.credentials.ports import SecretStore
from data_plane.credentials.rotation import Rotation
from data_plane.credentials.stored import Stage
from data_plane.identifiers import TargetName
from data_plane.link.errands import ErrandError
from data_plane.policy.model import TargetSpec
from data_plane.protocols.interface import ProtocolService


class OwnSecret(msgspec.Struct, frozen=True, eq=False):
    """Where the agent's own account at one target is kept. `username`: of a secret that names none."""

    store: SecretStore
    username: str
    kept: str  # for people: the kind of place, and its name


class CredentialErrands:
    def __init__(
        self,
        spec: Callable[[TargetName], TargetSpec | None],
        service: Callable[[], ProtocolService],
        secrets: Callable[[TargetName], OwnSecret],
    ) -> None:
        self._spec, self._service, self._secrets = spec, service, secrets

    async def rotate(self, name: TargetName, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Implements `errands.Do`."""
        del arguments
        spec = self._spec(name)
        rotate = spec.credential.rotate if spec is not None else None
        if spec is None or rotate is None:
            raise ErrandError(f"the target {name!r} says nothing of rotation in the snapshot of this agent: try again")
        secret = self._secrets(name)
        accounts = self._service().rotating(spec)
        done = await Rotation(secret.store, secret.username, accounts, rotate.accounts).rotate()
        return msgspec.structs.asdict(done)

    async def show(self, name: TargetName, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Implements `errands.Do`."""
        del arguments
        secret = self._secrets(name)
        text = await secret.store.read()
        waiting = stored.waiting(text)
        return {
            "account": stored.account(text, secret.username).username,
            "kept": secret.kept,
            "writable": secret.store.writable,
            "unfinished": waiting is not None and waiting.stage is not Stage.ASLEEP,
        }
