"""Whether notification channels mean something, beside the other documents. Pure: reads no secret."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

from control_plane.documents.domain import World
from control_plane.notifications.documents import (
    KIND,
    AppriseSpec,
    JiraSpec,
    NotificationChannel,
    SecretSource,
    ServiceNowSpec,
    Spec,
    WebhookSpec,
)
from control_plane.notifications.kinds import EVERY, is_pattern
from control_plane.notifications.secrets import source_problem
from data_plane.policy.documents import Problem

RESERVED: Final = ("slack",)  # those that settings bring
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}", re.ASCII)
_EMAIL: Final = re.compile(r"[^@\s:]+@[^@\s:]+")
Found = Iterator[tuple[str, str]]


def check(world: World) -> Sequence[Problem]:
    channels: list[NotificationChannel] = list(world.of(KIND))
    found = [
        Problem(KIND, channel.metadata.name, f"$.spec{path}", message)
        for channel in channels
        for path, message in [*_selection(channel.spec, world), *_secrets(channel.spec), *_of_type(channel.spec)]
    ]
    taken = [channel.metadata.name for channel in channels if channel.metadata.name in RESERVED]
    return [
        *found,
        *(Problem(KIND, name, "$.metadata.name", "settings bring a channel of this name") for name in taken),
    ]


def _selection(spec: Spec, world: World) -> Found:
    for index, event in enumerate(spec.events):
        if not is_pattern(event):
            yield f".events[{index}]", f"no notice is called {event!r}; known: {', '.join(EVERY)}, and approval.*"
    for index, chain in enumerate(spec.chains):
        if chain not in world.names("ApprovalChain"):
            yield f".chains[{index}]", f"there is no ApprovalChain named {chain!r}"


def _secrets(spec: Spec) -> Found:
    for field in ("url_from", "secret_from", "old_secret_from", "token_from", "password_from"):
        source: SecretSource | None = getattr(spec, field, None)
        if source is not None and (problem := source_problem(source)):
            yield f".{field}", problem


def _of_type(spec: Spec) -> Found:
    match spec:
        case WebhookSpec():
            yield from _webhook(spec)
        case JiraSpec():
            yield from _jira(spec)
        case ServiceNowSpec():
            yield from _servicenow(spec)
        case AppriseSpec():
            return


def _webhook(spec: WebhookSpec) -> Found:
    if bool(spec.url) == (spec.url_from is not None):
        yield ".url", "give either url, or url_from when the address is a secret"
    elif spec.url:
        yield from _url(spec.url)
    if spec.old_secret_from is not None and spec.old_secret_from == spec.secret_from:
        yield ".old_secret_from", "it is the secret itself; name where the former one is kept, or leave it out"


def _jira(spec: JiraSpec) -> Found:
    yield from _url(spec.url)
    if not _EMAIL.fullmatch(spec.user):
        yield ".user", "the e-mail address of the account that the token belongs to"
    if not _WORD.fullmatch(spec.project):
        yield ".project", "the key of a project, as in OPS-12 without its number"
    if not spec.issue_type:
        yield ".issue_type", "the name of an issue type of the project, such as Task"


def _servicenow(spec: ServiceNowSpec) -> Found:
    yield from _url(spec.url)
    if not spec.user or ":" in spec.user:
        yield ".user", "the name of an account; it has no colon"
    if not _WORD.fullmatch(spec.table):
        yield ".table", "the name of a table, such as incident or change_request"
    for field in ("fields", "closed"):
        for name in getattr(spec, field):
            if not _WORD.fullmatch(name):
                yield f".{field}.{name}", "the name of a column has letters, digits and _ only"
            elif name.startswith("correlation_"):
                yield f".{field}.{name}", "Assentry finds its records by the correlation columns; leave them to it"


def _url(text: str) -> Found:
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises when it is no number
    except ValueError as error:
        yield ".url", f"no address: {error}"
        return
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        yield ".url", "begins with https:// and names a host"
    elif parts.username is not None or parts.password is not None:
        yield ".url", "holds a user or password: an address in a document must not"
    elif parts.fragment:
        yield ".url", "an address that is called has no #"
