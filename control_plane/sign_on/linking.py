"""From what a provider says to a sign-in of one of our identities.

A subject is linked to an identity once and from then on by nothing else. The first time, a person who is there already
is taken only by a mail address that the provider has verified, in a domain that an admin has listed for this provider,
and only when exactly one person has it; an address alone never links, so nobody takes an account over by claiming one.
Addresses count as far as they can be trusted: written here, pushed for this provider, or told by it in a listed domain.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from sqlmodel import col, select

from control_plane.identities.domain import Identity
from control_plane.identities.service import IdentityService
from control_plane.identities.sign_ins import Channel, OpenedSignIn, Proof, SignInService
from control_plane.identities.sourced import SourcedIdentities
from control_plane.identities.tables import ExternalAccountRow, IdentityRow
from control_plane.kit.unit_of_work import SYSTEM, AuditEvent, UnitOfWork
from control_plane.sign_on import addresses, speaking
from control_plane.sign_on.documents import IdentityProviderSpec, Linking, source_of
from control_plane.sign_on.domain import Told, our_groups
from control_plane.sign_on.errors import NotKnownHereError


class Pushers(Protocol):
    async def sources_of(self, uow: UnitOfWork, provider: str) -> Collection[str]:
        """Of people who are pushed in the name of this provider."""

    async def is_believed(self, uow: UnitOfWork, identity: Identity) -> bool:
        """That it has its address."""


class SignOn:
    """Whoever has verified what a provider said comes here."""

    def __init__(
        self, identities: IdentityService, sourced: SourcedIdentities, sign_ins: SignInService, pushers: Pushers
    ) -> None:
        self._identities = identities
        self._sourced = sourced
        self._sign_ins = sign_ins
        self._pushers = pushers

    async def open(self, uow: UnitOfWork, spec: IdentityProviderSpec, told: Told, channel: Channel) -> OpenedSignIn:
        """Raises NotKnownHereError: not linked and not to be linked, or not able to act."""
        identity = await self.identity(uow, spec, told)
        proof = Proof(told.provider, told.session, told.acr, told.amr, told.refresh)
        return await self._sign_ins.open(uow, identity, channel, told.authenticated_at, proof)

    async def identity(self, uow: UnitOfWork, spec: IdentityProviderSpec, told: Told) -> Identity:
        """Whom it means, with the groups that the provider tells. Raises NotKnownHereError."""
        identity = await self._linked(uow, told)
        if identity is None:
            await addresses.one_after_the_other(uow)
            identity = await self._linked(uow, told) or await self._link(uow, spec.linking, told)
        if identity is None or not identity.able or identity.kind != "person":
            raise NotKnownHereError(told.provider)
        if told.groups is not None:
            await self._sourced.set_groups(uow, SYSTEM, _source(told), identity, our_groups(spec.groups, told.groups))
        row = await uow.session.get(IdentityRow, identity.id)
        if row is not None:
            row.last_seen_at = uow.now
        return await self._identities.named(uow, identity.name)

    async def _linked(self, uow: UnitOfWork, told: Told) -> Identity | None:
        account = await uow.session.get(ExternalAccountRow, (told.provider, told.subject), with_for_update=True)
        if account is None:
            return None
        if not _same_issuer(account, told):
            raise NotKnownHereError(
                told.provider, f"its account was made by {account.issuer!r}, and {told.issuer!r} says so now"
            )
        account.issuer = told.issuer
        account.last_used_at = uow.now
        if told.email:
            account.email, account.email_verified = told.email[:255], told.email_verified
        if told.email and told.email_verified:
            await addresses.keep(uow, told.provider, told.subject, told.email)
        return await self._identities.find(uow, account.identity_id)

    async def _link(self, uow: UnitOfWork, rules: Linking, told: Told) -> Identity | None:
        """Raises NotKnownHereError: it is for an admin to say whether they are the same."""
        known = await self._with_address(uow, told)
        identity = await self._by_email(uow, rules, told, known)
        if identity is None and rules.create:
            await self._check_new(uow, rules, told, known)
            identity = await self._made(uow, rules, told)
        if identity is None:
            return None
        uow.session.add(
            ExternalAccountRow(
                provider=told.provider,
                subject=told.subject,
                identity_id=identity.id,
                issuer=told.issuer,
                email=told.email[:255],
                email_verified=told.email_verified,
                created_at=uow.now,
                last_used_at=uow.now,
            )
        )
        await uow.session.flush()
        if told.email and told.email_verified:
            await addresses.keep(uow, told.provider, told.subject, told.email)
        linked = {"provider": told.provider, "subject": told.subject}
        uow.audit(AuditEvent("identity.linked", SYSTEM, identity.name, linked))
        return identity

    async def _check_new(self, uow: UnitOfWork, rules: Linking, told: Told, known: Collection[Identity]) -> None:
        """Two identities of one person could approve each other's requests, so nobody new is made with an address that
        somebody here has, or whose account at any provider has it. The newcomer's may be unverified: it keeps out
        nobody but whoever says it. The account's must have been verified once, or whoever chooses theirs could keep out
        whose it is; and not even so does it count against a provider that may speak for the domain, nor does what
        another's SCIM client pushes that may not. Whose provider tells none may be anybody whom another one has made.
        Raises NotKnownHereError."""
        if not told.email and await speaking.others_make_people(uow, told.provider):
            raise NotKnownHereError(
                told.provider, "it tells no address, and other providers make people too: an admin links them"
            )
        if _is_listed(rules, told):
            trusted = await self._trusted(uow, told)
            known = [one for one in known if one.source in trusted or await self._pushers.is_believed(uow, one)]
        if one := next(iter(known), None):
            raise NotKnownHereError(told.provider, f"{one.name!r} has its address already: an admin links them")
        account = next(iter(await addresses.accounts_with(uow, told.email)), None)
        if account is not None and not _is_listed(rules, told):
            one = await self._identities.find(uow, account.identity_id)
            name = one.name if one else account.identity_id
            raise NotKnownHereError(
                told.provider, f"{name!r} has its address already, at {account.provider!r}: an admin links them"
            )

    async def _made(self, uow: UnitOfWork, rules: Linking, told: Told) -> Identity:
        """Whoever has an address is linked to by it, so only one that this provider may speak for is kept."""
        source, called = _source(told), told.called or told.email.partition("@")[0]
        email = told.email if _is_listed(rules, told) else ""
        return await self._sourced.make_person(uow, SYSTEM, source, called, email)

    async def _with_address(self, uow: UnitOfWork, told: Told) -> list[Identity]:
        found = await self._identities.with_email(uow, told.email)
        return [one for one in found if one.kind == "person"]

    async def _trusted(self, uow: UnitOfWork, told: Told) -> Collection[str]:
        """Sources whose people have the addresses that this provider, where it may speak for one, says they have."""
        return {"", _source(told), *await self._pushers.sources_of(uow, told.provider)}

    async def _by_email(
        self, uow: UnitOfWork, rules: Linking, told: Told, known: Collection[Identity]
    ) -> Identity | None:
        """Raises NotKnownHereError: the one person who has it is another of the provider's subjects already."""
        if not _is_listed(rules, told):
            return None
        trusted = await self._trusted(uow, told)
        people = [one for one in known if one.source in trusted]
        if len(people) != 1:
            return None
        theirs = (
            col(ExternalAccountRow.provider) == told.provider,
            col(ExternalAccountRow.identity_id) == people[0].id,
        )
        account = (await uow.session.exec(select(ExternalAccountRow).where(*theirs))).first()
        if account is not None:
            raise NotKnownHereError(
                told.provider, f"{people[0].name!r}, who has its address, is {account.subject!r} there, somebody else"
            )
        return people[0]


def is_linked(account: ExternalAccountRow | None, told: Told, identity_id: str) -> bool:
    return account is not None and account.identity_id == identity_id and _same_issuer(account, told)


def _same_issuer(account: ExternalAccountRow, told: Told) -> bool:
    """A document may come to name another provider, whose subjects are other people."""
    return account.issuer in {"", told.issuer}


def _source(told: Told) -> str:
    return source_of(told.provider)


def _is_listed(rules: Linking, told: Told) -> bool:
    return told.email_verified and speaking.lists(rules, told.email)
