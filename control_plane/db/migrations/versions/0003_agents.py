"""Agents, their instances, their certificates and join tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from control_plane.db.table import JsonColumn, UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "agents",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_agents"),
        sa.UniqueConstraint("name", name="uq_agents_name"),
    )
    op.create_table(
        "join_tokens",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("agent_name", sa.String(64), nullable=False),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("expires_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("used_at", UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_join_tokens"),
        sa.UniqueConstraint("token_hash", name="uq_join_tokens_token_hash"),
    )
    op.create_table(
        "agent_certificates",
        sa.Column("serial", sa.String(64), nullable=False),
        sa.Column("agent_id", sa.String(64), nullable=False),
        sa.Column("issued_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("expires_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("serial", name="pk_agent_certificates"),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name="fk_agent_certificates_agent_id", ondelete="CASCADE"),
    )
    op.create_index("ix_agent_certificates_agent_id", "agent_certificates", ["agent_id"])
    _create_instances()


def _create_instances() -> None:
    op.create_table(
        "agent_instances",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("agent_id", sa.String(64), nullable=False),
        sa.Column("boot_id", sa.String(64), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("features", JsonColumn, nullable=False),
        sa.Column("recording_keys", JsonColumn, nullable=False),
        sa.Column("reports_through", sa.BigInteger(), nullable=False),
        sa.Column("snapshot_version", sa.BigInteger(), nullable=False),
        sa.Column("snapshot_problem", sa.Text(), nullable=False),
        sa.Column("notice", sa.Text(), nullable=False),
        sa.Column("open_sessions", sa.Integer(), nullable=False),
        sa.Column("held_operations", sa.Integer(), nullable=False),
        sa.Column("spool_bytes", sa.BigInteger(), nullable=False),
        sa.Column("connected", sa.Boolean(), nullable=False),
        sa.Column("connected_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("seen_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_agent_instances"),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name="fk_agent_instances_agent_id", ondelete="CASCADE"),
    )
    op.create_index("ix_agent_instances_agent_id", "agent_instances", ["agent_id"])


def downgrade() -> None:
    for table in ("agent_instances", "agent_certificates", "join_tokens", "agents"):
        op.drop_table(table)
