"""People as a SCIM client pushes them: which identity each is, and what `active` means for it.

`active: false` and DELETE are the end of the identity (identities/ending), from the very transaction on. `active: true`
again enables only what this client itself has ended: whom anybody else disabled too, before or after, stays so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scim2_models import Reference, UniquenessException

from control_plane.identities.domain import Identity
from control_plane.identities.ending import Ending
from control_plane.identities.service import IdentityService
from control_plane.identities.sourced import SourcedIdentities
from control_plane.kit.ids import new_id
from control_plane.kit.unit_of_work import AuditEvent, Json, UnitOfWork
from control_plane.scim import payloads, repository
from control_plane.scim.accounts import Accounts
from control_plane.scim.domain import Client
from control_plane.scim.errors import check_match, unknown
from control_plane.scim.resources import GroupOfUser, User, meta_of
from control_plane.scim.tables import ScimGroupRow, ScimUserRow

_COMPUTED = {"id", "meta", "groups", "schemas"}


class PeopleService:
    def __init__(
        self, identities: IdentityService, sourced: SourcedIdentities, ending: Ending, accounts: Accounts
    ) -> None:
        self._identities = identities
        self._sourced = sourced
        self._ending = ending
        self._accounts = accounts

    # -------------------------------------------------------------- read

    async def get(self, uow: UnitOfWork, client: Client, user_id: str) -> User:
        row = await repository.user(uow.session, client.name, user_id)
        if row is None:
            raise unknown("User", user_id)
        return (await self.resources(uow, client, [row]))[0]

    async def resources(self, uow: UnitOfWork, client: Client, rows: Sequence[ScimUserRow]) -> list[User]:
        groups = await repository.groups_of_people(uow.session, client.name, rows)
        return [_resource(client, row, groups.get(row.identity_id, ())) for row in rows]

    # -------------------------------------------------------------- changed

    async def create(self, uow: UnitOfWork, client: Client, sent: Mapping[str, Any]) -> User:
        user = payloads.created(User, sent)
        user.active = user.active is not False
        payloads.check_user(user)
        await self._check_unique(uow, client, user, "")
        identity = await self._accounts.identity_for(uow, client, user)
        row = ScimUserRow(
            id=new_id("scu"),
            client=client.name,
            identity_id=identity.id,
            active=True,
            version=0,
            resource={},
            created_at=uow.now,
            updated_at=uow.now,
        )
        await self._accounts.connect(uow, client, identity, payloads.exact(user.external_id))
        return await self._keep(uow, client, row, user, identity)

    async def replace(
        self, uow: UnitOfWork, client: Client, user_id: str, sent: Mapping[str, Any], seen: str | None
    ) -> User:
        row, original = await self._original(uow, client, user_id, seen)
        user = payloads.replaced(User, sent, original)
        user.active = row.active if user.active is None else user.active
        return await self._change(uow, client, row, original, user)

    async def patch(
        self, uow: UnitOfWork, client: Client, user_id: str, sent: Mapping[str, Any], seen: str | None
    ) -> User:
        row, original = await self._original(uow, client, user_id, seen)
        return await self._change(uow, client, row, original, payloads.patched(User, sent, original))

    async def delete(self, uow: UnitOfWork, client: Client, user_id: str, seen: str | None) -> None:
        """The resource is gone, the identity has ended; its name, history and external id stay."""
        row, _ = await self._original(uow, client, user_id, seen)
        identity = await self._identity(uow, row)
        await self._sourced.set_groups(uow, client.actor, client.source, identity, ())
        reason = f"{client.source} has deleted the person"
        await self._ending.end(uow, client.actor, identity.id, reason, source=client.source)
        row.user_name_key, row.resource, row.active = None, {}, False
        row.version, row.updated_at = row.version + 1, uow.now
        uow.session.add(row)
        await uow.session.flush()
        self._tell(uow, client, identity, row, {"deleted": True})

    async def _original(
        self, uow: UnitOfWork, client: Client, user_id: str, seen: str | None
    ) -> tuple[ScimUserRow, User]:
        row = await repository.user(uow.session, client.name, user_id, lock=True)
        if row is None:
            raise unknown("User", user_id)
        check_match(seen, row.version)
        return row, (await self.resources(uow, client, [row]))[0]

    async def _change(self, uow: UnitOfWork, client: Client, row: ScimUserRow, original: User, user: User) -> User:
        payloads.check_user(user)
        if _kept(user) == _kept(original):
            return original
        await self._check_unique(uow, client, user, row.id)
        identity = await self._identity(uow, row)
        if payloads.exact(user.external_id) != row.external_id:
            await self._accounts.reconnect(uow, client, row, identity, user)
        return await self._keep(uow, client, row, user, identity)

    async def _keep(self, uow: UnitOfWork, client: Client, row: ScimUserRow, user: User, identity: Identity) -> User:
        active = row.active if user.active is None else user.active  # nobody comes back, or ends, by an omission
        changed = sorted(_differing(row.resource, _kept(user)))
        row.user_name_key = payloads.comparable(user.user_name or "")
        row.external_id = payloads.exact(user.external_id)
        row.resource = _kept(user)
        row.version, row.updated_at = row.version + 1, uow.now
        uow.session.add(row)
        await uow.session.flush()
        await self._accounts.tell_email(uow, client, identity, payloads.email_of(user))
        await self._activate(uow, client, row, identity, active=active)
        self._tell(uow, client, identity, row, {"new": row.version == 1, "changed": changed})
        await uow.session.flush()
        return (await self.resources(uow, client, [row]))[0]

    async def _activate(
        self, uow: UnitOfWork, client: Client, row: ScimUserRow, identity: Identity, *, active: bool
    ) -> None:
        if active:
            await self._ending.begin_anew(uow, client.actor, identity.id, source=client.source)
        elif not active and row.active:
            reason = f"{client.source} says that the person is not active any more"
            await self._ending.end(uow, client.actor, identity.id, reason, source=client.source)
        row.active = active

    async def _check_unique(self, uow: UnitOfWork, client: Client, user: User, own_id: str) -> None:
        key = payloads.comparable(user.user_name or "")
        taken = await repository.user_with(uow.session, client.name, user_name_key=key)
        if taken is not None and taken.id != own_id:
            raise UniquenessException(attribute="userName", value=user.user_name)
        subject = payloads.exact(user.external_id)
        taken = await repository.user_with(uow.session, client.name, external_id=subject) if subject else None
        if taken is not None and taken.id != own_id and taken.user_name_key is not None:
            raise UniquenessException(attribute="externalId", value=subject)

    async def _identity(self, uow: UnitOfWork, row: ScimUserRow) -> Identity:
        identity = await self._identities.find(uow, row.identity_id)
        if identity is None:
            raise unknown("User", row.id)
        return identity

    def _tell(
        self, uow: UnitOfWork, client: Client, identity: Identity, row: ScimUserRow, told: Mapping[str, Json]
    ) -> None:
        data: dict[str, Json] = {"source": client.source, "id": row.id, "active": row.active, **told}
        uow.audit(AuditEvent("identity.pushed", client.actor, identity.name, data))


def _resource(client: Client, row: ScimUserRow, groups: Sequence[ScimGroupRow]) -> User:
    user = User.model_validate(row.resource)
    user.id = row.id
    user.groups = [
        GroupOfUser(
            value=one.id, ref=Reference(f"{client.url}/Groups/{one.id}"), display=one.display_name, type="direct"
        )
        for one in groups
    ] or None
    user.meta = meta_of(row, client.url)
    user.schemas = [str(User.__schema__)]
    return user


def _kept(user: User) -> dict[str, Any]:
    """What the client said, as it is stored."""
    said: dict[str, Any] = user.model_dump()
    return {name: value for name, value in said.items() if name not in _COMPUTED}


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
