"""The outbox, deliveries through channels, what channels made elsewhere, and callbacks taken once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from control_plane.db.table import JsonColumn, SerialKey

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "notices",
        sa.Column("id", SerialKey, nullable=False, autoincrement=True),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("data", JsonColumn, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("fanned_out", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_notices"),
    )
    op.create_index("ix_notices_fanned_out_id", "notices", ["fanned_out", "id"])
    op.create_index("ix_notices_key_id", "notices", ["key", "id"])
    op.create_index("ix_notices_at_ms", "notices", ["at_ms"])
    _deliveries()
    op.create_table(
        "notification_references",
        sa.Column("channel", sa.String(64), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("label", sa.String(255), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "key", name="pk_notification_references"),
    )
    op.create_index("ix_notification_references_key", "notification_references", ["key"])
    op.create_table(
        "webhook_calls",
        sa.Column("channel", sa.String(64), nullable=False),
        sa.Column("call_id", sa.String(128), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "call_id", name="pk_webhook_calls"),
    )
    op.create_index("ix_webhook_calls_at_ms", "webhook_calls", ["at_ms"])
    # Who fans out holds this row, so that replicas do it one after the other and the order of a key stays.
    op.execute("INSERT INTO revisions (name, number) VALUES ('outbox', 0)")


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("notice_id", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("next_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("done_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.ForeignKeyConstraint(["notice_id"], ["notices.id"], name="fk_deliveries_notice_id", ondelete="CASCADE"),
        sa.UniqueConstraint("notice_id", "channel", name="uq_deliveries_notice_id_channel"),
    )
    op.create_index("ix_deliveries_state_channel_next_at_ms", "deliveries", ["state", "channel", "next_at_ms"])
    op.create_index("ix_deliveries_channel_key_state", "deliveries", ["channel", "key", "state"])
    op.create_index("ix_deliveries_key_kind", "deliveries", ["key", "kind"])
    op.create_index("ix_deliveries_at_ms", "deliveries", ["at_ms"])


def downgrade() -> None:
    for table in ("webhook_calls", "notification_references", "deliveries", "notices"):
        op.drop_table(table)
    op.execute("DELETE FROM revisions WHERE name = 'outbox'")
