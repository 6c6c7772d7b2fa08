"""Comments, delegations and reviews of broken glass; in whose place a vote stands; when a sign-in was proven last."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from control_plane.db.table import JsonColumn, UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sign_ins", sa.Column("authenticated_at", UtcDateTime(timezone=True), nullable=True))
    for name, length in (("for_id", 64), ("for_name", 255), ("delegation_id", 64)):
        op.add_column("approval_votes", sa.Column(name, sa.String(length), nullable=False, server_default=""))
    op.create_index("ix_approval_votes_delegation_id", "approval_votes", ["delegation_id"])
    _comments()
    _delegations()
    _reviews()


def _comments() -> None:
    op.create_table(
        "approval_comments",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("approval_id", sa.String(64), nullable=False),
        sa.Column("identity_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_approval_comments"),
        _of_request("approval_comments"),
    )
    op.create_index("ix_approval_comments_approval_id_at_ms", "approval_comments", ["approval_id", "at_ms"])


def _delegations() -> None:
    op.create_table(
        "approval_delegations",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("delegator_id", sa.String(64), nullable=False),
        sa.Column("delegator", sa.String(255), nullable=False),
        sa.Column("delegate_id", sa.String(64), nullable=False),
        sa.Column("delegate", sa.String(255), nullable=False),
        sa.Column("chains", JsonColumn, nullable=False),
        sa.Column("environments", JsonColumn, nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("revoked_by", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_approval_delegations"),
    )
    for column in ("delegator_id", "delegate_id", "until_ms"):
        op.create_index(f"ix_approval_delegations_{column}", "approval_delegations", [column])


def _reviews() -> None:
    op.create_table(
        "break_glass_reviews",
        sa.Column("approval_id", sa.String(64), nullable=False),
        sa.Column("broken_by_id", sa.String(64), nullable=False),
        sa.Column("broken_by", sa.String(255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("skipped", JsonColumn, nullable=False),
        sa.Column("opened_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("due_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("closed_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("closed_by_id", sa.String(64), nullable=False),
        sa.Column("closed_by", sa.String(255), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("approval_id", name="pk_break_glass_reviews"),
        _of_request("break_glass_reviews"),
    )
    columns = ["opened_at_ms", "approval_id"]
    op.create_index("ix_break_glass_reviews_opened_at_ms_approval_id", "break_glass_reviews", columns)


def _of_request(table: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_approval_id"
    return sa.ForeignKeyConstraint(["approval_id"], ["approval_requests.id"], name=name, ondelete="CASCADE")


def downgrade() -> None:
    for table in ("break_glass_reviews", "approval_delegations", "approval_comments"):
        op.drop_table(table)
    op.drop_index("ix_approval_votes_delegation_id", "approval_votes")
    for name in ("for_id", "for_name", "delegation_id"):
        op.drop_column("approval_votes", name)
    op.drop_column("sign_ins", "authenticated_at")
