"""Approval requests, votes and grants; sessions; recordings and their segments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from control_plane.db.table import JsonColumn

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_WHILE_OPEN = sa.text("state IN ('pending', 'approved')")


def upgrade() -> None:
    _approvals()
    _sessions()
    _recordings()


def _approvals() -> None:
    op.create_table(
        "approval_requests",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("short_code", sa.String(8), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("instance_id", sa.String(64), nullable=False),
        sa.Column("session_id", sa.String(64), nullable=False),
        sa.Column("ticket", sa.Boolean(), nullable=False),
        sa.Column("target", sa.String(255), nullable=False),
        sa.Column("environment", sa.String(255), nullable=False),
        sa.Column("requester_id", sa.String(64), nullable=False),
        sa.Column("owner_id", sa.String(64), nullable=True),
        sa.Column("barred", sa.Text(), nullable=False),
        sa.Column("credential_id", sa.String(64), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("policy", sa.String(255), nullable=False),
        sa.Column("rule", sa.String(255), nullable=False),
        sa.Column("policy_version", sa.BigInteger(), nullable=False),
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("shape", sa.String(64), nullable=False),
        sa.Column("operation_digest", sa.LargeBinary(), nullable=False),
        sa.Column("shown", sa.Text(), nullable=False),
        sa.Column("shown_digest", sa.LargeBinary(), nullable=False),
        sa.Column("requested_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("approve_by_ms", sa.BigInteger(), nullable=False),
        sa.Column("decided_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("execute_by_ms", sa.BigInteger(), nullable=True),
        sa.Column("finished_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("result", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_approval_requests"),
    )
    for columns in (
        ["session_id"],
        ["state", "approve_by_ms"],
        ["state", "execute_by_ms"],
        ["requested_at_ms", "id"],
        ["requester_id", "target", "shape"],
    ):
        op.create_index(f"ix_approval_requests_{'_'.join(columns)}", "approval_requests", columns)
    op.create_index(
        "uq_approval_requests_short_code",
        "approval_requests",
        ["short_code"],
        unique=True,
        sqlite_where=_WHILE_OPEN,
        postgresql_where=_WHILE_OPEN,
    )
    op.create_table(
        "approval_votes",
        sa.Column("approval_id", sa.String(64), nullable=False),
        sa.Column("identity_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("verb", sa.String(8), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.String(16), nullable=False),
        sa.Column("credential_id", sa.String(64), nullable=False),
        sa.Column("shown_digest", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("approval_id", "identity_id", name="pk_approval_votes"),
        _of_request("approval_votes"),
    )
    op.create_table(
        "approval_grants",
        sa.Column("approval_id", sa.String(64), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("issued_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("consumed_at_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("approval_id", name="pk_approval_grants"),
        sa.UniqueConstraint("nonce", name="uq_approval_grants_nonce"),
        _of_request("approval_grants"),
    )


def _of_request(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["approval_id"], ["approval_requests.id"], name=f"fk_{table}_approval_id", ondelete="CASCADE"
    )


def _sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("instance_id", sa.String(64), nullable=False),
        sa.Column("agent_name", sa.String(255), nullable=False),
        sa.Column("boot_id", sa.String(64), nullable=False),
        sa.Column("target", sa.String(255), nullable=False),
        sa.Column("protocol", sa.String(32), nullable=False),
        sa.Column("environment", sa.String(255), nullable=False),
        sa.Column("requester_id", sa.String(64), nullable=False),
        sa.Column("requester_name", sa.String(255), nullable=False),
        sa.Column("owner_id", sa.String(64), nullable=True),
        sa.Column("credential_id", sa.String(64), nullable=False),
        sa.Column("client_address", sa.Text(), nullable=False),
        sa.Column("application_name", sa.Text(), nullable=False),
        sa.Column("snapshot_version", sa.BigInteger(), nullable=False),
        sa.Column("opened_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("closed_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("close_reason", sa.Text(), nullable=False),
        sa.Column("operations", sa.BigInteger(), nullable=False),
        sa.Column("allowed", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("denied", sa.BigInteger(), nullable=False),
        sa.Column("recording_hash", sa.LargeBinary(), nullable=False),
        sa.Column("terminate_reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
    )
    for columns in (
        ["target"],
        ["requester_id"],
        ["owner_id"],
        ["opened_at_ms", "id"],
        ["instance_id", "closed_at_ms"],
    ):
        op.create_index(f"ix_sessions_{'_'.join(columns)}", "sessions", columns)


def _recordings() -> None:
    op.create_table(
        "recordings",
        sa.Column("session_id", sa.String(64), nullable=False),
        sa.Column("instance_id", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("next_segment", sa.Integer(), nullable=False),
        sa.Column("chain_hash", sa.LargeBinary(), nullable=False),
        sa.Column("recovered", sa.Boolean(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("public_keys", JsonColumn, nullable=False),
        sa.Column("started_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("session_id", name="pk_recordings"),
    )
    op.create_table(
        "recording_segments",
        sa.Column("session_id", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("session_id", "number", name="pk_recording_segments"),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["recordings.session_id"],
            name="fk_recording_segments_session_id",
            ondelete="CASCADE",
        ),
    )


def downgrade() -> None:
    for table in (
        "recording_segments",
        "recordings",
        "sessions",
        "approval_grants",
        "approval_votes",
        "approval_requests",
    ):
        op.drop_table(table)
