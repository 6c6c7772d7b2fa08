"""What reviewers are shown, as one value that never changes; its digest travels with every decision. Pure.

One of `operation`, `plan` and `access` says what is asked, by `kind`. It is complete: the operation with the digest
of what the agent would execute, all statements of a plan, all that access gives; so whoever decides on this value
decides on those bytes. Text is kept as it came; `display` makes it safe to read when it is shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from control_plane.approvals import words
from control_plane.approvals.domain import Chain, Window
from control_plane.approvals.domain.choice import offered
from control_plane.approvals.impact import Guarded, Impact, alike
from control_plane.approvals.kinds import Kind
from control_plane.approvals.reports import Parameter, ReportedOperation, RequestedReport, Resource
from control_plane.approvals.undo import Undo, undo_of

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


class Behind(msgspec.Struct, frozen=True):
    """Somebody on whose behalf the requester acts. `id` empty: nobody who is known here."""

    id: str
    name: str
    kind: str


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
    shape: str = ""  # hex: equal for operations of its session that differ in values only; empty: it has none
    shape_text: str = ""  # the text with marks in place of those values


class Plan(msgspec.Struct, frozen=True):
    """Statements that may run once each, as they are written here and without parameters."""

    statements: tuple[str, ...]
    ordered: bool  # none before the one above it
    session_state: tuple[tuple[str, str], ...]  # what the session must say of itself, complete

    @property
    def text(self) -> str:
        count = len(self.statements)
        return "\n".join(f"-- {number} of {count}\n{one}" for number, one in enumerate(self.statements, 1))


class Access(msgspec.Struct, frozen=True):
    """Membership of `group` for so long, beginning with the approval; `policies` are those that the group opens."""

    offer: str
    group: str
    seconds: int
    policies: tuple[str, ...]

    @property
    def text(self) -> str:
        opened = f"; it opens the policies {', '.join(self.policies)}" if self.policies else ""
        return f"membership of {self.group} for {duration(self.seconds)} from the approval on{opened}"


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
    operation: Operation | None
    rule: Rule  # of a plan: the policy that lets it be asked; of access: the offer
    chain: Chain
    ticket: bool
    requested_at_ms: int
    approve_by_ms: int
    earlier: Earlier
    kind: Kind = Kind.OPERATION
    plan: Plan | None = None
    access: Access | None = None
    reason: str = ""  # what the requester says it is for; not to be trusted
    impact: Impact | None = None  # None: policy asks for no preview
    row_guard: Guarded | None = None  # None: the chain has none
    behalf: tuple[Behind, ...] = ()  # on whose behalf, the first one first; none of them decides

    @property
    def asked(self) -> Operation | Plan | Access:
        """What it is all about. Whatever its kind, its `text` is complete."""
        asked = self.operation or self.plan or self.access
        if asked is None:
            raise ValueError(f"request {self.approval_id} asks for nothing")
        return asked

    @property
    def window(self) -> Window | None:
        """What a reviewer may choose in place of this one operation. None: nothing."""
        return offered(self.chain, shape=self.operation.shape if self.operation else "", ticket=self.ticket)

    @property
    def undo(self) -> Undo | None:
        """What kind of operation it is and whether it can be undone. None: it is none."""
        one = self.operation
        return undo_of(one.action, one.verbs, in_transaction=one.in_transaction) if one else None

    def without_findings(self) -> Shown:
        """For whoever asked: what the target was asked about it would answer questions that nobody has approved, such
        as how many rows have a value that the requester may not read."""
        return msgspec.structs.replace(self, impact=None, row_guard=None)

    @property
    def silence(self) -> str:
        """What it means when nobody decides."""
        return " ".join(filter(None, (words.escalations(self.chain), self._end)))

    @property
    def _end(self) -> str:
        if self.kind is Kind.ACCESS:
            return "If nobody decides in time nothing is given."
        if self.kind is Kind.PLAN:
            return "If nobody decides in time the plan is refused; what policy holds is asked for one by one."
        if self.ticket:
            return "If nobody decides in time the operation is refused; it never runs without an approval."
        return (
            "If nobody decides in time, or the client stops waiting, the operation is refused; "
            "it never runs without an approval."
        )


def behalf(chain: Sequence[Mapping[str, str]]) -> tuple[Behind, ...]:
    return tuple(Behind(one.get("id", ""), one.get("name", ""), one.get("kind", "")) for one in chain)


def encode(shown: Shown) -> str:
    """Canonical: the same value is the same text, whatever the order of its dictionaries."""
    return msgspec.json.encode(shown, order="deterministic").decode()


def decode(text: str) -> Shown:
    return msgspec.json.decode(text, type=Shown)


def digest(text: str) -> bytes:
    """SHA-256 of what `encode` gave."""
    return hashlib.sha256(_CONTEXT + text.encode()).digest()


def likeness(text: str) -> bytes:
    """Equal for requests that differ in nothing but which session asked, and when: of what `encode` gave."""
    shown = decode(text)
    if shown.operation is None:
        return digest(text)
    one = msgspec.structs.replace(
        shown,
        approval_id="",
        short_code="",
        credential=Credential("", shown.credential.description),
        client=Client("", ""),
        operation=msgspec.structs.replace(shown.operation, id="", session_id=""),
        requested_at_ms=0,
        approve_by_ms=0,
        earlier=Earlier(),
        impact=alike(shown.impact),
    )
    return digest(encode(one))


def operation(report: RequestedReport) -> Operation:
    reported = report.operation
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
        in_transaction=report.in_transaction,
        raw=reported.raw,
        digest=reported.digest.hex(),
        shape=report.shape.hex(),
        shape_text=report.shape_text,
    )


def shape(reported: ReportedOperation) -> str:
    """Equal for operations that do the same kind of thing to the same things."""
    resources = sorted((resource.kind, resource.name, sorted(resource.access)) for resource in reported.resources)
    shaped = msgspec.json.encode([reported.protocol, reported.action, sorted(reported.verbs), resources])
    return hashlib.sha256(shaped).hexdigest()


def duration(seconds: int) -> str:
    """`2h`, `1h 30m`, `45s`: as people say it."""
    parts = ((seconds // 3600, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s"))
    return " ".join(f"{count}{unit}" for count, unit in parts if count) or "0s"


def _facts(text: str) -> dict[str, Any]:
    """Those of the only statement, or of each by its number. What is neither is shown as what it is."""
    try:
        facts = msgspec.json.decode(text, type=list[dict[str, Any]])
    except msgspec.DecodeError:
        return {"not readable": text}
    if len(facts) == 1:
        return facts[0]
    return {f"{number}. {name}": value for number, one in enumerate(facts, 1) for name, value in one.items()}
