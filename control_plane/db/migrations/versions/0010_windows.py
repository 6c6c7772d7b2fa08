"""Grants for a window: what each reviewer chose, what was granted, and each use of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("approval_requests", "approval_votes"):
        op.add_column(table, sa.Column("window_until_ms", sa.BigInteger(), nullable=True))
        op.add_column(table, sa.Column("window_uses", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("approval_requests", sa.Column("window_used", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("approval_grants", sa.Column("approver_ids", sa.Text(), nullable=False, server_default="[]"))
    op.create_table(
        "window_uses",
        sa.Column("approval_id", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("operation_digest", sa.LargeBinary(), nullable=False),
        sa.Column("consumed_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("finished_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("approval_id", "number", name="pk_window_uses"),
        sa.ForeignKeyConstraint(
            ["approval_id"], ["approval_requests.id"], name="fk_window_uses_approval_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_approval_requests_state_window_until_ms", "approval_requests", ["state", "window_until_ms"])


def downgrade() -> None:
    op.drop_index("ix_approval_requests_state_window_until_ms", "approval_requests")
    op.drop_table("window_uses")
    op.drop_column("approval_grants", "approver_ids")
    for column in ("window_used", "window_uses", "window_until_ms"):
        op.drop_column("approval_requests", column)
    for column in ("window_uses", "window_until_ms"):
        op.drop_column("approval_votes", column)
