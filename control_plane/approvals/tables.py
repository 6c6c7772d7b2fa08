"""Rows of approval requests, of what people decided on them, and of grants. The database holds the rules too.

A person counts once by the primary key of votes; a nonce exists once; a short code is unique while it is
of use.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, Text, text
from sqlmodel import Field

from control_plane.db.table import Table

_WHILE_OPEN = text("state IN ('pending', 'approved')")


class ApprovalRow(Table, table=True):
    __tablename__ = "approval_requests"
    __table_args__ = (
        Index(
            "uq_approval_requests_short_code",
            "short_code",
            unique=True,
            sqlite_where=_WHILE_OPEN,
            postgresql_where=_WHILE_OPEN,
        ),
        Index("ix_approval_requests_state_approve_by_ms", "state", "approve_by_ms"),
        Index("ix_approval_requests_state_execute_by_ms", "state", "execute_by_ms"),
        Index("ix_approval_requests_requested_at_ms_id", "requested_at_ms", "id"),
        Index("ix_approval_requests_requester_id_target_shape", "requester_id", "target", "shape"),
    )

    id: str = Field(primary_key=True, max_length=64)
    short_code: str = Field(max_length=8)
    state: str = Field(max_length=16)
    reason: str = Field(default="", sa_type=Text)  # why it ended as it did
    instance_id: str = Field(max_length=64)
    session_id: str = Field(max_length=64, index=True)
    ticket: bool
    target: str = Field(max_length=255)
    environment: str = Field(max_length=255)
    requester_id: str = Field(max_length=64)
    owner_id: str | None = Field(default=None, max_length=64)
    barred: str = Field(sa_type=Text)  # JSON: ids of the owners, who never decide on it
    credential_id: str = Field(max_length=64)
    action: str = Field(max_length=16)
    policy: str = Field(max_length=255)
    rule: str = Field(max_length=255)
    policy_version: int = Field(sa_type=BigInteger)
    chain: str = Field(sa_type=Text)  # JSON of domain.Chain, as it was
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


class GrantRow(Table, table=True):
    __tablename__ = "approval_grants"

    approval_id: str = _of_request()
    nonce: bytes = Field(sa_type=LargeBinary, unique=True)
    payload: bytes = Field(sa_type=LargeBinary)
    signature: bytes = Field(sa_type=LargeBinary)
    key_id: str = Field(max_length=64)
    issued_at_ms: int = Field(sa_type=BigInteger)
    consumed_at_ms: int | None = Field(default=None, sa_type=BigInteger)
