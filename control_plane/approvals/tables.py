"""Rows of approval requests, of what people decided on them, and of grants. The database holds the rules too.

A person counts once by the primary key of votes; a nonce exists once; a short code is unique while it is
of use.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, LargeBinary, String, Text, text
from sqlmodel import Field

from control_plane.approvals.kinds import Kind
from control_plane.db.table import JsonColumn, Table

_WHILE_OPEN = text("state IN ('pending', 'approved')")


class ApprovalRow(Table, table=True):
    """A request of any kind. Of a plan and of access no agent, session or operation is known: what names them is
    empty, and so are the rule that held and its snapshot."""

    __tablename__ = "approval_requests"
    __table_args__ = (
        Index(
            "uq_approval_requests_short_code",
            "short_code",
            unique=True,
            sqlite_where=_WHILE_OPEN,
            postgresql_where=_WHILE_OPEN,
        ),
        Index("ix_approval_requests_state_due_at_ms", "state", "due_at_ms"),
        Index("ix_approval_requests_state_execute_by_ms", "state", "execute_by_ms"),
        Index("ix_approval_requests_state_window_until_ms", "state", "window_until_ms"),
        Index("ix_approval_requests_requested_at_ms_id", "requested_at_ms", "id"),
        Index("ix_approval_requests_requester_id_target_shape", "requester_id", "target", "shape"),
        Index("ix_approval_requests_card_id_state", "card_id", "state"),
        Index("ix_approval_requests_requester_id_state", "requester_id", "state"),
    )

    id: str = Field(primary_key=True, max_length=64)
    kind: str = Field(default=Kind.OPERATION, max_length=16)
    card_id: str = Field(max_length=64)  # shared by identical requests that one decision may cover; else its own id
    short_code: str = Field(max_length=8)
    state: str = Field(max_length=16)
    reason: str = Field(default="", sa_type=Text)  # why it ended as it did
    instance_id: str = Field(max_length=64)
    session_id: str = Field(max_length=64, index=True)
    ticket: bool
    target: str = Field(max_length=255)
    environment: str = Field(max_length=255)
    labels: str = Field(default="{}", sa_type=Text)  # JSON: of the target; with the environment, who reviews it
    requester_id: str = Field(max_length=64)
    owner_id: str | None = Field(default=None, max_length=64)
    barred: str = Field(sa_type=Text)  # JSON: ids of the owners, who never decide on it
    credential_id: str = Field(max_length=64)
    action: str = Field(max_length=16)
    policy: str = Field(max_length=255)
    rule: str = Field(max_length=255)
    policy_version: int = Field(sa_type=BigInteger)
    chain: str = Field(sa_type=Text)  # JSON of domain.Chain, as it was
    stage: int = 0  # the one that waits
    stage_by_ms: int | None = Field(default=None, sa_type=BigInteger)  # the end of its time; None: the chain's
    escalated: str = Field(default="[]", sa_type=Text)  # JSON: the stages that ask more people now
    remind_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    due_at_ms: int | None = Field(default=None, sa_type=BigInteger)  # while it is pending: the next of its deadlines
    fingerprint: str = Field(max_length=64)  # of the documents that it stands on
    shape: str = Field(max_length=64)
    operation_digest: bytes = Field(sa_type=LargeBinary)
    shown: str = Field(sa_type=Text)  # canonical JSON of shown.Shown; never changes
    shown_digest: bytes = Field(sa_type=LargeBinary)
    requested_at_ms: int = Field(sa_type=BigInteger)
    approve_by_ms: int = Field(sa_type=BigInteger)
    decided_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    execute_by_ms: int | None = Field(default=None, sa_type=BigInteger)
    finished_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    result: str = Field(default="", sa_type=Text)  # command tag or SQLSTATE of what ran
    window_until_ms: int | None = Field(default=None, sa_type=BigInteger)  # None: it was granted for one operation
    window_uses: int = 0  # at most; 0 for one operation
    window_used: int = 0


def _of_request(*, primary_key: bool = True) -> str:
    column: str = Field(
        sa_type=String(64),
        primary_key=primary_key,
        sa_column_args=[ForeignKey("approval_requests.id", ondelete="CASCADE")],
    )
    return column


class VoteRow(Table, table=True):
    __tablename__ = "approval_votes"

    approval_id: str = _of_request()
    identity_id: str = Field(primary_key=True, max_length=64)
    name: str = Field(max_length=255)
    verb: str = Field(max_length=8)  # approve, deny
    stage: int
    at_ms: int = Field(sa_type=BigInteger)
    channel: str = Field(max_length=16)
    credential_id: str = Field(max_length=64)
    shown_digest: bytes = Field(sa_type=LargeBinary)
    reason: str = Field(default="", sa_type=Text)
    for_id: str = Field(default="", max_length=64)  # whose place it takes, by delegation; empty: their own
    for_name: str = Field(default="", max_length=255)
    delegation_id: str = Field(default="", max_length=64, index=True)
    on_call: str = Field(default="[]", sa_type=Text)  # JSON: the schedules by which it was the voter's turn
    window_until_ms: int | None = Field(default=None, sa_type=BigInteger)  # what they chose; None: one operation
    window_uses: int = 0
    signature: str = Field(default="", sa_type=Text)  # JSON of security_keys.signed.Signed; empty: not signed


class GrantRow(Table, table=True):
    __tablename__ = "approval_grants"

    approval_id: str = _of_request()
    nonce: bytes = Field(sa_type=LargeBinary, unique=True)
    payload: bytes = Field(sa_type=LargeBinary)
    signature: bytes = Field(sa_type=LargeBinary)
    key_id: str = Field(max_length=64)
    issued_at_ms: int = Field(sa_type=BigInteger)
    consumed_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    approver_ids: str = Field(default="[]", sa_type=Text)  # JSON: of those whom it names


class WindowUseRow(Table, table=True):
    """One operation that ran, or was to run, within a window."""

    __tablename__ = "window_uses"

    approval_id: str = _of_request()
    number: int = Field(sa_type=Integer, primary_key=True, sa_column_kwargs={"autoincrement": False})
    operation_digest: bytes = Field(sa_type=LargeBinary)
    consumed_at_ms: int = Field(sa_type=BigInteger)
    finished_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    outcome: str = Field(default="", max_length=16)  # done, failed, outcome-unknown; empty: not known yet
    result: str = Field(default="", sa_type=Text)


class PlanUseRow(Table, table=True):
    """A statement of a plan that an operation has taken: each once, and each operation one."""

    __tablename__ = "plan_uses"

    plan_id: str = Field(
        sa_type=String(64),
        primary_key=True,
        sa_column_args=[ForeignKey("approval_requests.id", ondelete="CASCADE")],
    )
    number: int = Field(primary_key=True, sa_type=Integer, sa_column_kwargs={"autoincrement": False})
    approval_id: str = Field(max_length=64, unique=True)
    at_ms: int = Field(sa_type=BigInteger)


class PressureRow(Table, table=True):
    """How much one requester asks: locked by whoever counts, so that no two count the same."""

    __tablename__ = "request_pressure"

    identity_id: str = Field(primary_key=True, max_length=64)
    minute_began_ms: int = Field(sa_type=BigInteger)
    asked: int = Field(sa_type=Integer)  # in the minute that began then
    alerted_at_ms: int | None = Field(default=None, sa_type=BigInteger)  # of too many that wait
    locked_until_ms: int | None = Field(default=None, sa_type=BigInteger, index=True)


class CommentRow(Table, table=True):
    __tablename__ = "approval_comments"
    __table_args__ = (Index("ix_approval_comments_approval_id_at_ms", "approval_id", "at_ms"),)

    id: str = Field(primary_key=True, max_length=64)
    approval_id: str = _of_request(primary_key=False)
    identity_id: str = Field(max_length=64)
    name: str = Field(max_length=255)
    kind: str = Field(max_length=16)  # person, machine
    at_ms: int = Field(sa_type=BigInteger)
    text: str = Field(sa_type=Text)


class DelegationRow(Table, table=True):
    """Kept when it is over: votes name it."""

    __tablename__ = "approval_delegations"

    id: str = Field(primary_key=True, max_length=64)
    delegator_id: str = Field(max_length=64, index=True)
    delegator: str = Field(max_length=255)
    delegate_id: str = Field(max_length=64, index=True)
    delegate: str = Field(max_length=255)
    chains: list[str] = Field(sa_type=JsonColumn)  # empty: every chain
    environments: list[str] = Field(sa_type=JsonColumn)  # empty: every environment
    note: str = Field(default="", sa_type=Text)
    created_at_ms: int = Field(sa_type=BigInteger)
    until_ms: int = Field(sa_type=BigInteger, index=True)
    revoked_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    revoked_by: str = Field(default="", max_length=255)


class BreakGlassRow(Table, table=True):
    """Somebody overrode the chain; open until somebody else has said what they think of it."""

    __tablename__ = "break_glass_reviews"
    __table_args__ = (Index("ix_break_glass_reviews_opened_at_ms_approval_id", "opened_at_ms", "approval_id"),)

    approval_id: str = _of_request()
    broken_by_id: str = Field(max_length=64)
    broken_by: str = Field(max_length=255)
    reason: str = Field(sa_type=Text)
    skipped: list[dict[str, str]] = Field(sa_type=JsonColumn)  # id and name of everybody who could have decided
    opened_at_ms: int = Field(sa_type=BigInteger)
    due_at_ms: int = Field(sa_type=BigInteger)
    closed_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    closed_by_id: str = Field(default="", max_length=64)
    closed_by: str = Field(default="", max_length=255)
    verdict: str = Field(default="", max_length=16)  # justified, not-justified
    comment: str = Field(default="", sa_type=Text)
    signature: str = Field(default="", sa_type=Text)  # JSON, as of a vote: of whoever broke the glass
