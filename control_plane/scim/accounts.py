"""Which identity somebody is whom a SCIM client pushes for the first time, and whose subject at the provider.

By this order, by the external id alone: whom an admin has linked; whom this client has pushed and deleted before; whom
the provider's own sign-in has made, by its subject; else a new person. Nobody is taken over by a name or a mail
address, and nobody who was made here or by another source without an admin's link. Nor is anybody made beside somebody
who is believed to have the same address: whoever had two identities could approve their own requests.
"""

from __future__ import annotations

from control_plane.identities.domain import Identity
from control_plane.identities.ending import Ending
from control_plane.identities.service import IdentityService
from control_plane.identities.sourced import SourcedIdentities
from control_plane.identities.tables import ExternalAccountRow
from control_plane.kit.unit_of_work import AuditEvent, UnitOfWork
from control_plane.scim import payloads, repository
from control_plane.scim.domain import Client
from control_plane.scim.errors import KnownOtherwiseError
from control_plane.scim.resources import User
from control_plane.scim.sources import ClientSources
from control_plane.scim.tables import ScimUserRow
from control_plane.sign_on import addresses, provider_sign_ins, speaking
from control_plane.sign_on.documents import source_of


class Accounts:
    def __init__(
        self, identities: IdentityService, sourced: SourcedIdentities, sources: ClientSources, ending: Ending
    ) -> None:
        self._identities = identities
        self._sourced = sourced
        self._ending = ending
        self._sources = sources

    async def identity_for(self, uow: UnitOfWork, client: Client, user: User) -> Identity:
        """Raises KnownOtherwiseError."""
        subject = payloads.exact(user.external_id)
        identity = await self._linked(uow, client, subject)
        before = await repository.user_with(uow.session, client.name, external_id=subject) if subject else None
        if identity is None and before is not None:
            identity = await self._identities.find(uow, before.identity_id)
        if identity is None and subject:
            identity = await self._of_provider(uow, client, subject)
        if identity is not None:
            await self._release(uow, client, identity, before, subject)
            return identity
        called, email = (user.user_name or "").partition("@")[0], payloads.email_of(user)
        await self._check_nobody_else(uow, client, subject, email)
        return await self._sourced.make_person(uow, client.actor, client.source, called, email)

    async def connect(self, uow: UnitOfWork, client: Client, identity: Identity, subject: str | None) -> None:
        """So that the same subject may sign in at the provider as this identity. Raises KnownOtherwiseError."""
        if not client.provider or not subject:
            return
        account = await repository.account(uow.session, client.provider, subject)
        if account is not None:
            await self._check_same(uow, account, identity)
            return
        other = await repository.account_of(uow.session, client.provider, identity.id)
        if other is not None:  # the external ids are to be the subjects that sign in there
            raise KnownOtherwiseError(f"{identity.name!r} is {client.provider}'s {other.subject!r}, not {subject!r}")
        uow.session.add(
            ExternalAccountRow(provider=client.provider, subject=subject, identity_id=identity.id, created_at=uow.now)
        )
        await uow.session.flush()
        linked = {"provider": client.provider, "subject": subject}
        uow.audit(AuditEvent("identity.linked", client.actor, identity.name, linked))

    async def reconnect(
        self, uow: UnitOfWork, client: Client, row: ScimUserRow, identity: Identity, user: User
    ) -> None:
        """The client calls the person otherwise now: the subject from before is nobody's any more. Raises
        KnownOtherwiseError."""
        subject = payloads.exact(user.external_id)
        if row.external_id is None and identity.source == client.source:
            await self._check_nobody_else(uow, client, subject, payloads.email_of(user))
        await self._disconnect(uow, client, identity, row.external_id)
        await self.connect(uow, client, identity, subject)

    async def _disconnect(self, uow: UnitOfWork, client: Client, identity: Identity, before: str | None) -> None:
        """Ends what it has signed in for, and what it told of groups."""
        account = await repository.account(uow.session, client.provider, before) if client.provider and before else None
        if account is not None and account.identity_id == identity.id:
            rows = await provider_sign_ins.named(uow, client.provider, (), account.subject)
            reason = f"{client.source} says that it is not {client.provider}'s {account.subject!r} any more"
            await provider_sign_ins.end(uow, self._ending, rows, reason)
            await uow.session.delete(account)
            await uow.session.flush()
            await self._sourced.set_groups(uow, client.actor, source_of(client.provider), identity, ())
            unlinked = {"provider": client.provider, "subject": before}
            uow.audit(AuditEvent("identity.unlinked", client.actor, identity.name, unlinked))

    async def tell_email(self, uow: UnitOfWork, client: Client, identity: Identity, email: str) -> None:
        """Of those whom its own authority has made; an address that was written here stays."""
        if identity.source in client.authorities and identity.email != email:
            await self._identities.change(uow, client.actor, identity.name, email=email)

    async def _check_nobody_else(self, uow: UnitOfWork, client: Client, subject: str | None, email: str) -> None:
        """As somebody's first sign-in does, of whom the subject would be. Raises KnownOtherwiseError."""
        if not client.provider or not subject or not email:
            return
        await addresses.one_after_the_other(uow)
        other = await self._with_address(uow, client, email)
        if other is not None:
            raise KnownOtherwiseError(
                f"{other.name!r} has the address of {client.provider}'s {subject!r} already: "
                f"assentry scim-clients link {client.name} {subject} --identity {other.name}"
            )

    async def _with_address(self, uow: UnitOfWork, client: Client, email: str) -> Identity | None:
        """An able person from elsewhere. What another provider has verified does not count against a client whose own
        may speak for the domain."""
        known = await self._identities.with_email(uow, email)
        found = [one for one in known if one.source in client.authorities or await self._sources.is_believed(uow, one)]
        if not await speaking.may_speak(uow, client.provider, email):
            ids = [one.identity_id for one in await addresses.accounts_with(uow, email)]
            found += (await self._identities.find_all(uow, ids)).values()
        people = (one for one in found if one.kind == "person" and one.able and one.source != client.source)
        return next(people, None)

    async def _linked(self, uow: UnitOfWork, client: Client, subject: str | None) -> Identity | None:
        link = await repository.link(uow.session, client.name, "person", subject)
        if link is None or link.identity_id is None:
            return None
        identity = await self._identities.find(uow, link.identity_id)
        await uow.session.delete(link)
        return identity

    async def _of_provider(self, uow: UnitOfWork, client: Client, subject: str) -> Identity | None:
        account = await repository.account(uow.session, client.provider, subject) if client.provider else None
        identity = await self._identities.find(uow, account.identity_id) if account is not None else None
        if identity is not None and identity.source not in client.authorities:
            raise KnownOtherwiseError(
                f"{client.provider}'s {subject!r} is {identity.name!r}, whom it has not made: "
                f"assentry scim-clients link {client.name} {subject} --identity {identity.name}"
            )
        return identity

    async def _release(
        self, uow: UnitOfWork, client: Client, identity: Identity, before: ScimUserRow | None, subject: str | None
    ) -> None:
        """What was kept of a resource that this client has deleted gives way to the new one."""
        held = await repository.user_of_identity(uow.session, identity.id)
        if held is not None and (held.client != client.name or held.user_name_key is not None):
            raise KnownOtherwiseError(f"{identity.name!r} has been pushed by {held.client} as {held.id} already")
        if before is not None and before is not held:
            before.external_id = None
            uow.session.add(before)
        if held is not None:
            if subject != held.external_id:
                await self._disconnect(uow, client, identity, held.external_id)
            await uow.session.delete(held)
        await uow.session.flush()

    async def _check_same(self, uow: UnitOfWork, account: ExternalAccountRow, identity: Identity) -> None:
        if account.identity_id == identity.id:
            return
        other = await self._identities.find(uow, account.identity_id)
        whose = other.name if other is not None else account.identity_id
        raise KnownOtherwiseError(f"{account.provider}'s {account.subject!r} is {whose!r}, not {identity.name!r}")
