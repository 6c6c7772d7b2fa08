"""SCIM clients with their tokens, what they have pushed, and what admins have linked for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from control_plane.db.table import JsonColumn, UtcDateTime

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_TABLES = ("scim_links", "scim_groups", "scim_users", "scim_tokens", "scim_clients")


def _text(name: str, length: int, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=nullable)


def _instant(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, UtcDateTime(timezone=True), nullable=nullable)


def _refers(table: str, column: str, to: str, key: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_{column}_{to}"
    return sa.ForeignKeyConstraint([column], [f"{to}.{key}"], name=name, ondelete="CASCADE")


def upgrade() -> None:
    op.create_table(
        "scim_clients",
        _text("name", 64),
        _text("provider", 80),
        _text("description", 255),
        _instant("created_at"),
        _text("created_by", 255),
        sa.PrimaryKeyConstraint("name", name="pk_scim_clients"),
    )
    _tokens()
    _pushed()
    op.create_table(
        "scim_links",
        _text("client", 64),
        _text("kind", 16),
        _text("subject", 255),
        sa.Column("by_name", sa.Boolean(), nullable=False),
        _text("identity_id", 64, nullable=True),
        _text("group_name", 64, nullable=True),
        _instant("created_at"),
        _text("created_by", 255),
        sa.PrimaryKeyConstraint("client", "kind", "subject", name="pk_scim_links"),
        _refers("scim_links", "client", "scim_clients", "name"),
        _refers("scim_links", "identity_id", "identities", "id"),
        _refers("scim_links", "group_name", "groups", "name"),
    )


def _tokens() -> None:
    op.create_table(
        "scim_tokens",
        _text("id", 64),
        _text("client", 64),
        _text("token_hash", 64),
        _instant("created_at"),
        _text("created_by", 255),
        _instant("expires_at"),
        _instant("revoked_at", nullable=True),
        _instant("last_used_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_scim_tokens"),
        sa.UniqueConstraint("token_hash", name="uq_scim_tokens_token_hash"),
        _refers("scim_tokens", "client", "scim_clients", "name"),
    )
    op.create_index("ix_scim_tokens_client", "scim_tokens", ["client"])


def _pushed() -> None:
    op.create_table(
        "scim_users",
        _text("id", 64),
        _text("client", 64),
        _text("identity_id", 64),
        _text("user_name_key", 255, nullable=True),
        _text("external_id", 255, nullable=True),
        sa.Column("resource", JsonColumn, nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        _instant("created_at"),
        _instant("updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_scim_users"),
        sa.UniqueConstraint("identity_id", name="uq_scim_users_identity_id"),
        sa.UniqueConstraint("client", "user_name_key", name="uq_scim_users_client_user_name_key"),
        sa.UniqueConstraint("client", "external_id", name="uq_scim_users_client_external_id"),
        _refers("scim_users", "client", "scim_clients", "name"),
        _refers("scim_users", "identity_id", "identities", "id"),
    )
    op.create_table(
        "scim_groups",
        _text("id", 64),
        _text("client", 64),
        _text("group_name", 64),
        _text("display_name", 255),
        _text("display_key", 255),
        _text("external_id", 255, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        _instant("created_at"),
        _instant("updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_scim_groups"),
        sa.UniqueConstraint("group_name", name="uq_scim_groups_group_name"),
        sa.UniqueConstraint("client", "external_id", name="uq_scim_groups_client_external_id"),
        _refers("scim_groups", "client", "scim_clients", "name"),
        _refers("scim_groups", "group_name", "groups", "name"),
    )
    op.create_index("ix_scim_groups_client_display_key", "scim_groups", ["client", "display_key"])


def downgrade() -> None:
    for table in _TABLES:
        op.drop_table(table)
