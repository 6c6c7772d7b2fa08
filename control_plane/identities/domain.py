"""Who there is: people and machines, the groups they are in, and what makes one of them able to act. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

from control_plane.kit.access import ROLES, CredentialKind, Permission, Principal, permissions_of
from control_plane.kit.unit_of_work import Actor
from data_plane.identifiers import CredentialId, IdentityId

Kind = Literal["person", "machine"]
_LONGEST_EXTERNAL_ID: Final = 255
_SLACK_USER: Final = re.compile(r"[UW][A-Z0-9]{2,20}", re.ASCII)


class ReviewScope(msgspec.Struct, frozen=True):
    """Where somebody reviews: empty environments are all; of labels, all that are given must be the target's."""

    environments: tuple[str, ...] = ()
    labels: dict[str, str] = {}


class Group(msgspec.Struct, frozen=True):
    name: str
    roles: tuple[str, ...]
    members: tuple[str, ...]  # names of identities, as it is written here
    version: int = 1
    reviews: tuple[ReviewScope, ...] = ()  # where those who are reviewers by this group review; empty: everywhere
    pushed: tuple[str, ...] = ()  # members that providers say, whether or not they are written here too


class Identity(msgspec.Struct, frozen=True):
    """`able` False: disabled itself, or a machine without a living owner. Such a one does nothing any more."""

    id: IdentityId
    name: str
    kind: Kind
    email: str
    owner_id: IdentityId | None
    owner: str
    disabled: bool
    able: bool
    groups: tuple[str, ...]
    roles: frozenset[str]
    version: int = 1
    reviews: tuple[ReviewScope, ...] = ()  # where this identity reviews; empty: nowhere
    slack_user_id: str = ""  # who this person is in Slack; empty: not told
    external_id: str = ""  # what another system calls this person; empty: not told
    purpose: str = ""  # of a machine: what it is there for
    ends_at: datetime | None = None  # then it is ended
    source: str = ""  # who made it; empty: here

    @property
    def actor(self) -> Actor:
        return Actor(self.id, self.name, self.kind)

    def principal(
        self, credential: CredentialId, kind: CredentialKind, authenticated_at: datetime, csrf: str = ""
    ) -> Principal:
        return Principal(
            identity=self.id,
            name=self.name,
            kind=self.kind,
            groups=self.groups,
            permissions=permissions_of(set(self.roles)),
            credential_id=credential,
            credential_kind=kind,
            authenticated_at=authenticated_at,
            csrf=csrf,
        )


class SnapshotIdentities(msgspec.Struct, frozen=True):
    """What agents must know of identities. Those that are not able are in it as disabled."""

    identities: tuple[Identity, ...]
    revoked_credentials: tuple[str, ...]  # not yet expired, in order


def slack_problem(kind: Kind, slack_user_id: str) -> str:
    """Empty: it may stand."""
    if not slack_user_id:
        return ""
    if kind != "person":
        return "only a person has a Slack user; a machine decides nothing"
    if _SLACK_USER.fullmatch(slack_user_id) is None:
        return f"{slack_user_id!r} is no Slack user id: it looks like U012AB3CD, see the profile's menu in Slack"
    return ""


def external_problem(kind: Kind, external_id: str) -> str:
    """Empty: it may stand."""
    if not external_id:
        return ""
    if kind != "person":
        return "only a person has an external id; a machine decides nothing"
    if len(external_id) > _LONGEST_EXTERNAL_ID or not (external_id.isascii() and external_id.isprintable()):
        return f"an external id has at most {_LONGEST_EXTERNAL_ID} printable characters of ASCII"
    return ""


class Ownership(msgspec.Struct, frozen=True):
    """What is to be true of an identity's kind and owner."""

    name: str
    kind: Kind
    owner: str
    before: str = ""  # the owner it has already: that one may be disabled, or nobody who owns a machine could be

    def problem(self, people: Mapping[str, bool]) -> str:
        """Empty: it may stand. `people`: names of persons, and whether each is able."""
        if self.kind == "person":
            return "a person has no owner" if self.owner else ""
        if not self.owner:
            return "a machine needs an owner: a person who answers for it"
        if self.owner not in people:
            return f"the owner {self.owner!r} is not a person that is known"
        if people[self.owner] or self.owner == self.before:
            return ""
        return f"the owner {self.owner!r} is disabled; name another person"


def over_problem(ends_at: datetime, before: object, now: datetime, *, disabled: bool | None) -> str:
    """Why somebody cannot have this end date, who has had the one `before`. Empty: they can. Of whom is disabled it
    may be any day: what has ended stays as it is written down."""
    if ends_at > now or ends_at == before or disabled:
        return ""
    return "this has passed, and would end them at once: disable them, or say a later day"


def bareness(identity: Identity) -> str:
    """What a machine lacks to be given anything to sign in with. Empty: nothing."""
    if identity.kind != "machine":
        return "is a person; people sign in otherwise"
    if not identity.purpose:
        return "has no purpose: say what it is there for"
    return "" if identity.ends_at else "has no end date (ends_at): say until when it is needed"


def unknown_roles(roles: tuple[str, ...]) -> list[str]:
    return sorted(set(roles) - set(ROLES))


def scope_problem(roles: Sequence[str], reviews: Sequence[ReviewScope]) -> str:
    """Why a group cannot have these places to review. Empty: it can."""
    if reviews and Permission.REVIEW not in permissions_of(set(roles)):
        return "only a group that gives the reviewer role says where its members review"
    if any(not scope.environments and not scope.labels for scope in reviews):
        return "this covers everything: name environments or labels, or leave reviews out for everywhere"
    return ""
