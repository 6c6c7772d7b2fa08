"""Which sources of people push in the name of an identity provider, and whose mail address is believed.

Implements `sign_on.linking.Pushers`, `sign_on.accounts.PushedSubjects` and `identities.ports.AddressSources`.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlmodel import col, select

from control_plane.identities.domain import Identity
from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.scim import payloads, repository
from control_plane.scim.domain import source_of
from control_plane.scim.tables import ScimClientRow
from control_plane.sign_on import speaking


class ClientSources:
    async def sources_of(self, uow: UnitOfWork, provider: str) -> Collection[str]:
        statement = select(ScimClientRow.name).where(col(ScimClientRow.provider) == provider)
        return {source_of(name) for name in (await uow.session.exec(statement)).all()}

    async def pushed(self, uow: UnitOfWork, provider: str, subject: str) -> tuple[str, str] | None:
        found = await repository.pushed_subject(uow.session, provider, payloads.exact(subject) or "")
        return None if found is None else (found.client, found.identity_id)

    async def is_believed(self, uow: UnitOfWork, identity: Identity) -> bool:
        """A SCIM client pushes whatever address it likes, and is believed where its provider's document lists the
        domain. Every other address was written here, or kept because the provider of the sign-in lists its domain."""
        kind, _, name = identity.source.partition(":")
        if kind == "provider":
            pushed = await repository.user_of_identity(uow.session, identity.id)
            name = pushed.client if pushed is not None else ""
        if not name:
            return True
        client = await uow.session.get(ScimClientRow, name)
        return client is not None and await speaking.may_speak(uow, client.provider, identity.email)
