"""What the gate needs from elsewhere; adapters live in `link/` and `recording/`, wired in `assembly.py`."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Protocol

import msgspec

from data_plane.gate.interface import Decision, Operation, Pending, SessionFacts
from data_plane.identifiers import ApprovalId
from data_plane.recording.interface import Recorder
from data_plane.recording.model import Opened


class SignedGrant(msgspec.Struct, frozen=True):
    """As it came over the link: nothing in it is believed before `gate.grants` has verified it."""

    payload: bytes
    signature: bytes
    key_id: str


class Answer(enum.StrEnum):
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"


class Answered(msgspec.Struct, frozen=True):
    answer: Answer
    reason: str = ""
    grant: SignedGrant | None = None


class ApprovalRequest(msgspec.Struct, frozen=True):
    id: ApprovalId
    session: SessionFacts
    operation: Operation
    decision: Decision
    policy_version: int
    wait_seconds: float


class Approvals(Protocol):
    """Asks people through the control plane."""

    def request(
        self,
        request: ApprovalRequest,
        pending: Callable[[Pending], None],
        answered: Callable[[Answered], None],
    ) -> None:
        """Calls back on the event loop; `answered` once. Out of reach: UNAVAILABLE, at once."""

    def cancel(self, approval: ApprovalId, reason: str) -> None: ...

    def consumed(self, approval: ApprovalId, nonce: bytes) -> None: ...

    def finished(self, approval: ApprovalId, outcome: str, detail: str) -> None: ...


class Recorders(Protocol):
    async def open(self, opened: Opened, on_failure: Callable[[str], None]) -> Recorder:
        """A recorder whose recording has begun on disk. Raises RecordingError: no record, no session.

        `on_failure` is called on the event loop when nothing can be recorded any more."""


class SessionReports(Protocol):
    """What the control plane is told of sessions, through the durable journal."""

    def opened(self, session: SessionFacts, snapshot_version: int) -> None:
        """Called before the client is told that it is in."""

    def refused(self, target: str, reason: str, client_address: str, requester_id: str) -> None:
        """A connection that did not become a session; `requester_id` is empty when it did not authenticate."""


class Nonces(Protocol):
    """The durable journal of spent grants."""

    async def spend(self, nonce: bytes, approval: ApprovalId) -> bool:
        """True exactly once for a nonce, over restarts and workers; on disk when it returns."""


class Lease(Protocol):
    @property
    def valid(self) -> bool:
        """Whether this agent may still act on what it knows. Runs on the monotonic clock."""


class Clock(Protocol):
    def now(self) -> float:
        """Unix time in seconds."""

    def monotonic(self) -> float: ...
