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
    impact: str = ""  # JSON, as the protocol's preview gave it; empty: policy asks for none


class KeptTicket(msgspec.Struct, frozen=True):
    """A request for approval whose client may come back: what any worker must know to serve it."""

    approval: ApprovalId
    owner: str  # the agent instance that asked; grants are bound to it
    policy_version: int
    rules: tuple[str, ...]
    expires_at: float  # Unix time
    issued: bool = False  # a client was told to come back
    pending: Pending | None = None
    answered: Answered | None = None


TicketKey = tuple[str, str, str, bytes]  # requester, credential, target, digest with meaning


class TicketStore(Protocol):
    """Shared by the workers of one agent, on disk when a method returns. Each raises an error when it cannot be."""

    async def take(self, key: TicketKey, fresh: KeptTicket) -> KeptTicket | None:
        """The ticket of this key, held by this worker from now on; `fresh` when there was none. None: a client waits
        with it already, here or at another worker."""

    async def read(self, approval: ApprovalId) -> KeptTicket | None: ...

    async def leave(self, approval: ApprovalId) -> None:
        """The client has been told to come back, or gone away: the ticket is free for the next."""

    async def tell(self, approval: ApprovalId, pending: Pending | None, answered: Answered | None) -> None:
        """What its owner has heard. The other workers look at it then."""

    async def remove(self, approval: ApprovalId) -> bool:
        """False: it was gone already. What was reported of it is on disk before. The other workers hear of it."""


class Approvals(Protocol):
    """Asks people through the control plane."""

    def request(
        self,
        request: ApprovalRequest,
        pending: Callable[[Pending], None],
        answered: Callable[[Answered], None],
    ) -> None:
        """Calls back on the event loop; `answered` once. Out of reach: UNAVAILABLE, at once."""

    def resume(
        self, ticket: KeptTicket, pending: Callable[[Pending], None], answered: Callable[[Answered], None]
    ) -> None:
        """As `request`, for what was asked before this process started."""

    def forget(self, approval: ApprovalId) -> None:
        """Another worker of this agent has reported, or will, what becomes of it."""

    def cancel(self, approval: ApprovalId, reason: str) -> None: ...

    def consumed(self, approval: ApprovalId, nonce: bytes, use: int = 0, digest: bytes = b"") -> None:
        """`use` counts from 1 in a window, and `digest` is then that of the operation that it is for."""

    def finished(self, approval: ApprovalId, outcome: str, detail: str, use: int = 0) -> None: ...

    def watch(self, approval: ApprovalId, over: Callable[[str], None]) -> None:
        """Of a window that has begun: `over` is called with the reason when the control plane takes it back, at once
        if it has. Until `cancel` of the same approval, with which a window ends."""


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

    async def spend(self, nonce: bytes, approval: ApprovalId, use: int = 0) -> bool:
        """True exactly once for a nonce, or for a use of its window, over restarts and workers; on disk when it
        returns. Uses count from 1 and are spent in their order, all by the instance that spent the first."""


class Lease(Protocol):
    @property
    def valid(self) -> bool:
        """Whether this agent may still act on what it knows. Runs on the monotonic clock."""


class Clock(Protocol):
    def now(self) -> float:
        """Unix time in seconds."""

    def monotonic(self) -> float: ...
