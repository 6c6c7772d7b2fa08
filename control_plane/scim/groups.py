"""Groups as a SCIM client pushes them.

A pushed group is a group here that is called after its client and what the client calls it (`corp.dba`), so that it
never happens to be one that policies name already; or it is one that an admin has linked. It gives no role until an
admin gives it one. Members are people whom the same client has pushed: this source's members, beside those that are
written here. Deleted by the client, it is empty as far as the client is concerned; the group itself is an admin's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from scim2_models import InvalidValueException, Reference, UniquenessException

from control_plane.identities.sourced import SourcedIdentities, names_like
from control_plane.kit.ids import new_id
from control_plane.kit.unit_of_work import AuditEvent, Json, UnitOfWork
from control_plane.scim import membership, payloads, repository
from control_plane.scim.domain import Client
from control_plane.scim.errors import KnownOtherwiseError, check_match, unknown
from control_plane.scim.membership import Change
from control_plane.scim.resources import Group, Member, meta_of
from control_plane.scim.tables import ScimGroupRow

_NAMED: Final = 5  # of members that are not known


class GroupsService:
    def __init__(self, sourced: SourcedIdentities) -> None:
        self._sourced = sourced

    # -------------------------------------------------------------- read

    async def get(self, uow: UnitOfWork, client: Client, group_id: str, *, members: bool = True) -> Group:
        row = await repository.group(uow.session, client.name, group_id)
        if row is None:
            raise unknown("Group", group_id)
        return (await self.resources(uow, client, [row], members=members))[0]

    async def resources(
        self, uow: UnitOfWork, client: Client, rows: Sequence[ScimGroupRow], *, members: bool = True
    ) -> list[Group]:
        names = [row.group_name for row in rows]
        found = await repository.members(uow.session, client.name, names) if members else {}
        return [_resource(client, row, found.get(row.group_name, ())) for row in rows]

    # -------------------------------------------------------------- changed

    async def create(self, uow: UnitOfWork, client: Client, sent: Mapping[str, Any], *, members: bool = True) -> Group:
        parted = membership.part_whole(sent)
        group = payloads.created(Group, sent if parted is None else parted.rest)
        change = _whole(group) if parted is None else parted.change
        payloads.check_group(group)
        subject = payloads.exact(group.external_id)
        await self._check_unique(uow, client, subject, "")
        name = await self._name_for(uow, client, group, subject)
        row = ScimGroupRow(
            id=new_id("scg"),
            client=client.name,
            group_name=name,
            display_name="",
            display_key="",
            version=0,
            created_at=uow.now,
            updated_at=uow.now,
        )
        await self._keep(uow, client, row, group)
        await self._members(uow, client, row, change)
        return (await self.resources(uow, client, [row], members=members))[0]

    async def replace(
        self, uow: UnitOfWork, client: Client, group_id: str, sent: Mapping[str, Any], seen: str | None
    ) -> None:
        parted = membership.part_whole(sent)
        row, original = await self._original(uow, client, group_id, seen, members=False)
        group = payloads.replaced(Group, sent if parted is None else parted.rest, original)
        await self._change(uow, client, row, group, _whole(group) if parted is None else parted.change)

    async def patch(
        self, uow: UnitOfWork, client: Client, group_id: str, sent: Mapping[str, Any], seen: str | None
    ) -> None:
        parted = membership.part_patch(sent)
        row, original = await self._original(uow, client, group_id, seen, members=parted is None)
        if parted is None:  # a whole group may be large, and patching it slow
            group = await asyncio.to_thread(payloads.patched, Group, sent, original)
            change = _whole(group)
        else:
            group = payloads.patched(Group, parted.rest, original) if _operations(parted.rest) else original
            change = parted.change
        await self._change(uow, client, row, group, change)

    async def delete(self, uow: UnitOfWork, client: Client, group_id: str, seen: str | None) -> None:
        row, _ = await self._original(uow, client, group_id, seen, members=False)
        await self._members(uow, client, row, Change(whole=True))
        await uow.session.delete(row)
        await uow.session.flush()
        self._tell(uow, client, row, {"deleted": True})

    async def _original(
        self, uow: UnitOfWork, client: Client, group_id: str, seen: str | None, *, members: bool
    ) -> tuple[ScimGroupRow, Group]:
        row = await repository.group(uow.session, client.name, group_id, lock=True)
        if row is None:
            raise unknown("Group", group_id)
        check_match(seen, row.version)
        return row, (await self.resources(uow, client, [row], members=members))[0]

    async def _change(self, uow: UnitOfWork, client: Client, row: ScimGroupRow, group: Group, change: Change) -> None:
        payloads.check_group(group)
        subject = payloads.exact(group.external_id)
        if (group.display_name, subject) != (row.display_name, row.external_id):
            await self._check_unique(uow, client, subject, row.id)
            await self._keep(uow, client, row, group)
        await self._members(uow, client, row, change)

    async def _keep(self, uow: UnitOfWork, client: Client, row: ScimGroupRow, group: Group) -> None:
        row.display_name = group.display_name or ""
        row.display_key = payloads.comparable(row.display_name)
        row.external_id = payloads.exact(group.external_id)
        row.version, row.updated_at = row.version + 1, uow.now
        uow.session.add(row)
        await uow.session.flush()
        self._tell(uow, client, row, {"called": row.display_name, "new": row.version == 1})

    async def _members(self, uow: UnitOfWork, client: Client, row: ScimGroupRow, change: Change) -> None:
        if not change:
            return
        if len(change.joining) > payloads.MOST_MEMBERS:
            raise InvalidValueException(detail=f"a group has at most {payloads.MOST_MEMBERS} members")
        known = await repository.identities_of(uow.session, client.name, change.joining | change.leaving)
        if missing := sorted(change.joining - known.keys()):
            named = ", ".join(missing[:_NAMED])
            raise InvalidValueException(detail=f"members are people whom this client has pushed; it has not: {named}")
        changed = await self._sourced.change_members(
            uow,
            client.actor,
            client.source,
            row.group_name,
            joining=[known[one] for one in change.joining],
            leaving=[known[one] for one in change.leaving if one in known],
            whole=change.whole,
        )
        if changed:
            row.version, row.updated_at = row.version + 1, uow.now
            uow.session.add(row)
            await uow.session.flush()

    async def _check_unique(self, uow: UnitOfWork, client: Client, subject: str | None, own_id: str) -> None:
        taken = await repository.group_with_external_id(uow.session, client.name, subject) if subject else None
        if taken is not None and taken.id != own_id:
            raise UniquenessException(attribute="externalId", value=subject)

    async def _name_for(self, uow: UnitOfWork, client: Client, group: Group, subject: str | None) -> str:
        """Of the group here that it is: linked, or left over from before, or new. Raises KnownOtherwiseError."""
        link = await repository.link(uow.session, client.name, "group", subject)
        link = link or await repository.link(uow.session, client.name, "group", group.display_name, by_name=True)
        if link is not None and link.group_name is not None:
            await uow.session.delete(link)
            if await repository.holder_of_group(uow.session, link.group_name) is not None:
                raise KnownOtherwiseError(f"the group {link.group_name!r} has been pushed already")
            return link.group_name
        named = await self._sourced.named_groups(uow)
        for name in names_like(f"{client.name}.{group.display_name}", client.name):
            present = await repository.group_row(uow.session, name)
            if present is None and name in named:
                continue
            if present is None:
                await self._sourced.make_group(uow, client.actor, client.source, name, subject or "")
                return name
            if present.source == client.source and await repository.holder_of_group(uow.session, name) is None:
                return name
        raise KnownOtherwiseError("there are too many groups of this name")

    def _tell(self, uow: UnitOfWork, client: Client, row: ScimGroupRow, told: Mapping[str, Json]) -> None:
        data: dict[str, Json] = {"source": client.source, "id": row.id, **told}
        uow.audit(AuditEvent("group.pushed", client.actor, row.group_name, data))


def _operations(sent: Mapping[str, Any]) -> bool:
    return any(sent[name] for name in sent if name.lower() == "operations")


def _whole(group: Group) -> Change:
    return Change(True, frozenset(one.value for one in group.members or () if one.value))


def _resource(client: Client, row: ScimGroupRow, members: Sequence[str]) -> Group:
    group = Group(id=row.id, external_id=row.external_id, display_name=row.display_name)
    group.members = [
        Member(value=one, ref=Reference(f"{client.url}/Users/{one}"), type="User") for one in members
    ] or None
    group.meta = meta_of(row, client.url)
    return group
