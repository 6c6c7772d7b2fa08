"""Who people are in Slack, the messages that show requests there, and what was pressed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # No batch: on SQLite that drops the table for a moment, and what refers to it would go with its rows.
    op.add_column("identities", sa.Column("slack_user_id", sa.String(32), nullable=True))
    op.create_index("ix_identities_slack_user_id", "identities", ["slack_user_id"], unique=True)
    op.create_table(
        "slack_messages",
        sa.Column("approval_id", sa.String(64), nullable=False),
        sa.Column("channel", sa.String(32), nullable=False),
        sa.Column("ts", sa.String(32), nullable=False),
        sa.Column("shown_hash", sa.String(64), nullable=False),
        sa.Column("told_through", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("approval_id", "channel", name="pk_slack_messages"),
    )
    op.create_table(
        "slack_interactions",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("signature_hash", sa.String(64), nullable=True),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("received_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("done_at_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_slack_interactions"),
        sa.UniqueConstraint("signature_hash", name="uq_slack_interactions_signature_hash"),
    )
    for columns in (["received_at_ms"], ["done_at_ms", "received_at_ms"]):
        op.create_index(f"ix_slack_interactions_{'_'.join(columns)}", "slack_interactions", columns)


def downgrade() -> None:
    op.drop_table("slack_interactions")
    op.drop_table("slack_messages")
    op.drop_index("ix_identities_slack_user_id", "identities")
    op.drop_column("identities", "slack_user_id")
