"""Which subjects of providers are which of our people, where an admin says so.

Two identities of one person could approve each other's requests, so a first sign-in with an address that is known makes
nobody new: an admin, who knows whether they are the same, links them here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sqlmodel import col, select

from control_plane.documents.stored_kind import StoredKind
from control_plane.identities.domain import Identity
from control_plane.identities.ending import Ending
from control_plane.identities.service import IdentityService
from control_plane.identities.sourced import SourcedIdentities
from control_plane.identities.tables import ExternalAccountRow
from control_plane.kit.errors import ConflictError, InvalidError, NotFoundError
from control_plane.kit.unit_of_work import Actor, AuditEvent, UnitOfWork
from control_plane.sign_on import provider_sign_ins
from control_plane.sign_on.documents import source_of
from control_plane.sign_on.errors import SubjectPushedError


class PushedSubjects(Protocol):
    async def pushed(self, uow: UnitOfWork, provider: str, subject: str) -> tuple[str, str] | None:
        """The SCIM client that has pushed this subject of the provider, and as whom: the identity's id."""


class ExternalAccounts:
    def __init__(
        self,
        identities: IdentityService,
        providers: StoredKind,
        sourced: SourcedIdentities,
        ending: Ending,
        subjects: PushedSubjects,
    ) -> None:
        self._identities = identities
        self._providers = providers
        self._sourced = sourced
        self._ending = ending
        self._subjects = subjects

    async def of(self, uow: UnitOfWork, name: str) -> Sequence[ExternalAccountRow]:
        """In the order of the providers' names. Raises IdentityNotFoundError."""
        identity = await self._identities.named(uow, name)
        theirs = select(ExternalAccountRow).where(col(ExternalAccountRow.identity_id) == identity.id)
        return (await uow.session.exec(theirs.order_by(col(ExternalAccountRow.provider)))).all()

    async def link(self, uow: UnitOfWork, by: Actor, name: str, provider: str, subject: str) -> ExternalAccountRow:
        """From now on this subject signs in as this person; whose groups it has is told then. Again: nothing changes.
        Raises NotFoundError, InvalidError: not a person, ConflictError: either is linked, or pushed, otherwise."""
        identity = await self._identities.named(uow, name)
        if identity.kind != "person":
            raise InvalidError(f"{name!r} is a {identity.kind}; only people sign in at providers")
        if await self._providers.row(uow, provider) is None:
            raise NotFoundError(f"there is no identity provider {provider!r}")
        await self._check_pushed(uow, provider, subject, identity, may_be=True)
        known = await uow.session.get(ExternalAccountRow, (provider, subject), with_for_update=True)
        if known is None:
            return await self._linked(uow, by, identity, provider, subject)
        if known.identity_id != identity.id:
            name = await self._name(uow, known.identity_id)
            raise ConflictError(f"{provider}'s {subject!r} is {name!r}: unlink that first")
        return known

    async def unlink(self, uow: UnitOfWork, by: Actor, name: str, provider: str) -> None:
        """Ends what it has signed in for, and what it told of groups. Raises NotFoundError, ConflictError: pushed."""
        identity = await self._identities.named(uow, name)
        account = await self._at(uow, provider, identity)
        if account is None:
            raise NotFoundError(f"{name!r} is nobody's at {provider!r}")
        await self._check_pushed(uow, provider, account.subject, identity, may_be=False)
        rows = await provider_sign_ins.named(uow, provider, (), account.subject)
        await provider_sign_ins.end(uow, self._ending, rows, f"unlinked from {provider} by {by.name}")
        await uow.session.delete(account)
        await uow.session.flush()
        await self._sourced.set_groups(uow, by, source_of(provider), identity, ())
        uow.audit(AuditEvent("identity.unlinked", by, name, {"provider": provider, "subject": account.subject}))

    async def _linked(
        self, uow: UnitOfWork, by: Actor, identity: Identity, provider: str, subject: str
    ) -> ExternalAccountRow:
        other = await self._at(uow, provider, identity)
        if other is not None:
            raise ConflictError(f"{identity.name!r} is {provider}'s {other.subject!r}: unlink that first")
        row = ExternalAccountRow(provider=provider, subject=subject, identity_id=identity.id, created_at=uow.now)
        uow.session.add(row)
        await uow.session.flush()
        uow.audit(AuditEvent("identity.linked", by, identity.name, {"provider": provider, "subject": subject}))
        return row

    async def _check_pushed(
        self, uow: UnitOfWork, provider: str, subject: str, identity: Identity, *, may_be: bool
    ) -> None:
        """A client that ends whom it has pushed must end whoever signs in as that subject. `may_be`: the identity may
        be pushed as it, and nobody else. Raises SubjectPushedError."""
        pushed = await self._subjects.pushed(uow, provider, subject)
        if pushed is not None and (pushed[1] == identity.id) is not may_be:
            name, wanted = await self._name(uow, pushed[1]), identity.name if may_be else ""
            raise SubjectPushedError(provider, subject, pushed[0], name, wanted)

    async def _at(self, uow: UnitOfWork, provider: str, identity: Identity) -> ExternalAccountRow | None:
        row = ExternalAccountRow
        theirs = select(row).where(col(row.provider) == provider, col(row.identity_id) == identity.id)
        return (await uow.session.exec(theirs)).first()

    async def _name(self, uow: UnitOfWork, identity_id: str) -> str:
        other = await self._identities.find(uow, identity_id)
        return other.name if other is not None else identity_id
