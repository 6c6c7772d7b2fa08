"""Which stage of its chain a request is at, until when, and whom it asks besides; where a group's reviewers review."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from control_plane.db.table import JsonColumn

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_REQUESTS = "approval_requests"


def upgrade() -> None:
    op.add_column("groups", sa.Column("reviews", JsonColumn, nullable=False, server_default="[]"))
    op.add_column("approval_votes", sa.Column("on_call", sa.Text(), nullable=False, server_default="[]"))
    op.add_column(_REQUESTS, sa.Column("labels", sa.Text(), nullable=False, server_default="{}"))
    op.add_column(_REQUESTS, sa.Column("stage", sa.Integer(), nullable=False, server_default="0"))
    op.add_column(_REQUESTS, sa.Column("escalated", sa.Text(), nullable=False, server_default="[]"))
    for name in ("stage_by_ms", "remind_at_ms", "due_at_ms"):
        op.add_column(_REQUESTS, sa.Column(name, sa.BigInteger(), nullable=True))
    op.execute("UPDATE approval_requests SET due_at_ms = approve_by_ms WHERE state = 'pending'")
    op.drop_index(f"ix_{_REQUESTS}_state_approve_by_ms", _REQUESTS)
    op.create_index(f"ix_{_REQUESTS}_state_due_at_ms", _REQUESTS, ["state", "due_at_ms"])


def downgrade() -> None:
    op.drop_index(f"ix_{_REQUESTS}_state_due_at_ms", _REQUESTS)
    op.create_index(f"ix_{_REQUESTS}_state_approve_by_ms", _REQUESTS, ["state", "approve_by_ms"])
    for name in ("due_at_ms", "remind_at_ms", "stage_by_ms", "escalated", "stage", "labels"):
        op.drop_column(_REQUESTS, name)
    op.drop_column("approval_votes", "on_call")
    op.drop_column("groups", "reviews")
