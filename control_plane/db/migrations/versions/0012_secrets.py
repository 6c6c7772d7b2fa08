"""Sealed secrets, to whom they were delivered, and the exchange of the wrapping key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from control_plane.db.table import UtcDateTime

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "secrets",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=False),
        sa.Column("wrapping_key", sa.String(255), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("changed_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.String(255), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_secrets"),
    )
    op.create_index("ix_secrets_wrapping_key", "secrets", ["wrapping_key"])
    op.create_table(
        "secret_deliveries",
        sa.Column("secret", sa.String(64), nullable=False),
        sa.Column("agent", sa.String(64), nullable=False),
        sa.Column("target", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("secret", "agent", "target", name="pk_secret_deliveries"),
        sa.ForeignKeyConstraint(["secret"], ["secrets.name"], name="fk_secret_deliveries_secret", ondelete="CASCADE"),
    )
    op.create_table(
        "secret_rewraps",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("wrapping_key", sa.String(255), nullable=False),
        sa.Column("asked_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("asked_by", sa.String(255), nullable=False),
        sa.Column("done_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_secret_rewraps"),
    )


def downgrade() -> None:
    for table in ("secret_rewraps", "secret_deliveries", "secrets"):
        op.drop_table(table)
