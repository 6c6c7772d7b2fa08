"""Sign-ins that a browser confirms (RFC 8628), which sign-in rests on which, and API tokens of people."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from control_plane.db.table import JsonColumn, UtcDateTime

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sign_ins", sa.Column("parent_id", sa.String(64), nullable=False, server_default=""))
    op.create_index("ix_sign_ins_parent_id", "sign_ins", ["parent_id"])
    _device_codes()
    _api_tokens()
    _ssh_revocations()


def downgrade() -> None:
    for table in ("ssh_revocations", "api_tokens", "device_codes"):
        op.drop_table(table)
    op.drop_index("ix_sign_ins_parent_id", "sign_ins")
    op.drop_column("sign_ins", "parent_id")


def _device_codes() -> None:
    op.create_table(
        "device_codes",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("device_hash", sa.String(64), nullable=False),
        sa.Column("user_hash", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("client_address", sa.String(64), nullable=False),
        sa.Column("network", sa.String(64), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("expires_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("polled_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("pause_seconds", sa.Integer(), nullable=False),
        sa.Column("identity_id", sa.String(64), nullable=True),
        sa.Column("sign_in_id", sa.String(64), nullable=False),
        sa.Column("provider", sa.String(80), nullable=False),
        sa.Column("handle", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_device_codes"),
        sa.UniqueConstraint("device_hash", name="uq_device_codes_device_hash"),
        sa.UniqueConstraint("user_hash", name="uq_device_codes_user_hash"),
        sa.ForeignKeyConstraint(
            ["identity_id"], ["identities.id"], name="fk_device_codes_identity_id_identities", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_device_codes_network_created_at", "device_codes", ["network", "created_at"])
    op.create_index("ix_device_codes_expires_at", "device_codes", ["expires_at"])
    op.create_index("ix_device_codes_identity_id", "device_codes", ["identity_id"])


def _api_tokens() -> None:
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("identity_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("permissions", JsonColumn, nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("parent_id", sa.String(64), nullable=False),
        sa.Column("authenticated_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("expires_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_tokens"),
        sa.UniqueConstraint("token_hash", name="uq_api_tokens_token_hash"),
        sa.ForeignKeyConstraint(
            ["identity_id"], ["identities.id"], name="fk_api_tokens_identity_id_identities", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_api_tokens_identity_id", "api_tokens", ["identity_id"])


def _ssh_revocations() -> None:
    op.create_table(
        "ssh_revocations",
        sa.Column("credential_id", sa.String(64), nullable=False),
        sa.Column("expires_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("credential_id", name="pk_ssh_revocations"),
    )
    op.create_index("ix_ssh_revocations_expires_at", "ssh_revocations", ["expires_at"])
