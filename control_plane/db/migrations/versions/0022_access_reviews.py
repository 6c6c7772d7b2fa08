"""When permissions were used, and campaigns in which owners confirm what lasts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from control_plane.db.table import JsonColumn, UtcDateTime

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def _text(name: str, length: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False)


def _instant(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, UtcDateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "permission_uses",
        _text("identity_id", 64),
        _text("permission", 32),
        _instant("last_at"),
        sa.PrimaryKeyConstraint("identity_id", "permission", name="pk_permission_uses"),
        sa.ForeignKeyConstraint(
            ["identity_id"], ["identities.id"], name="fk_permission_uses_identity_id_identities", ondelete="CASCADE"
        ),
    )
    op.create_table(
        "access_reviews",
        _text("id", 64),
        _text("name", 255),
        _text("state", 16),
        _text("opened_by", 255),
        _instant("opened_at"),
        _instant("deadline_at"),
        _instant("closed_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_access_reviews"),
    )
    op.create_index("ix_access_reviews_state", "access_reviews", ["state"])
    _items()


def _items() -> None:
    op.create_table(
        "access_review_items",
        _text("review_id", 64),
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        _text("kind", 32),
        _text("thing_id", 255),
        _text("identity", 64),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("findings", JsonColumn, nullable=False),
        _instant("last_used_at", nullable=True),
        _text("owner_id", 64),
        _text("owner", 64),
        _text("state", 16),
        _text("decided_by", 255),
        _instant("decided_at", nullable=True),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("review_id", "number", name="pk_access_review_items"),
        sa.ForeignKeyConstraint(
            ["review_id"],
            ["access_reviews.id"],
            name="fk_access_review_items_review_id_access_reviews",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_access_review_items_owner_id", "access_review_items", ["owner_id"])


def downgrade() -> None:
    op.drop_table("access_review_items")
    op.drop_table("access_reviews")
    op.drop_table("permission_uses")
