"""Targets for other features: as they are now, and which of them an agent serves."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from control_plane.documents.stored_kind import StoredKind
from control_plane.documents.tables import DocumentRow
from control_plane.kit.access import Permission
from control_plane.kit.unit_of_work import UnitOfWork
from data_plane.policy import documents, model


class Target(msgspec.Struct, frozen=True):
    name: str
    version: int
    labels: Mapping[str, str]
    description: str
    spec: model.TargetSpec
    spec_text: str  # canonical JSON of the spec: what agents get


class TargetService:
    """`targets` is the DocumentKind that `assembly` gives to the document service."""

    def __init__(self) -> None:
        self.targets = StoredKind(model.Target, "target", Permission.ADMIN)

    async def all(self, uow: UnitOfWork) -> list[Target]:
        """In order of names."""
        return [_target(row) for row in await self.targets.rows(uow)]

    async def target(self, uow: UnitOfWork, name: str) -> Target | None:
        row = await self.targets.row(uow, name)
        return None if row is None else _target(row)

    async def of_agent(self, uow: UnitOfWork, agent: str) -> list[Target]:
        return [target for target in await self.all(uow) if target.spec.agent == agent]

    async def agent_of(self, uow: UnitOfWork, target: str) -> str | None:
        found = await self.target(uow, target)
        return None if found is None else found.spec.agent

    async def known(self, uow: UnitOfWork) -> frozenset[str]:
        return frozenset(row.name for row in await self.targets.rows(uow))


def _target(row: DocumentRow) -> Target:
    document = msgspec.json.decode(row.json_text, type=model.Target)
    about = document.metadata
    return Target(
        row.name, row.version, about.labels, about.description, document.spec, documents.encode(document.spec)
    )
