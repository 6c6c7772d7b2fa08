"""From what a provider says to a sign-in of one of our identities.

A subject is linked to an identity once and from then on by nothing else. The first time, a person who is there already
is taken only by a mail address that the provider has verified, in a domain that an admin has listed for this provider,
and only when exactly one person has it; an address alone never links, so nobody takes an account over by claiming one.
"""

from __future__ import annotations

from control_plane.identities.domain import Identity
from control_plane.identities.service import IdentityService
from control_plane.identities.sign_ins import Channel, OpenedSignIn, Proof, SignInService
from control_plane.identities.sourced import SourcedIdentities
from control_plane.identities.tables import ExternalAccountRow, IdentityRow
from control_plane.kit.unit_of_work import SYSTEM, AuditEvent, UnitOfWork
from control_plane.sign_on.documents import IdentityProviderSpec, Linking
from control_plane.sign_on.domain import Told, domain_of, our_groups
from control_plane.sign_on.errors import NotKnownHereError


class SignOn:
    """Whoever has verified what a provider said comes here."""

    def __init__(self, identities: IdentityService, sourced: SourcedIdentities, sign_ins: SignInService) -> None:
        self._identities = identities
        self._sourced = sourced
        self._sign_ins = sign_ins

    async def open(self, uow: UnitOfWork, spec: IdentityProviderSpec, told: Told, channel: Channel) -> OpenedSignIn:
        """Raises NotKnownHereError: not linked and not to be linked, or not able to act."""
        identity = await self.identity(uow, spec, told)
        proof = Proof(told.provider, told.session, told.acr, told.amr, told.refresh)
        return await self._sign_ins.open(uow, identity, channel, told.authenticated_at, proof)

    async def identity(self, uow: UnitOfWork, spec: IdentityProviderSpec, told: Told) -> Identity:
        """Whom it means, with the groups that the provider tells. Raises NotKnownHereError."""
        identity = await self._linked(uow, told) or await self._link(uow, spec.linking, told)
        if identity is None or not identity.able or identity.kind != "person":
            raise NotKnownHereError(told.provider)
        if told.groups is not None:
            source = f"provider:{told.provider}"
            await self._sourced.set_groups(uow, SYSTEM, source, identity, our_groups(spec.groups, told.groups))
        row = await uow.session.get(IdentityRow, identity.id)
        if row is not None:
            row.last_seen_at = uow.now
        return await self._identities.named(uow, identity.name)

    async def _linked(self, uow: UnitOfWork, told: Told) -> Identity | None:
        account = await uow.session.get(ExternalAccountRow, (told.provider, told.subject), with_for_update=True)
        if account is None:
            return None
        account.last_used_at, account.email = uow.now, told.email[:255] or account.email
        return await self._identities.find(uow, account.identity_id)

    async def _link(self, uow: UnitOfWork, rules: Linking, told: Told) -> Identity | None:
        identity = await self._by_email(uow, rules, told)
        if identity is None and rules.create:
            source, called = f"provider:{told.provider}", told.called or told.email.partition("@")[0]
            email = told.email if told.email_verified else ""
            identity = await self._sourced.make_person(uow, SYSTEM, source, called, email)
        if identity is None:
            return None
        uow.session.add(
            ExternalAccountRow(
                provider=told.provider,
                subject=told.subject,
                identity_id=identity.id,
                email=told.email[:255],
                created_at=uow.now,
                last_used_at=uow.now,
            )
        )
        await uow.session.flush()
        linked = {"provider": told.provider, "subject": told.subject}
        uow.audit(AuditEvent("identity.linked", SYSTEM, identity.name, linked))
        return identity

    async def _by_email(self, uow: UnitOfWork, rules: Linking, told: Told) -> Identity | None:
        if not told.email_verified or domain_of(told.email) not in {one.lower() for one in rules.by_email}:
            return None
        people = [one for one in await self._identities.with_email(uow, told.email) if one.kind == "person"]
        return people[0] if len(people) == 1 else None
