"""What reviewers are shown, as one value that never changes; its digest travels with every decision. Pure.

It holds the operation complete and the digest of what the agent would execute, so whoever decides on this
value decides on those bytes. Text is kept as it came; `display` makes it safe to read when it is shown.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from control_plane.approvals.domain import Chain
from control_plane.approvals.reports import Parameter, ReportedOperation, Resource

_CONTEXT: Final = b"assentry-shown-v1\0"


class Requester(msgspec.Struct, frozen=True):
    id: str
    name: str
    kind: str
    groups: tuple[str, ...]


class Owner(msgspec.Struct, frozen=True):
    id: str
    name: str


class Credential(msgspec.Struct, frozen=True):
    id: str
    description: str


class Client(msgspec.Struct, frozen=True):
    """Told by the client and its network: not to be trusted."""

    address: str
    application_name: str


class Target(msgspec.Struct, frozen=True):
    name: str
    protocol: str
    environment: str
    labels: dict[str, str]


class Rule(msgspec.Struct, frozen=True):
    policy: str
    rule: str
    policy_version: int


class Operation(msgspec.Struct, frozen=True):
    id: str
    session_id: str
    action: str
    verbs: tuple[str, ...]
    resources: tuple[Resource, ...]
    text: str  # complete
    parameters: tuple[Parameter, ...]
    facts: dict[str, Any]
    session_state: tuple[tuple[str, str], ...]
    in_transaction: bool
    raw: bytes  # what would be sent, when the text is not all
    digest: str  # hex, SHA-256: what the grant is for


class Earlier(msgspec.Struct, frozen=True):
    """What became of requests like this one: same requester and target, same kind of operation, same resources."""

    approved: int = 0
    denied: int = 0
    undecided: int = 0
    last_at_ms: int | None = None


class Shown(msgspec.Struct, frozen=True):
    approval_id: str
    short_code: str
    requester: Requester
    owner: Owner | None
    credential: Credential
    client: Client
    target: Target
    operation: Operation
    rule: Rule
    chain: Chain
    ticket: bool
    requested_at_ms: int
    approve_by_ms: int
    earlier: Earlier

    @property
    def silence(self) -> str:
        """What it means when nobody decides."""
        if self.ticket:
            return "If nobody decides in time the operation is refused; it never runs without an approval."
        return (
            "If nobody decides in time, or the client stops waiting, the operation is refused; "
            "it never runs without an approval."
        )


def encode(shown: Shown) -> str:
    """Canonical: the same value is the same text, whatever the order of its dictionaries."""
    return msgspec.json.encode(shown, order="deterministic").decode()


def decode(text: str) -> Shown:
    return msgspec.json.decode(text, type=Shown)


def digest(text: str) -> bytes:
    """SHA-256 of what `encode` gave."""
    return hashlib.sha256(_CONTEXT + text.encode()).digest()


def operation(reported: ReportedOperation, *, in_transaction: bool) -> Operation:
    return Operation(
        id=reported.id,
        session_id=reported.session_id,
        action=reported.action,
        verbs=reported.verbs,
        resources=reported.resources,
        text=reported.text,
        parameters=reported.parameters,
        facts=_facts(reported.facts_json),
        session_state=reported.session_state,
        in_transaction=in_transaction,
        raw=reported.raw,
        digest=reported.digest.hex(),
    )


def shape(reported: ReportedOperation) -> str:
    """Equal for operations that do the same kind of thing to the same things."""
    resources = sorted((resource.kind, resource.name, sorted(resource.access)) for resource in reported.resources)
    shaped = msgspec.json.encode([reported.protocol, reported.action, sorted(reported.verbs), resources])
    return hashlib.sha256(shaped).hexdigest()


def _facts(text: str) -> dict[str, Any]:
    """Those of the only statement, or of each by its number. What is neither is shown as what it is."""
    try:
        facts = msgspec.json.decode(text, type=list[dict[str, Any]])
    except msgspec.DecodeError:
        return {"not readable": text}
    if len(facts) == 1:
        return facts[0]
    return {f"{number}. {name}": value for number, one in enumerate(facts, 1) for name, value in one.items()}
