"""The port Directory, answered by identities and targets through their services."""

from __future__ import annotations

from control_plane.identities.credentials import CredentialService
from control_plane.identities.service import IdentityService
from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.sessions.ports import Described
from control_plane.targets.service import TargetService


class KnownNames:
    def __init__(self, identities: IdentityService, targets: TargetService, credentials: CredentialService) -> None:
        self._identities = identities
        self._targets = targets
        self._credentials = credentials

    async def describe(self, uow: UnitOfWork, requester_id: str, target: str) -> Described:
        identity = await self._identities.find(uow, requester_id)
        found = await self._targets.target(uow, target)
        return Described(
            requester_name=identity.name if identity else "",
            owner_id=identity.owner_id if identity else None,
            environment=found.spec.environment if found else "",
        )

    async def used(self, uow: UnitOfWork, credential_id: str) -> None:
        await self._credentials.used(uow, credential_id)
