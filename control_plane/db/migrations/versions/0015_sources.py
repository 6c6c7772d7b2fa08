"""Where identities, groups and memberships come from; accounts at identity providers; what is told of sign-ins."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from control_plane.db.table import JsonColumn, UtcDateTime

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_IDENTITIES = ("purpose", "ends_at", "source", "last_seen_at", "ended_by")
_GROUPS = ("source", "external_id")
_SIGN_INS = ("provider", "provider_session", "acr", "amr", "refresh")
_CREDENTIALS = ("last_used_at", "networks", "chain")


def _text(name: str, length: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False, server_default="")


def _instant(name: str, *, nullable: bool = True) -> sa.Column[str]:
    return sa.Column(name, UtcDateTime(timezone=True), nullable=nullable)


def _list(name: str) -> sa.Column[str]:
    return sa.Column(name, JsonColumn, nullable=False, server_default="[]")


def upgrade() -> None:
    _add("identities", _text("purpose", 255), _instant("ends_at"), _text("source", 80), _instant("last_seen_at"))
    _add("identities", _text("ended_by", 255))
    _add("groups", _text("source", 80), _text("external_id", 255))
    _add(
        "sign_ins",
        _text("provider", 80),
        _text("provider_session", 255),
        _text("acr", 255),
        _list("amr"),
        sa.Column("refresh", sa.Text(), nullable=False, server_default=""),
    )
    _add("credentials", _instant("last_used_at"), _list("networks"), _list("chain"))
    _add("service_account_keys", _instant("last_used_at"))
    op.create_index("ix_sign_ins_provider_session", "sign_ins", ["provider_session"])
    with op.batch_alter_table("memberships") as table:
        table.add_column(_text("source", 80))
        table.drop_constraint("pk_memberships", type_="primary")
        table.create_primary_key("pk_memberships", ["group_name", "identity_id", "source"])
    op.create_table(
        "external_accounts",
        sa.Column("provider", sa.String(80), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("identity_id", sa.String(64), nullable=False),
        sa.Column("issuer", sa.String(1024), nullable=False),
        sa.Column("email", sa.String(255), nullable=False),
        sa.Column("email_verified", sa.Boolean(), nullable=False),
        _instant("created_at", nullable=False),
        _instant("last_used_at"),
        sa.PrimaryKeyConstraint("provider", "subject", name="pk_external_accounts"),
        sa.UniqueConstraint("provider", "identity_id", name="uq_external_accounts_provider_identity_id"),
        sa.ForeignKeyConstraint(
            ["identity_id"], ["identities.id"], name="fk_external_accounts_identity_id_identities", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_external_accounts_identity_id", "external_accounts", ["identity_id"])
    _external_account_addresses()


def _external_account_addresses() -> None:
    op.create_table(
        "external_account_addresses",
        sa.Column("provider", sa.String(80), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("email", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("provider", "subject", "email", name="pk_external_account_addresses"),
        sa.ForeignKeyConstraint(
            ["provider", "subject"],
            ["external_accounts.provider", "external_accounts.subject"],
            name="fk_external_account_addresses_provider_external_accounts",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_external_account_addresses_email", "external_account_addresses", ["email"])


def downgrade() -> None:
    op.drop_table("external_account_addresses")
    op.drop_table("external_accounts")
    op.execute("DELETE FROM memberships WHERE source <> ''")
    with op.batch_alter_table("memberships") as table:
        table.drop_constraint("pk_memberships", type_="primary")
        table.drop_column("source")
        table.create_primary_key("pk_memberships", ["group_name", "identity_id"])
    op.drop_index("ix_sign_ins_provider_session", "sign_ins")
    op.drop_column("service_account_keys", "last_used_at")
    for table_name, columns in (
        ("credentials", _CREDENTIALS),
        ("sign_ins", _SIGN_INS),
        ("groups", _GROUPS),
        ("identities", _IDENTITIES),
    ):
        for column in columns:
            op.drop_column(table_name, column)


def _add(table: str, *columns: sa.Column[str]) -> None:
    for column in columns:
        op.add_column(table, column)
