"""What is asked beforehand (plans and access windows), and how much each requester asks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "plan_uses",
        sa.Column("plan_id", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("approval_id", sa.String(64), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("plan_id", "number", name="pk_plan_uses"),
        sa.UniqueConstraint("approval_id", name="uq_plan_uses_approval_id"),
        sa.ForeignKeyConstraint(["plan_id"], ["approval_requests.id"], name="fk_plan_uses_plan_id", ondelete="CASCADE"),
    )
    op.create_table(
        "access_windows",
        sa.Column("approval_id", sa.String(64), nullable=False),
        sa.Column("identity_id", sa.String(64), nullable=False),
        sa.Column("group_name", sa.String(64), nullable=False),
        sa.Column("offer", sa.String(64), nullable=False),
        sa.Column("seconds", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("approval_id", name="pk_access_windows"),
        sa.ForeignKeyConstraint(
            ["approval_id"], ["approval_requests.id"], name="fk_access_windows_approval_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_access_windows_identity_id", "access_windows", ["identity_id"])
    op.create_table(
        "request_pressure",
        sa.Column("identity_id", sa.String(64), nullable=False),
        sa.Column("minute_began_ms", sa.BigInteger(), nullable=False),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.Column("alerted_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("locked_until_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("identity_id", name="pk_request_pressure"),
    )
    op.create_index("ix_request_pressure_locked_until_ms", "request_pressure", ["locked_until_ms"])


def downgrade() -> None:
    for table in ("request_pressure", "access_windows", "plan_uses"):
        op.drop_table(table)
