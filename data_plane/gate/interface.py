"""What a protocol and the gate say to each other. Pure values: no I/O, no clock, no protocol knowledge.

A protocol turns what a client sent into `Subject`s (what would happen, without its text) and asks the
session's `Gate` for a verdict. Bytes reach a target only inside a `Permit`, and only `gate/` makes
permits (tests/architecture forbids it elsewhere): what was judged and what is sent cannot differ.

`Gate.judge` is synchronous and does no I/O: it is on the path of every statement. Only a hold waits,
and its answer arrives through a callback, so that no task is made for a statement that is allowed.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from data_plane.gate.permit import Allowed as Allowed  # noqa: PLC0414  # this module tells everybody of it
from data_plane.gate.permit import Gate as Gate  # noqa: PLC0414
from data_plane.gate.permit import Permit as Permit  # noqa: PLC0414
from data_plane.identifiers import ApprovalId, CredentialId, IdentityId, OperationId, SessionId, TargetName

if TYPE_CHECKING:
    from data_plane.gate.impact import Impact

FactValue = str | bool | int | tuple[str, ...]


class Action(enum.StrEnum):
    """What an operation does, coarsely. UNKNOWN is never allowed by a rule that does not name it."""

    READ = "read"
    WRITE = "write"
    DDL = "ddl"
    ADMIN = "admin"
    EXEC = "exec"
    CONNECT = "connect"
    SESSION = "session"  # transaction control and session settings without meaning for others
    UNKNOWN = "unknown"


class Effect(enum.StrEnum):
    ALLOW = "allow"
    HOLD = "hold"
    DENY = "deny"


class Resource(msgspec.Struct, frozen=True):
    """A thing that is touched. `candidates` has more than one name when which one cannot be told.

    An allow rule must match every candidate of every resource; a hold or deny rule needs one.
    """

    kind: str  # relation, function, database, role, …
    candidates: tuple[str, ...]  # "schema.name"; "?.name" when the schema is not known
    access: tuple[str, ...]  # read, write, ddl, lock, execute


class Subject(msgspec.Struct, frozen=True, eq=False):
    """What one statement would do. Shared between equal statements and compared by identity.

    It carries no text, values or parameters: those that differ only there share one subject, and the
    gate keeps its decision beside it.
    """

    action: Action  # the worst of `actions`
    verbs: tuple[str, ...]
    resources: tuple[Resource, ...]
    facts: Mapping[str, FactValue]
    understood: bool
    problem: str = ""  # why it is not understood
    actions: frozenset[Action] = frozenset()  # of all its parts; `action` is always among them

    def __post_init__(self) -> None:
        if self.action not in self.actions:
            msgspec.structs.force_setattr(self, "actions", self.actions | {self.action})


class Requester(msgspec.Struct, frozen=True):
    id: IdentityId
    name: str
    kind: str  # person, machine
    groups: tuple[str, ...]
    owner_id: IdentityId | None = None


class TargetFacts(msgspec.Struct, frozen=True):
    name: TargetName
    protocol: str
    environment: str
    labels: Mapping[str, str]


class SessionFacts(msgspec.Struct, frozen=True):
    """What is fixed for the life of a session."""

    id: SessionId
    target: TargetFacts
    requester: Requester
    credential_id: CredentialId
    client_address: str
    application_name: str


class Decision(msgspec.Struct, frozen=True):
    """What policy says of one subject, and why. Never a bare boolean."""

    effect: Effect
    rules: tuple[str, ...]  # "policy/rule" that fired, the one that decided first; empty: none matched
    message: str = ""  # what to do about it, from the rule
    chain: str = ""  # HOLD: the approval chain
    wait_seconds: float = 0  # HOLD: how long the client waits
    wait_in_transaction_seconds: float = 0  # HOLD: the same inside a transaction
    ticket: bool = False  # HOLD: after the wait the client may come back with a ticket
    masks: tuple[str, ...] = ()
    preview: tuple[str, ...] = ()  # HOLD: what reviewers are told of its impact: facts, estimate, count, dry-run


class Code(enum.StrEnum):
    """Why an operation does not run; protocols map each to their own error code."""

    POLICY = "policy"
    NOT_UNDERSTOOD = "not-understood"
    DENIED = "denied-by-reviewer"
    EXPIRED = "expired"  # nobody decided in time
    CANCELLED = "cancelled"  # by the client
    WITHDRAWN = "withdrawn"  # voided: policy, role or session changed
    UNAVAILABLE = "unavailable"  # nobody could be asked: the control plane is out of reach
    PENDING = "pending"  # ticket mode: still waiting; the same operation may be sent again
    INVALID_GRANT = "invalid-grant"
    LIMIT = "limit"
    ENDED = "session-ended"


class Denied(msgspec.Struct, frozen=True):
    code: Code
    message: str
    hint: str = ""
    rules: tuple[str, ...] = ()
    ticket: str = ""


class Held(msgspec.Struct, frozen=True):
    """Policy asks for people. The protocol now builds the whole Operation and calls `Gate.hold`."""

    decision: Decision


Verdict = Allowed | Denied | Held


class Parameter(msgspec.Struct, frozen=True):
    """A bound value as the reviewer reads it; `decoded` False: `value` is hex of the raw bytes."""

    name: str
    type: str
    value: str
    decoded: bool = True
    null: bool = False


class Operation(msgspec.Struct, frozen=True):
    """The unit that people approve: everything that would execute, complete."""

    id: OperationId
    number: int  # counts from 1 in its session
    session: SessionId
    protocol: str
    target: TargetName
    subjects: tuple[Subject, ...]
    text: str  # complete; what the reviewer reads
    parts: tuple[bytes, ...]  # every byte that decides what executes: statement texts, then the raw batch
    state: tuple[tuple[str, str], ...]  # session state that changes meaning, sorted by name
    parameters: tuple[Parameter, ...] = ()
    guardable: bool = False  # the protocol can hold it to a row guard
    in_transaction: bool = False
    shape: bytes = b""  # SHA-256, equal for operations of its session that differ in values only; empty: it has none
    shape_text: str = ""  # the text with marks in place of those values
    reason: str = ""  # what the client says it is for

    @property
    def digest(self) -> bytes:
        """SHA-256 over a canonical, length-prefixed encoding of everything that executes."""
        return digest(self.protocol, self.target, self.state, self.parts)


def digest(protocol: str, target: str, state: Sequence[tuple[str, str]], parts: Sequence[bytes]) -> bytes:
    """The operation digest: each field as an 8-byte big-endian length and its bytes, counts included."""
    return _hashed(b"assentry-operation-v1", protocol, target, state, parts)


def shape(protocol: str, target: str, state: Sequence[tuple[str, str]], parts: Sequence[bytes]) -> bytes:
    """The digest of a shape: encoded alike, and never that of an operation. `parts` are for the protocol to say."""
    return _hashed(b"assentry-shape-v1", protocol, target, state, parts)


def _hashed(
    context: bytes, protocol: str, target: str, state: Sequence[tuple[str, str]], parts: Sequence[bytes]
) -> bytes:
    fields = [context, protocol.encode(), target.encode(), str(len(state)).encode()]
    for name, value in sorted(state):
        fields += [name.encode(), value.encode()]
    fields += [str(len(parts)).encode(), *parts]
    hashed = hashlib.sha256()
    for field in fields:
        hashed.update(len(field).to_bytes(8, "big") + field)
    return hashed.digest()


class Pending(msgspec.Struct, frozen=True):
    """The control plane has the request. What the client is told while it waits."""

    approval_id: ApprovalId
    short_code: str
    url: str
    reviewers: str  # "1 of group dba"
    rules: tuple[str, ...]
    wait_seconds: float

    def within(self, seconds: float) -> Pending:
        """With another limit, of the client's own or of the chain's time, when that is sooner; 0: none."""
        return msgspec.structs.replace(self, wait_seconds=min(self.wait_seconds, seconds or self.wait_seconds))


Preview = Callable[[], Coroutine[Any, Any, "Impact"]]
"""Looks up what an operation would do, once, for the people who decide. Keeps its own limits of time."""


class HoldListener(Protocol):
    """Called by the gate on the session's own event loop, never from inside `Gate.hold`."""

    def hold_pending(self, pending: Pending) -> None: ...

    def hold_decided(self, verdict: Allowed | Denied) -> None:
        """At most once, never after `Hold.cancel`. Allowed: the grant is verified and its nonce is spent."""


class Hold(Protocol):
    def cancel(self, reason: str) -> None:
        """The client gave up or went away; `reason` is for the audit. After this nothing is called back."""
