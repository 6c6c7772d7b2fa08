"""Documents and people as the control plane of these tests knows them: values that a test changes."""

from __future__ import annotations

from collections.abc import Mapping

from control_plane.documents.domain import Stored
from control_plane.identities.domain import SnapshotIdentities
from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.targets.service import Target
from data_plane.policy import model


class PlayedDocuments:
    """One kind of document and who there is, from values that a test changes."""

    kind = "Policy"

    def __init__(self) -> None:
        self.found: dict[str, model.AnyDocument] = {}

    async def stored(self, uow: UnitOfWork) -> Mapping[str, Stored]:
        return {name: Stored(document, managed=True) for name, document in self.found.items()}

    async def snapshot(self, uow: UnitOfWork) -> SnapshotIdentities:
        return SnapshotIdentities((), ())

    async def agent_of(self, uow: UnitOfWork, target: str) -> str | None:
        found = await self.target(uow, target)
        return None if found is None else found.spec.agent

    async def all(self, uow: UnitOfWork) -> list[Target]:
        found = [one for one in self.found.values() if isinstance(one, model.Target)]
        return [Target(one.metadata.name, 1, {}, "", one.spec, "") for one in found]

    async def target(self, uow: UnitOfWork, name: str) -> Target | None:
        return next((one for one in await self.all(uow) if one.name == name), None)

    async def of_agent(self, uow: UnitOfWork, agent: str) -> list[Target]:
        return [one for one in await self.all(uow) if one.spec.agent == agent]
