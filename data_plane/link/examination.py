"""The errand `examine-target`: what the agent's own account can do at a target, looked at from here.

The control plane gets findings and SQL, never the credential; the snapshot in force says what policy is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from data_plane.credentials.ports import CredentialSource
from data_plane.gate.interface import TargetFacts
from data_plane.identifiers import TargetName
from data_plane.link.errands import ErrandError
from data_plane.policy.snapshot import PolicyState
from data_plane.protocols.interface import ExaminationError, Examined, ProtocolService

EXAMINE: Final = "examine-target"
Sources = Callable[[TargetName], CredentialSource]


class Examination:
    def __init__(self, policy: PolicyState, service: ProtocolService, sources: Sources) -> None:
        self._policy, self._service, self._sources = policy, service, sources

    async def examine(self, name: TargetName, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Implements `errands.Do`."""
        snapshot = self._policy.current
        target = snapshot.targets.get(name) if snapshot else None
        if snapshot is None or target is None:
            raise ErrandError(f"this agent has no target {name!r} in its snapshot yet: try again")
        spec, source = target.spec, self._sources(name)
        preview = await source.preview()
        examined = Examined(
            target=TargetFacts(name, spec.protocol, spec.environment, target.labels),
            spec=spec,
            policies=tuple(policy.spec for policy in snapshot.policies),
            masks=snapshot.masks,
            credential=await source.own(),
            options={key: str(value) for key, value in arguments.items()},
            preview=preview.username if preview else "",
        )
        try:
            return await self._service.examine(examined)
        except ExaminationError as error:
            raise ErrandError(str(error)) from error
