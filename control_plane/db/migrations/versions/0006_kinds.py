"""Requests of several kinds, and cards of identical ones."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("approval_requests", sa.Column("kind", sa.String(16), nullable=False, server_default="operation"))
    op.add_column("approval_requests", sa.Column("card_id", sa.String(64), nullable=False, server_default=""))
    op.execute("UPDATE approval_requests SET card_id = id")
    for columns in (["card_id", "state"], ["requester_id", "state"]):
        op.create_index(f"ix_approval_requests_{'_'.join(columns)}", "approval_requests", columns)


def downgrade() -> None:
    for columns in (["card_id", "state"], ["requester_id", "state"]):
        op.drop_index(f"ix_approval_requests_{'_'.join(columns)}", "approval_requests")
    op.drop_column("approval_requests", "card_id")
    op.drop_column("approval_requests", "kind")
