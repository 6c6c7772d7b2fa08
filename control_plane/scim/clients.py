"""SCIM clients as admins know them: made, linked to who is here already, and taken away again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from control_plane.identities.ending import Ending
from control_plane.identities.service import IdentityService
from control_plane.kit.errors import InvalidError, NotFoundError
from control_plane.kit.pagination import Paging, single_key
from control_plane.kit.unit_of_work import Actor, AuditEvent, Json, UnitOfWork
from control_plane.scim import payloads, repository
from control_plane.scim.domain import source_of
from control_plane.scim.errors import (
    AlreadyPushedError,
    ClientNameTakenError,
    ScimClientNotFoundError,
    StillPushesError,
)
from control_plane.scim.tables import ScimClientRow, ScimLinkRow, ScimTokenRow
from control_plane.scim.tokens import TokenService, is_living
from control_plane.sign_on.documents import ProviderKind

Fate = Literal["end", "keep"]


class Link(msgspec.Struct, frozen=True):
    subject: str
    identity: str  # name; empty: a group
    group: str
    by_name: bool = False  # the subject is the group's displayName, not an external id


class Described(msgspec.Struct, frozen=True):
    row: ScimClientRow
    url: str
    people: int
    groups: int
    tokens: Sequence[ScimTokenRow]  # that are good
    links: Sequence[Link]  # not used yet


class ClientService:
    def __init__(
        self, identities: IdentityService, ending: Ending, providers: ProviderKind, tokens: TokenService, url: str
    ) -> None:
        self._identities = identities
        self._ending = ending
        self._providers = providers
        self.tokens = tokens
        self._url = url

    # -------------------------------------------------------------- shown

    async def page(self, uow: UnitOfWork, paging: Paging) -> tuple[list[Described], str | None]:
        found = await repository.clients(uow.session, single_key(paging, str) or "", paging.limit + 1)
        rows, cursor = paging.page(found, lambda row: (row.name,))
        return await self._described(uow, rows), cursor

    async def named(self, uow: UnitOfWork, name: str) -> Described:
        return (await self._described(uow, [await self._row(uow, name)]))[0]

    async def _described(self, uow: UnitOfWork, rows: Sequence[ScimClientRow]) -> list[Described]:
        names = [row.name for row in rows]
        counts = await repository.counts(uow.session, names)
        tokens = [one for one in await repository.tokens(uow.session, names) if is_living(one, uow.now)]
        return [
            Described(
                row=row,
                url=f"{self._url}/scim/v2/{row.name}",
                people=counts[row.name][0],
                groups=counts[row.name][1],
                tokens=[one for one in tokens if one.client == row.name],
                links=await self._links(uow, row.name),
            )
            for row in rows
        ]

    async def _links(self, uow: UnitOfWork, name: str) -> list[Link]:
        rows = await repository.links(uow.session, name)
        people = await self._identities.find_all(uow, [row.identity_id for row in rows if row.identity_id])
        named: dict[str, str] = {one.id: one.name for one in people.values()}
        return [
            Link(row.subject, named.get(row.identity_id or "", ""), row.group_name or "", row.by_name) for row in rows
        ]

    # -------------------------------------------------------------- changed

    async def create(self, uow: UnitOfWork, by: Actor, *, name: str, provider: str, description: str) -> Described:
        if await uow.session.get(ScimClientRow, name) is not None:
            raise ClientNameTakenError(name)
        if provider and await self._providers.row(uow, provider) is None:
            raise InvalidError(f"there is no IdentityProvider named {provider!r}; apply its document first")
        uow.session.add(
            ScimClientRow(name=name, provider=provider, description=description, created_at=uow.now, created_by=by.name)
        )
        await uow.session.flush()
        uow.audit(AuditEvent("scim-client.created", by, name, {"provider": provider, "description": description}))
        return await self.named(uow, name)

    async def delete(self, uow: UnitOfWork, by: Actor, name: str, people: Fate | None) -> None:
        """Nothing that it said holds any longer; `people`: what becomes of those whom it has pushed."""
        row = await self._row(uow, name)
        pushed = [one for one in await repository.everybody_of(uow.session, name) if one.user_name_key is not None]
        if pushed and people is None:
            raise StillPushesError(name)
        if people == "end":
            for one in pushed:
                await self._ending.end(uow, by, one.identity_id, f"{source_of(name)} was taken away by {by.name}")
        groups = await repository.groups_of_source(uow.session, name)
        await repository.forget_memberships(uow.session, name)
        await uow.session.delete(row)
        await uow.session.flush()
        told: dict[str, Json] = {"people": len(pushed), "ended": people == "end", "groups": sorted(groups)}
        uow.audit(AuditEvent("scim-client.deleted", by, name, told))
        await uow.snapshot_changed()

    async def link(self, uow: UnitOfWork, by: Actor, name: str, link: Link) -> None:
        """From its first push on, the subject is this person or this group. Raises AlreadyPushedError."""
        client = await self._row(uow, name)
        subject = payloads.exact(link.subject) or ""
        await self._check_not_pushed(uow, client, subject, link)
        identity_id = await self._person(uow, link.identity) if link.identity else None
        if link.group:
            await self._check_group(uow, link.group)
        kind = "person" if link.identity else "group"
        before = await uow.session.get(ScimLinkRow, (name, kind, subject))
        if before is not None:
            await uow.session.delete(before)
            await uow.session.flush()
        uow.session.add(
            ScimLinkRow(
                client=name,
                kind=kind,
                subject=subject,
                by_name=link.by_name,
                identity_id=identity_id,
                group_name=link.group or None,
                created_at=uow.now,
                created_by=by.name,
            )
        )
        told: dict[str, Json] = {"subject": subject, "by_name": link.by_name, kind: link.identity or link.group}
        uow.audit(AuditEvent("scim-client.linked", by, name, told))

    async def unlink(self, uow: UnitOfWork, by: Actor, name: str, kind: str, subject: str) -> None:
        """A link that was not used yet."""
        row = await uow.session.get(ScimLinkRow, (name, kind, payloads.exact(subject) or ""))
        if row is None:
            raise NotFoundError(f"{name!r} has no link of {subject!r} that waits")
        await uow.session.delete(row)
        uow.audit(AuditEvent("scim-client.unlinked", by, name, {"subject": row.subject}))

    async def _check_not_pushed(self, uow: UnitOfWork, client: ScimClientRow, subject: str, link: Link) -> None:
        if link.identity:
            user = await repository.user_with(uow.session, client.name, external_id=subject)
            if user is None or user.user_name_key is None:
                return
            identity = await self._identities.find(uow, user.identity_id)
            whose = identity.name if identity is not None else user.identity_id
            raise AlreadyPushedError(client.name, subject, "person", whose, client.provider)
        find = repository.group_with_name if link.by_name else repository.group_with_external_id
        group = await find(uow.session, client.name, subject)
        if group is not None:
            raise AlreadyPushedError(client.name, subject, "group", group.group_name)

    async def _person(self, uow: UnitOfWork, name: str) -> str:
        identity = await self._identities.named(uow, name)
        if identity.kind != "person":
            raise InvalidError(f"{name!r} is a machine; providers push people")
        held = await repository.user_of_identity(uow.session, identity.id)
        if held is not None and held.user_name_key is not None:
            raise InvalidError(f"{name!r} has been pushed by {held.client} already")
        return identity.id

    async def _check_group(self, uow: UnitOfWork, name: str) -> None:
        await self._identities.group(uow, name)
        held = await repository.holder_of_group(uow.session, name)
        if held is not None:
            raise InvalidError(f"the group {name!r} has been pushed by {held.client} already")

    async def _row(self, uow: UnitOfWork, name: str) -> ScimClientRow:
        row = await uow.session.get(ScimClientRow, name)
        if row is None:
            raise ScimClientNotFoundError(name)
        return row
