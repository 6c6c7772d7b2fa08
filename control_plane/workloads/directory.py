"""The port Subjects, answered by what is known of identity providers and who is linked there."""

from __future__ import annotations

from control_plane.documents.stored_kind import StoredKind
from control_plane.identities.domain import Identity
from control_plane.identities.service import IdentityService
from control_plane.identities.tables import ExternalAccountRow
from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.sign_on.documents import parse


class LinkedSubjects:
    def __init__(self, providers: StoredKind, identities: IdentityService) -> None:
        self._providers = providers
        self._identities = identities

    async def of_issuer(self, uow: UnitOfWork, issuer: str, subject: str) -> Identity | None:
        for row in await self._providers.rows(uow):
            provider = parse(row.json_text).spec.oidc
            if provider is None or provider.issuer != issuer:
                continue
            account = await uow.session.get(ExternalAccountRow, (row.name, subject))
            if account is not None and account.issuer in {"", issuer}:
                return await self._identities.find(uow, account.identity_id)
        return None
