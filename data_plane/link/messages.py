"""What the agent and the control plane say to each other, as plain values; `wire` turns them into link.proto.

A `Report` must not be lost: it goes through the journal and is sent until it is acknowledged. What comes from the
control plane is believed as far as mutual TLS goes; snapshots and grants are verified by those who use them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

from data_plane.gate.interface import SessionFacts
from data_plane.gate.ports import Answered, ApprovalRequest
from data_plane.identifiers import ApprovalId, SessionId
from data_plane.policy.snapshot import SignedSnapshot
from data_plane.recording.interface import Decisions

# ---------------------------------------------------------------- reports, agent to control plane


class SessionOpened(msgspec.Struct, frozen=True):
    session: SessionFacts
    snapshot_version: int


class SessionClosed(msgspec.Struct, frozen=True):
    session_id: SessionId
    reason: str
    operations: int
    recording_hash: bytes = b""  # over the sealed chain; empty: not sealed


class SessionRefused(msgspec.Struct, frozen=True):
    """A connection that did not become a session."""

    target: str
    reason: str
    client_address: str
    requester_id: str = ""


class Requested(msgspec.Struct, frozen=True):
    request: ApprovalRequest
    wait_until_ms: int


class Cancelled(msgspec.Struct, frozen=True):
    approval_id: ApprovalId
    reason: str


class Consumed(msgspec.Struct, frozen=True):
    approval_id: ApprovalId
    nonce: bytes
    use: int = 0  # of a window, from 1; 0: the only one
    digest: bytes = b""  # of a window: of the operation that this use is for


class Finished(msgspec.Struct, frozen=True):
    approval_id: ApprovalId
    outcome: str  # done, failed, outcome-unknown
    detail: str = ""
    use: int = 0


class Notice(msgspec.Struct, frozen=True):
    """Something an admin should see."""

    kind: str
    text: str


class AccountLeased(msgspec.Struct, frozen=True):
    """An account that is about to be made at a target, for one session."""

    lease_id: str
    session_id: SessionId
    target: str
    provider: str
    principal: str  # empty: the target chooses
    expires_at_ms: int


class AccountEnded(msgspec.Struct, frozen=True):
    lease_id: str
    outcome: str  # gone, disabled, failed
    detail: str
    target: str
    principal: str


Report = (
    SessionOpened
    | SessionClosed
    | SessionRefused
    | Decisions
    | Requested
    | Cancelled
    | Consumed
    | Finished
    | Notice
    | AccountLeased
    | AccountEnded
)

# ---------------------------------------------------------------- the rest of what the agent says


class Hello(msgspec.Struct, frozen=True):
    agent_name: str
    instance_id: str
    boot_id: str
    version: str
    features: tuple[str, ...]
    snapshot_version: int
    first_report: int
    open_sessions: tuple[str, ...]
    pending_approvals: tuple[str, ...]
    recording_keys: tuple[str, ...]  # base64 Ed25519


class Load(msgspec.Struct, frozen=True):
    """What a heartbeat tells."""

    open_sessions: int
    held_operations: int
    spool_bytes: int


# ---------------------------------------------------------------- control plane to agent


class Welcome(msgspec.Struct, frozen=True):
    agent_id: str
    lease_seconds: int
    heartbeat_seconds: int
    reports_through: int


class LeaseRenewed(msgspec.Struct, frozen=True):
    number: int


class ReportsAcknowledged(msgspec.Struct, frozen=True):
    through: int


class ApprovalPending(msgspec.Struct, frozen=True):
    approval_id: ApprovalId
    short_code: str
    url: str
    reviewers: str
    left_seconds: float  # until nobody can approve it any more; 0: a control plane that does not say it


class ApprovalDecided(msgspec.Struct, frozen=True):
    approval_id: ApprovalId
    answered: Answered


class SessionTerminate(msgspec.Struct, frozen=True):
    session_id: SessionId
    reason: str


class Drain(msgspec.Struct, frozen=True):
    seconds: int


class Errand(msgspec.Struct, frozen=True):
    """Something to do at a target; answered by `ErrandDone` on the stream that it came on, or not at all."""

    id: str
    kind: str
    target: str
    arguments: str  # JSON


class ErrandDone(msgspec.Struct, frozen=True):
    errand_id: str
    result: str = ""  # JSON, never with a secret
    problem: str = ""  # empty: it is done


class SecretChanged(msgspec.Struct, frozen=True):
    """The control plane keeps another value for this target, or tells once more which one it keeps."""

    target: str
    version: int


class Unknown(msgspec.Struct, frozen=True):
    """A message of a newer control plane; ignored."""


FromControlPlane = (
    Welcome
    | LeaseRenewed
    | SignedSnapshot
    | ReportsAcknowledged
    | ApprovalPending
    | ApprovalDecided
    | SessionTerminate
    | Drain
    | Errand
    | SecretChanged
    | Unknown
)

# ---------------------------------------------------------------- enrolment and recordings


class Enrolled(msgspec.Struct, frozen=True):
    client_certificate: bytes  # PEM chain
    listener_certificate: bytes
    ca_certificates: bytes
    signing_keys: Mapping[str, bytes]
    deployment: str
    agent_id: str


class Renewed(msgspec.Struct, frozen=True):
    client_certificate: bytes
    listener_certificate: bytes
    ca_certificates: bytes


class SealedValue(msgspec.Struct, frozen=True):
    version: int
    sealed: bytes  # HPKE: the encapsulated key, then the ciphertext


class UploadAck(msgspec.Struct, frozen=True):
    next_segment: int
    stored: bool


class LinkState(enum.Enum):
    DISCONNECTED = "disconnected"
    CONNECTED = "connected"
    REFUSED = "refused"  # this agent was disabled or its certificate revoked
    CLOSED = "closed"
