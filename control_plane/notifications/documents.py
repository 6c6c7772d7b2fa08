"""The document `NotificationChannel`, for the control plane only. It never holds a secret, only where one is kept."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from control_plane.documents.stored_kind import StoredKind
from control_plane.kit.access import Permission
from control_plane.kit.unit_of_work import Actor, UnitOfWork
from control_plane.notifications import repository
from data_plane.policy import documents, model
from data_plane.policy.documents import Problem

KIND: Final = "NotificationChannel"


class SecretSource(model.Document, frozen=True):
    """Exactly one: an environment variable of the control plane, or a file in its folder of secrets."""

    env: str = ""
    file: str = ""


class Selection(model.Document, frozen=True, kw_only=True):
    """What a channel tells of. Empty fields match everything; a list matches any of its members."""

    events: tuple[str, ...] = ()  # kinds of notices, `approval.*`; empty: what suits the type
    environments: tuple[str, ...] = ()
    labels: dict[str, str] = msgspec.field(default_factory=dict)  # of the target
    chains: tuple[str, ...] = ()


class AppriseSpec(Selection, frozen=True, kw_only=True, tag_field="type", tag="apprise"):
    """A service that the Apprise library speaks; the whole URL is the secret."""

    url_from: SecretSource
    to_reviewers: bool = False  # e-mail only: to those who can decide, beside whom the URL names


class DecisionsSpec(model.Document, frozen=True):
    """How a system that knows the channel's secret may speak for a person."""

    map: Literal["email", "external-id", "name"]


class WebhookSpec(Selection, frozen=True, kw_only=True, tag_field="type", tag="webhook"):
    """Signed as Standard Webhooks says. Two secrets while one takes the other's place."""

    secret_from: SecretSource
    url: str = ""
    url_from: SecretSource | None = None  # when the address itself is a secret
    old_secret_from: SecretSource | None = None
    decisions: DecisionsSpec | None = None  # None: nobody decides through it


class JiraSpec(Selection, frozen=True, kw_only=True, tag_field="type", tag="jira"):
    """Jira Cloud, REST API v3."""

    url: str  # https://example.atlassian.net
    user: str  # the e-mail address of the account
    token_from: SecretSource
    project: str  # its key
    issue_type: str = "Task"
    approved_transition: str = ""  # the name of what closes a ticket; empty: it is commented on only
    closed_transition: str = ""


class ServiceNowSpec(Selection, frozen=True, kw_only=True, tag_field="type", tag="servicenow"):
    """The Table API. `closed` are fields that close a record, as the table wants them."""

    url: str  # https://example.service-now.com
    user: str
    password_from: SecretSource
    table: str = "incident"
    fields: dict[str, str] = msgspec.field(default_factory=dict)
    closed: dict[str, str] = msgspec.field(default_factory=dict)


Spec = AppriseSpec | WebhookSpec | JiraSpec | ServiceNowSpec


class NotificationChannel(model.Document, frozen=True, tag_field="kind", tag="NotificationChannel"):
    apiVersion: Literal["assentry.dev/v1"]
    metadata: model.Metadata
    spec: Spec


class ChannelKind(StoredKind):
    """The DocumentKind. Only admins may change where the deployment speaks to."""

    def __init__(self) -> None:
        super().__init__(NotificationChannel, "notification-channel", Permission.ADMIN)

    def decode(self, value: object) -> model.Document | Problem:
        return documents.into(NotificationChannel, value, KIND, _name_of(value))

    async def put(self, uow: UnitOfWork, by: Actor, document: model.Document, *, managed: bool) -> None:
        """The first channel there is begins with what happens from now on."""
        if not await self.rows(uow, limit=1):
            await repository.pass_over_notices(uow.session)
        await super().put(uow, by, document, managed=managed)

    async def all(self, uow: UnitOfWork) -> list[tuple[str, str]]:
        """Name and canonical text, in order of names."""
        return [(row.name, row.json_text) for row in await self.rows(uow)]


def parse(text: str) -> NotificationChannel:
    return msgspec.json.decode(text, type=NotificationChannel)


def _name_of(value: object) -> str:
    metadata = value.get("metadata") if isinstance(value, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""
