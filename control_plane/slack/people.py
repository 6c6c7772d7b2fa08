"""Which identity a Slack user is: by exactly one mapping, that the configuration names. There is no second try.

`slack-user-id`: the identity that names this user. `email`: the only identity with the confirmed address that the user
has in Slack, and only for a full member of the workspace. Who is unknown or ambiguous is nobody.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec

from control_plane.identities.domain import Identity
from control_plane.identities.service import IdentityService
from control_plane.kit.access import Principal
from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.slack.api import SlackApi, Workspace
from control_plane.slack.config import Mapped
from control_plane.slack.interactions import Person
from data_plane.identifiers import CredentialId

# Slack says who it is, not when that person signed in: for a chain that wants a fresh sign-in this is never fresh.
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Claim(msgspec.Struct, frozen=True):
    """What is known of a Slack user before the identities are asked. `email` is empty when it is not the mapping."""

    user_id: str
    email: str = ""


class Nobody(msgspec.Struct, frozen=True):
    """The sentence is for the person."""

    why: str


class People:
    def __init__(self, mapping: Mapped, identities: IdentityService, api: SlackApi) -> None:
        self._mapping = mapping
        self._identities = identities
        self._api = api
        self._workspace: Workspace | None = None

    async def claim(self, person: Person) -> Claim | Nobody:
        """Asks Slack; raises SlackError when it cannot be asked."""
        workspace = await self.workspace()
        if not _belongs(person, workspace):
            return Nobody("You belong to another Slack workspace than the one that Assentry is installed in.")
        if self._mapping == "slack-user-id":
            return Claim(person.user_id)
        user = await self._api.user(person.user_id)
        if user.problem:
            return Nobody(f"This Slack user {user.problem}: only full members of the workspace decide.")
        if user.id != person.user_id or not _same_place(user.team_id, workspace):
            return Nobody("You belong to another Slack workspace than the one that Assentry is installed in.")
        if not user.email:
            return Nobody("Slack knows no confirmed e-mail address of yours, so nobody can tell who you are here.")
        return Claim(person.user_id, user.email)

    async def principal(self, uow: UnitOfWork, claim: Claim) -> Principal | Nobody:
        """With the permissions of this moment."""
        identity = await self._identity(uow, claim)
        if isinstance(identity, Nobody):
            return identity
        if identity.kind != "person":
            return Nobody("Only people decide; your Slack user is a machine's.")
        if not identity.able:
            return Nobody(f"Your identity {identity.name} is disabled.")
        return identity.principal(CredentialId(f"slack:{claim.user_id}"), "webhook", _NEVER)

    async def _identity(self, uow: UnitOfWork, claim: Claim) -> Identity | Nobody:
        if self._mapping == "slack-user-id":
            found = await self._identities.of_slack_user(uow, claim.user_id)
            return found or Nobody(f"No identity has your Slack user id {claim.user_id}: ask an admin to add it.")
        several = await self._identities.meant_by_email(uow, claim.email)
        if not several:
            return Nobody("No identity has your e-mail address: ask an admin to add it.")
        if len(several) > 1:
            return Nobody("Several identities have your e-mail address, so nobody can tell which one you are.")
        return several[0]

    async def workspace(self) -> Workspace:
        if self._workspace is None:
            self._workspace = await self._api.workspace()
        return self._workspace


def _belongs(person: Person, workspace: Workspace) -> bool:
    if person.team_id and person.team_id == workspace.team_id:
        return True
    return bool(workspace.enterprise_id) and person.enterprise_id == workspace.enterprise_id


def _same_place(team_id: str, workspace: Workspace) -> bool:
    """In an organisation of several workspaces a user's own may be another one of them."""
    return bool(workspace.enterprise_id) or team_id == workspace.team_id
