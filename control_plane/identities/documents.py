"""Identities and groups as documents, in the style of `data_plane.policy.model`, for the control plane only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar, cast

import msgspec

from control_plane.documents.domain import Stored
from control_plane.identities import repository
from control_plane.identities.domain import Group, Identity, ReviewScope
from control_plane.identities.service import IdentityService
from control_plane.identities.tables import GroupRow
from control_plane.kit.access import Permission, Role
from control_plane.kit.unit_of_work import Actor, UnitOfWork
from data_plane.policy import documents, model
from data_plane.policy.documents import Problem

T = TypeVar("T", bound=model.Document)
_API_VERSION: Literal["assentry.dev/v1"] = "assentry.dev/v1"


class NameOnly(model.Document, frozen=True):
    name: str


class IdentitySpec(model.Document, frozen=True):
    kind: Literal["person", "machine"]
    email: str = ""
    owner: str = ""  # of a machine: the name of a person
    disabled: bool | None = None  # not written: as it is
    slack_user_id: str = ""  # of a person: who this is in Slack
    external_id: str = ""  # of a person: who this is in another system that speaks for people
    purpose: str | msgspec.UnsetType = msgspec.UNSET  # what a machine is there for; not written: as it is
    # Then it is ended, with all that it has open. Not written: as it is; null: no such day any more, of a person.
    ends_at: Annotated[datetime, msgspec.Meta(tz=True)] | msgspec.UnsetType | None = msgspec.UNSET


class IdentityDocument(model.Document, frozen=True, tag_field="kind", tag="Identity"):
    apiVersion: Literal["assentry.dev/v1"]
    metadata: NameOnly
    spec: IdentitySpec

    def beside(self, before: model.Document | None) -> IdentityDocument:
        """Whether it is disabled, what it is there for, until when: what is not written stays as it is. `false` is how
        one is that is not disabled."""
        told, was = self.spec, before.spec if isinstance(before, IdentityDocument) else IdentitySpec(self.spec.kind)
        spec = msgspec.structs.replace(
            told,
            disabled=was.disabled if told.disabled is None else told.disabled or (False if was.disabled else None),
            purpose=was.purpose if told.purpose is msgspec.UNSET else told.purpose,
            ends_at=was.ends_at if told.ends_at is msgspec.UNSET else told.ends_at,
        )
        return msgspec.structs.replace(self, spec=spec)


class ReviewScopeSpec(model.Document, frozen=True):
    environments: tuple[str, ...] = ()  # empty: all
    labels: dict[str, str] = msgspec.field(default_factory=dict)  # the target must have all of them


class GroupSpec(model.Document, frozen=True):
    members: tuple[str, ...] = ()  # names of identities
    roles: tuple[Role, ...] = ()
    reviews: tuple[ReviewScopeSpec, ...] = ()  # where the role of a reviewer holds, if given: in any of these

    @property
    def scopes(self) -> tuple[ReviewScope, ...]:
        return tuple(ReviewScope(scope.environments, scope.labels) for scope in self.reviews)


class GroupDocument(model.Document, frozen=True, tag_field="kind", tag="Group"):
    apiVersion: Literal["assentry.dev/v1"]
    metadata: NameOnly
    spec: GroupSpec


class IdentityKind:
    kind = "Identity"
    permission = Permission.ADMIN

    def __init__(self, service: IdentityService) -> None:
        self._service = service

    def decode(self, value: object) -> model.Document | Problem:
        return _decode(IdentityDocument, self.kind, value)

    def order(self, document: model.Document) -> int:
        """A machine comes after the person who owns it."""
        return int(cast("IdentityDocument", document).spec.kind == "machine")

    async def stored(self, uow: UnitOfWork) -> Mapping[str, Stored]:
        rows = await repository.managed_identities(uow.session)
        everybody = await repository.all_identities(uow.session)
        return {one.name: Stored(_identity_document(one), one.name in rows) for one in everybody}

    async def put(self, uow: UnitOfWork, by: Actor, document: model.Document, *, managed: bool) -> None:
        wanted = cast("IdentityDocument", document)
        name, spec = wanted.metadata.name, wanted.spec
        if await repository.row_by_name(uow.session, name) is None:
            fields = _fields(spec)
            await self._service.create(uow, by, name=name, kind=spec.kind, **fields)
            if spec.disabled:
                await self._service.change(uow, by, name, disabled=True)
        else:
            fields = _fields(spec)
            await self._service.change(uow, by, name, disabled=spec.disabled, **fields)
        if managed:
            await self.manage(uow, name)

    async def manage(self, uow: UnitOfWork, name: str) -> None:
        row = await repository.row_by_name(uow.session, name)
        if row is not None:
            row.managed = True

    async def delete(self, uow: UnitOfWork, by: Actor, name: str) -> None:
        await self._service.delete(uow, by, name)


class GroupKind:
    kind = "Group"
    permission = Permission.ADMIN

    def __init__(self, service: IdentityService) -> None:
        self._service = service

    def decode(self, value: object) -> model.Document | Problem:
        return _decode(GroupDocument, self.kind, value)

    def order(self, _document: model.Document) -> int:
        return 0

    async def stored(self, uow: UnitOfWork) -> Mapping[str, Stored]:
        managed = await repository.managed_groups(uow.session)
        groups = await repository.all_groups(uow.session)
        return {group.name: Stored(_group_document(group), group.name in managed) for group in groups}

    async def put(self, uow: UnitOfWork, by: Actor, document: model.Document, *, managed: bool) -> None:
        wanted = cast("GroupDocument", document)
        name, spec = wanted.metadata.name, wanted.spec
        await self._service.put_group(uow, by, name, roles=spec.roles, members=spec.members, reviews=spec.scopes)
        if managed:
            await self.manage(uow, name)

    async def manage(self, uow: UnitOfWork, name: str) -> None:
        row = await uow.session.get(GroupRow, name)
        if row is not None:
            row.managed = True

    async def delete(self, uow: UnitOfWork, by: Actor, name: str) -> None:
        await self._service.delete_group(uow, by, name)


def _decode(shape: type[T], kind: str, value: object) -> T | Problem:
    """Lists are sets here: their order means nothing, so a document is the same in any."""
    document = documents.into(shape, value, kind, "")
    if isinstance(document, GroupDocument):
        members, roles = tuple(sorted(set(document.spec.members))), tuple(sorted(set(document.spec.roles)))
        spec = msgspec.structs.replace(document.spec, members=members, roles=roles)
        return cast("T", msgspec.structs.replace(document, spec=spec))
    return document


def _fields(spec: IdentitySpec) -> dict[str, Any]:
    """Those that are written."""
    names = ("email", "owner", "slack_user_id", "external_id", "purpose", "ends_at")
    fields = {name: getattr(spec, name) for name in names}
    return {name: value for name, value in fields.items() if value is not msgspec.UNSET}


def _identity_document(identity: Identity) -> IdentityDocument:
    spec = IdentitySpec(
        kind=identity.kind,
        email=identity.email,
        owner=identity.owner,
        disabled=identity.disabled or None,
        slack_user_id=identity.slack_user_id,
        external_id=identity.external_id,
        purpose=identity.purpose or msgspec.UNSET,
        ends_at=identity.ends_at or msgspec.UNSET,
    )
    return IdentityDocument(_API_VERSION, NameOnly(identity.name), spec)


def _group_document(group: Group) -> GroupDocument:
    roles = cast("tuple[Role, ...]", group.roles)
    reviews = tuple(ReviewScopeSpec(scope.environments, scope.labels) for scope in group.reviews)
    return GroupDocument(_API_VERSION, NameOnly(group.name), GroupSpec(group.members, roles, reviews))
