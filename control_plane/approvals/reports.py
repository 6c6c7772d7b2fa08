"""What an agent reports about a held operation, and what it is answered. Plain values: `agents/wire.py` maps them."""

from __future__ import annotations

import msgspec

from control_plane.approvals.domain import Outcome


class Resource(msgspec.Struct, frozen=True):
    kind: str
    name: str
    access: tuple[str, ...]


class Parameter(msgspec.Struct, frozen=True):
    """`decoded` False: `value` is hex of the bytes."""

    name: str
    type: str
    value: str
    decoded: bool = True
    null: bool = False


class ReportedOperation(msgspec.Struct, frozen=True):
    id: str
    session_id: str
    protocol: str
    target: str
    action: str
    verbs: tuple[str, ...]
    resources: tuple[Resource, ...]
    text: str
    digest: bytes  # SHA-256 over everything that executes
    raw: bytes = b""
    parameters: tuple[Parameter, ...] = ()
    facts_json: str = "{}"
    session_state: tuple[tuple[str, str], ...] = ()


class RequestedReport(msgspec.Struct, frozen=True):
    """ApprovalRequested. `at_ms` and `wait_until_ms` are by the agent's clock: only their distance is used."""

    approval_id: str
    at_ms: int
    operation: ReportedOperation
    policy: str
    rule: str
    chain: str
    policy_version: int
    wait_until_ms: int
    ticket: bool
    in_transaction: bool
    requester_id: str
    credential_id: str
    impact_json: str = ""  # the agent's preview; empty: policy asked for none
    shape: bytes = b""  # equal for operations of its session that differ in values only; empty: it has none
    shape_text: str = ""
    reason: str = ""  # what the client says it is for


class CancelledReport(msgspec.Struct, frozen=True):
    approval_id: str
    reason: str


class ConsumedReport(msgspec.Struct, frozen=True):
    approval_id: str
    nonce: bytes
    use: int = 0  # of a window, from 1; 0: the only one
    digest: bytes = b""  # of a window: of the operation that this use is for


class FinishedReport(msgspec.Struct, frozen=True):
    approval_id: str
    outcome: str  # done, failed, outcome-unknown
    detail: str = ""
    use: int = 0


class PendingAnswer(msgspec.Struct, frozen=True):
    """ApprovalPending: people have been asked; what the waiting client is told."""

    approval_id: str
    short_code: str
    url: str
    reviewers: str
    left_ms: int  # until nobody can approve it any more, at least 1


class SignedGrant(msgspec.Struct, frozen=True):
    payload: bytes
    signature: bytes
    key_id: str


class DecidedAnswer(msgspec.Struct, frozen=True):
    """ApprovalDecided. `grant` only with APPROVED."""

    approval_id: str
    outcome: Outcome
    reason: str = ""
    grant: SignedGrant | None = None
    open: bool = False  # it is granted for a window, and may still be taken back


Answer = PendingAnswer | DecidedAnswer
