"""Which sources of people push in the name of an identity provider. Implements `sign_on.linking.Pushers`."""

from __future__ import annotations

from collections.abc import Collection

from sqlmodel import col, select

from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.scim.domain import source_of
from control_plane.scim.tables import ScimClientRow


class ClientSources:
    async def sources_of(self, uow: UnitOfWork, provider: str) -> Collection[str]:
        statement = select(ScimClientRow.name).where(col(ScimClientRow.provider) == provider)
        return {source_of(name) for name in (await uow.session.exec(statement)).all()}
