"""Workloads: their sign-ins, the key pairs and secrets of machines, acting on behalf of others, what is used up; and
which identity wrote a version of a document, since a name may be another's later."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from control_plane.db.table import JsonColumn, UtcDateTime

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_TABLES = ("used_tokens", "acting_tokens", "client_credentials", "workload_sign_ins")


def _text(name: str, length: int, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=nullable)


def _instant(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, UtcDateTime(timezone=True), nullable=nullable)


def _json(name: str) -> sa.Column[str]:
    return sa.Column(name, JsonColumn, nullable=False)


def _identity(table: str, column: str = "identity_id") -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_{column}_identities"
    return sa.ForeignKeyConstraint([column], ["identities.id"], name=name, ondelete="CASCADE")


def upgrade() -> None:
    _workload_sign_ins()
    _client_credentials()
    _acting_tokens()
    _used_tokens()
    _indexes()
    op.add_column("document_versions", sa.Column("by_id", sa.String(64), nullable=False, server_default=""))


def _workload_sign_ins() -> None:
    op.create_table(
        "workload_sign_ins",
        _text("id", 64),
        _text("identity_id", 64),
        _text("method", 16),
        _text("trust", 80),
        _text("client_credential_id", 64),
        _text("acting_token_id", 64),
        _text("issuer", 255),
        _text("subject", 512),
        _json("claims"),
        _json("chain"),
        _json("targets"),
        _text("made_by", 64),
        _text("token_hash", 64, nullable=True),
        _instant("created_at"),
        _instant("expires_at"),
        _instant("revoked_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_workload_sign_ins"),
        sa.UniqueConstraint("token_hash", name="uq_workload_sign_ins_token_hash"),
        _identity("workload_sign_ins"),
    )


def _client_credentials() -> None:
    op.create_table(
        "client_credentials",
        _text("id", 64),
        _text("identity_id", 64),
        _text("kind", 16),
        _text("description", 255),
        sa.Column("public_jwk", sa.Text(), nullable=False),
        _text("thumbprint", 64),
        _text("secret_hash", 64),
        _json("targets"),
        _text("created_by", 64),
        _instant("created_at"),
        _instant("expires_at"),
        _instant("revoked_at", nullable=True),
        _instant("last_used_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_client_credentials"),
        _identity("client_credentials"),
    )


def _acting_tokens() -> None:
    op.create_table(
        "acting_tokens",
        _text("id", 64),
        _text("identity_id", 64),
        _text("actor_id", 64),
        _json("chain"),
        _json("targets"),
        _text("made_with", 64),
        _text("token_hash", 64),
        _instant("created_at"),
        _instant("expires_at"),
        _instant("revoked_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_acting_tokens"),
        sa.UniqueConstraint("token_hash", name="uq_acting_tokens_token_hash"),
        _identity("acting_tokens"),
        _identity("acting_tokens", "actor_id"),
    )


def _used_tokens() -> None:
    op.create_table(
        "used_tokens",
        _text("token_hash", 64),
        _instant("expires_at"),
        sa.PrimaryKeyConstraint("token_hash", name="pk_used_tokens"),
    )


def _indexes() -> None:
    for table, columns in {
        "workload_sign_ins": ("identity_id", "trust", "client_credential_id", "acting_token_id", "expires_at"),
        "client_credentials": ("identity_id", "thumbprint", "secret_hash"),
        "acting_tokens": ("identity_id", "actor_id", "made_with", "expires_at"),
        "used_tokens": ("expires_at",),
    }.items():
        for column in columns:
            op.create_index(f"ix_{table}_{column}", table, [column])


def downgrade() -> None:
    op.drop_column("document_versions", "by_id")
    for table in _TABLES:
        op.drop_table(table)
