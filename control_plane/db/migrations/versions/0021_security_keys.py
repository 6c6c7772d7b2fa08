"""Security keys, the challenges that wait for them, and their signatures beside the decisions that they are for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from control_plane.db.table import JsonColumn, UtcDateTime

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_SIGNED = ("approval_votes", "break_glass_reviews")


def upgrade() -> None:
    op.create_table(
        "security_keys",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("identity_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("credential_id", sa.String(1400), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("public_der", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.String(36), nullable=False),
        sa.Column("transports", JsonColumn, nullable=False),
        sa.Column("synced", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("blocked_at", UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_security_keys"),
        sa.UniqueConstraint("credential_id", name="uq_security_keys_credential_id"),
        _of_identity("security_keys"),
    )
    op.create_index("ix_security_keys_identity_id", "security_keys", ["identity_id"])
    op.create_table(
        "security_key_challenges",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("identity_id", sa.String(64), nullable=False),
        sa.Column("sign_in_id", sa.String(64), nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.Column("expires_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_security_key_challenges"),
        _of_identity("security_key_challenges"),
    )
    op.create_index("ix_security_key_challenges_identity_id", "security_key_challenges", ["identity_id"])
    op.create_index("ix_security_key_challenges_expires_at", "security_key_challenges", ["expires_at"])
    op.add_column("sign_ins", sa.Column("security_key_at", UtcDateTime(timezone=True), nullable=True))
    for table in _SIGNED:
        op.add_column(table, sa.Column("signature", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    for table in _SIGNED:
        op.drop_column(table, "signature")
    op.drop_column("sign_ins", "security_key_at")
    op.drop_table("security_key_challenges")
    op.drop_table("security_keys")


def _of_identity(table: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_identity_id_identities"
    return sa.ForeignKeyConstraint(["identity_id"], ["identities.id"], name=name, ondelete="CASCADE")
