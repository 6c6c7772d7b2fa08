"""People, machines and groups: what admins change, and what other features ask.

Every change tells the agents (a new snapshot), so that a disabled identity or a lost group ends live
sessions at once. Nothing may leave the deployment without a person who can administer it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from control_plane.identities import credential_rows, repository
from control_plane.identities.domain import (
    Group,
    Identity,
    Kind,
    Ownership,
    ReviewScope,
    SnapshotIdentities,
    external_problem,
    scope_problem,
    slack_problem,
    unknown_roles,
)
from control_plane.identities.ending import Ending
from control_plane.identities.errors import (
    ExternalIdTakenError,
    GroupNotFoundError,
    IdentityNotFoundError,
    LastAdminError,
    NameTakenError,
    OwnerError,
    SlackUserTakenError,
    StillNamedError,
    StillOwnsError,
)
from control_plane.identities.ports import AddressSources, NamedInDocuments
from control_plane.identities.tables import GroupRow, IdentityRow
from control_plane.kit.errors import InvalidError
from control_plane.kit.ids import new_id
from control_plane.kit.pagination import Paging, single_key
from control_plane.kit.unit_of_work import Actor, AuditEvent, Json, UnitOfWork


def _told(identity: Identity) -> dict[str, Json]:
    """What the audit log says of an identity that was changed."""
    names = ("email", "owner", "disabled", "slack_user_id", "external_id", "purpose")
    told: dict[str, Json] = {name: getattr(identity, name) for name in names}
    return {**told, "ends_at": identity.ends_at.isoformat() if identity.ends_at else ""}


class IdentityService:
    def __init__(self, ending: Ending, documents: NamedInDocuments, addresses: AddressSources) -> None:
        self._ending = ending
        self._documents = documents
        self._addresses = addresses

    # -------------------------------------------------------------- asked by other features

    async def snapshot(self, uow: UnitOfWork) -> SnapshotIdentities:
        identities = await repository.all_identities(uow.session)
        revoked = await credential_rows.revoked(uow.session, uow.now)
        return SnapshotIdentities(tuple(identities), tuple(revoked))

    async def find(self, uow: UnitOfWork, identity_id: str) -> Identity | None:
        return next(iter(await repository.identities_by_id(uow.session, [identity_id])), None)

    async def find_all(self, uow: UnitOfWork, ids: Iterable[str]) -> dict[str, Identity]:
        """By id; those that are not there are left out."""
        return {one.id: one for one in await repository.identities_by_id(uow.session, ids)}

    async def find_named(self, uow: UnitOfWork, names: Iterable[str]) -> list[Identity]:
        """Those that are not there are left out."""
        return await repository.identities_by_name(uow.session, names)

    async def members_of(self, uow: UnitOfWork, groups: Iterable[str]) -> list[Identity]:
        """Everybody in any of the groups, each once, able or not."""
        return await repository.members_of(uow.session, groups)

    async def of_slack_user(self, uow: UnitOfWork, slack_user_id: str) -> Identity | None:
        return await repository.identity_by_slack_user(uow.session, slack_user_id)

    async def with_external_id(self, uow: UnitOfWork, external_id: str) -> Identity | None:
        return await repository.identity_by_external_id(uow.session, external_id)

    async def with_email(self, uow: UnitOfWork, email: str) -> list[Identity]:
        """All of them: who asks decides what several mean."""
        return await repository.identities_by_email(uow.session, email) if email else []

    async def meant_by_email(self, uow: UnitOfWork, email: str) -> list[Identity]:
        """As `with_email`; of several only those who are believed to have it, if any are: nobody loses theirs by what
        somebody chose at another provider."""
        found = await self.with_email(uow, email)
        believed = [one for one in found if await self._addresses.is_believed(uow, one)] if len(found) > 1 else []
        return believed or found

    # -------------------------------------------------------------- shown

    async def page(self, uow: UnitOfWork, paging: Paging) -> tuple[list[Identity], str | None]:
        after = single_key(paging, str)
        found = await repository.page_of_identities(uow.session, after, paging.limit + 1)
        return paging.page(found, lambda identity: (identity.name,))

    async def named(self, uow: UnitOfWork, name: str) -> Identity:
        identity = await repository.identity_by_name(uow.session, name)
        if identity is None:
            raise IdentityNotFoundError(name)
        return identity

    async def groups(self, uow: UnitOfWork) -> list[Group]:
        return await repository.all_groups(uow.session)

    async def find_group(self, uow: UnitOfWork, name: str) -> Group | None:
        return await repository.group_by_name(uow.session, name)

    async def group(self, uow: UnitOfWork, name: str) -> Group:
        group = await self.find_group(uow, name)
        if group is None:
            raise GroupNotFoundError(name)
        return group

    # -------------------------------------------------------------- changed

    async def create(
        self,
        uow: UnitOfWork,
        by: Actor,
        *,
        name: str,
        kind: Kind,
        email: str = "",
        owner: str = "",
        slack_user_id: str = "",
        external_id: str = "",
        purpose: str = "",
        ends_at: datetime | None = None,
        source: str = "",
    ) -> Identity:
        if await repository.row_by_name(uow.session, name) is not None:
            raise NameTakenError("identity", name)
        owner_id = await self._owner_id(uow, Ownership(name, kind, owner))
        await self._check_slack(uow, name, kind, slack_user_id)
        await self._check_external(uow, name, kind, external_id)
        row = IdentityRow(
            id=new_id("idn"),
            name=name,
            kind=kind,
            email=email,
            owner_id=owner_id,
            slack_user_id=slack_user_id or None,
            external_id=external_id or None,
            purpose=purpose,
            ends_at=ends_at,
            source=source,
            created_at=uow.now,
            updated_at=uow.now,
        )
        uow.session.add(row)
        await uow.session.flush()
        made = await self.named(uow, name)
        told: dict[str, Json] = {"kind": kind, **({"source": source} if source else {}), **_told(made)}
        await self._changed(uow, by, "identity.created", name, told)
        return made

    async def change(
        self,
        uow: UnitOfWork,
        by: Actor,
        name: str,
        *,
        email: str | None = None,
        owner: str | None = None,
        disabled: bool | None = None,
        slack_user_id: str | None = None,
        external_id: str | None = None,
        purpose: str | None = None,
        ends_at: datetime | Literal["as it is"] | None = "as it is",
    ) -> Identity:
        """None leaves a field as it is; of `ends_at` it means that there is no such day any more."""
        before = await self.named(uow, name)
        row = await self._row(uow, name)
        if email is not None:
            row.email = email
        if owner is not None and owner != before.owner:
            row.owner_id = await self._owner_id(uow, Ownership(name, before.kind, owner))
        if slack_user_id is not None:
            await self._check_slack(uow, name, before.kind, slack_user_id)
            row.slack_user_id = slack_user_id or None
        if external_id is not None:
            await self._check_external(uow, name, before.kind, external_id)
            row.external_id = external_id or None
        row.purpose = row.purpose if purpose is None else purpose
        row.ends_at = row.ends_at if ends_at == "as it is" else ends_at
        row.version += 1
        row.updated_at = uow.now
        await uow.session.flush()
        told = _told(await self.named(uow, name))
        if disabled is None or told != _told(before):
            await self._changed(uow, by, "identity.updated", name, told)
        if before.owner_id is not None and row.owner_id != before.owner_id:
            await self._ending.hand_over(uow, by, row.id, before.owner_id)
        if disabled is not None:
            await self._switch(uow, by, before, disabled=disabled)
        return await self.named(uow, name)

    async def _switch(self, uow: UnitOfWork, by: Actor, before: Identity, *, disabled: bool) -> None:
        if not disabled:
            await self._ending.begin_anew(uow, by, before.id)
            return
        if not before.disabled:
            _keep_an_admin(uow, before.roles)
        await self._ending.end(uow, by, before.id, f"disabled by {by.name}")

    async def delete(self, uow: UnitOfWork, by: Actor, name: str) -> None:
        """Its credentials go with it; agents no longer know it. Only whom no document names: disabling is always
        possible, and ends as much. Raises StillNamedError, StillOwnsError."""
        before = await self.named(uow, name)
        if naming := await self._documents.naming(uow, "identity", name):
            raise StillNamedError(name, naming, ", or disable it, which ends all that it has and keeps its name")
        row = await self._row(uow, name)
        machines = await repository.machines_of(uow.session, row.id)
        if machines:
            raise StillOwnsError(name, machines)
        _keep_an_admin(uow, before.roles)
        await self._ending.end(uow, by, before.id, f"deleted by {by.name}")
        await uow.session.delete(row)
        await uow.session.flush()
        await self._changed(uow, by, "identity.deleted", name, {})

    async def put_group(
        self,
        uow: UnitOfWork,
        by: Actor,
        name: str,
        *,
        roles: Sequence[str],
        members: Sequence[str],
        reviews: Sequence[ReviewScope] = (),
    ) -> Group:
        """Creates the group, or makes it have exactly these roles, members and places to review."""
        await self._check_group(uow, tuple(roles), members)
        if problem := scope_problem(tuple(roles), reviews):
            raise InvalidError(problem)
        row = await uow.session.get(GroupRow, name)
        kind = "group.created" if row is None else "group.updated"
        if row is None:
            row = GroupRow(name=name, roles=[], version=0, created_at=uow.now, updated_at=uow.now)
        _keep_an_admin(uow, row.roles)
        row.roles = sorted(set(roles))
        row.reviews = [msgspec.to_builtins(scope) for scope in reviews]
        row.version += 1
        row.updated_at = uow.now
        uow.session.add(row)
        await uow.session.flush()
        await repository.set_members(uow.session, name, members)
        await uow.session.flush()
        changes: dict[str, Json] = {"roles": row.roles, "members": sorted(set(members)), "reviews": row.reviews}
        await self._changed(uow, by, kind, name, changes)
        return await self.group(uow, name)

    async def delete_group(self, uow: UnitOfWork, by: Actor, name: str) -> None:
        row = await uow.session.get(GroupRow, name)
        if row is None:
            raise GroupNotFoundError(name)
        if naming := await self._documents.naming(uow, "group", name):
            raise StillNamedError(name, naming)
        _keep_an_admin(uow, row.roles)
        await uow.session.delete(row)
        await uow.session.flush()
        await self._changed(uow, by, "group.deleted", name, {})

    # -------------------------------------------------------------- rules

    async def _owner_id(self, uow: UnitOfWork, ownership: Ownership) -> str | None:
        row = await repository.row_by_name(uow.session, ownership.owner) if ownership.owner else None
        people = {row.name: not row.disabled} if row is not None and row.kind == "person" else {}
        if problem := ownership.problem(people):
            raise OwnerError(problem)
        return None if row is None else row.id

    async def _check_slack(self, uow: UnitOfWork, name: str, kind: Kind, slack_user_id: str) -> None:
        if problem := slack_problem(kind, slack_user_id):
            raise InvalidError(problem)
        other = await self.of_slack_user(uow, slack_user_id) if slack_user_id else None
        if other is not None and other.name != name:
            raise SlackUserTakenError(slack_user_id, other.name)

    async def _check_external(self, uow: UnitOfWork, name: str, kind: Kind, external_id: str) -> None:
        if problem := external_problem(kind, external_id):
            raise InvalidError(problem)
        other = await self.with_external_id(uow, external_id) if external_id else None
        if other is not None and other.name != name:
            raise ExternalIdTakenError(external_id, other.name)

    async def _check_group(self, uow: UnitOfWork, roles: tuple[str, ...], members: Sequence[str]) -> None:
        if wrong := unknown_roles(roles):
            raise InvalidError(f"unknown roles: {', '.join(wrong)}")
        known = await repository.known_names(uow.session, members)
        if missing := sorted(set(members) - known):
            raise InvalidError(f"unknown members: {', '.join(missing)}")

    async def _row(self, uow: UnitOfWork, name: str) -> IdentityRow:
        row = await repository.row_by_name(uow.session, name)
        if row is None:
            raise IdentityNotFoundError(name)
        return row

    async def _changed(self, uow: UnitOfWork, by: Actor, kind: str, subject: str, data: Mapping[str, Json]) -> None:
        uow.audit(AuditEvent(kind, by, subject, data))
        await uow.snapshot_changed()


def _keep_an_admin(uow: UnitOfWork, roles: Iterable[str]) -> None:
    """Somebody with these roles is about to lose them: see at the end that an admin is left."""
    if "admin" in roles:
        uow.check_last(_somebody_administers)


async def _somebody_administers(uow: UnitOfWork) -> None:
    if not await repository.able_admins(uow.session):
        raise LastAdminError
