"""The events of a recording. A format of its own: both planes read it, it imports nothing of the project.

A recording is a sequence of events in the order in which they happened, as MessagePack arrays (tag first).
Times are milliseconds since the session opened. `Output.data` is what the client was sent, after masking,
in the session's own protocol; replay decodes it by `Opened.protocol`.
"""

from __future__ import annotations

import msgspec


class Event(msgspec.Struct, frozen=True, array_like=True, tag_field="event"):
    at_ms: int


class Opened(Event, frozen=True, tag="opened"):
    session_id: str
    protocol: str
    target: str
    requester: str
    requester_id: str
    credential_id: str
    client_address: str
    application_name: str
    started_at_ms: int  # Unix time
    snapshot_version: int
    details: dict[str, str]  # database, user, …


class Input(Event, frozen=True, tag="input"):
    """An operation, complete, as the client sent it."""

    operation: int  # counts from 1 in the session
    text: str
    parameters: tuple[tuple[str, str, str], ...] = ()  # name, type, value as read by people
    bind: bytes = b""  # in place of `parameters`: the message that bound them, as it came; replay decodes it
    types: tuple[int, ...] = ()  # of the parameters in `bind`, as far as they are known; 0: not


class Decided(Event, frozen=True, tag="decided"):
    """What policy said of the operation; written before anything of it is sent."""

    operation: int
    effect: str
    action: str
    rules: tuple[str, ...]
    code: str = ""
    message: str = ""


class HeldForApproval(Event, frozen=True, tag="held"):
    operation: int
    approval_id: str
    digest: bytes
    short_code: str
    reviewers: str


class HoldEnded(Event, frozen=True, tag="hold-ended"):
    operation: int
    approval_id: str
    outcome: str  # approved, denied, expired, cancelled, unavailable, …
    reason: str
    approvers: tuple[str, ...] = ()


class Output(Event, frozen=True, tag="output"):
    """Bytes of a result as the client got them, masked: descriptions, rows, notices, errors."""

    operation: int
    data: bytes


class Completed(Event, frozen=True, tag="completed"):
    operation: int
    status: str  # command tag, or SQLSTATE of an error
    rows: int
    rows_kept: int
    bytes: int


class Judged(Event, frozen=True, tag="judged"):
    """Input and Decided in one, for the sake of speed: of an operation that was judged at once. The reader takes it
    apart."""

    operation: int
    effect: str
    action: str
    rules: tuple[str, ...]
    code: str
    message: str
    text: str
    bind: bytes
    types: tuple[int, ...]


class Answered(Event, frozen=True, tag="answered"):
    """Output and Completed in one, of an operation whose whole answer is `data`. The reader takes it apart."""

    operation: int
    data: bytes
    status: str
    rows: int


class Ran(Event, frozen=True, tag="ran"):
    """Judged and Answered in one: allowed at once, and answered before what was judged had to be written."""

    operation: int
    effect: str
    action: str
    rules: tuple[str, ...]
    text: str
    bind: bytes
    types: tuple[int, ...]
    answered_at_ms: int
    data: bytes
    status: str
    rows: int


class RanAlike(Event, frozen=True, tag="alike"):
    """Operations that ran one after another, in columns: each is a Ran with the effect, action, rules and types of the
    last Ran before them in the same chunk. Every column has an entry for each of them, and `times` has two."""

    # at_ms: when the first was judged
    operation: int  # the first; they count on by one
    texts: tuple[str, ...]  # empty: as that of the one that ran before it in the chunk
    binds: tuple[bytes, ...]
    times: tuple[int, ...]  # judged and answered, in ms after `at_ms`
    data: tuple[bytes, ...]
    statuses: tuple[str, ...]
    rows: tuple[int, ...]


class RanAgain(Event, frozen=True, tag="again"):
    """One operation of a RanAlike, as it was written before there were columns. Read only: a spool or a store may have
    such recordings."""

    operation: int
    text: str
    bind: bytes
    answered_at_ms: int
    data: bytes
    status: str
    rows: int


AGENT_CRASHED = "agent-crashed"


class Closed(Event, frozen=True, tag="closed"):
    """With the reason AGENT_CRASHED written at the agent's next start: `operations` is the last that is recorded; the
    agent may have let some more pass in the moment before it died (see `spool`)."""

    reason: str
    operations: int


AnyEvent = Opened | Input | Decided | HeldForApproval | HoldEnded | Output | Completed | Closed
Written = AnyEvent | Judged | Answered | Ran | RanAlike | RanAgain  # what lies on disk
