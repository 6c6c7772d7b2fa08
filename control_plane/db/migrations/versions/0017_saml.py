"""Sign-ins at SAML providers that were begun, and assertions that have been used."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from control_plane.db.table import UtcDateTime

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "saml_requests",
        sa.Column("browser_hash", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("provider", sa.String(80), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("sign_in_id", sa.String(64), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("expires_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("browser_hash", name="pk_saml_requests"),
    )
    op.create_index("ix_saml_requests_address_created_at", "saml_requests", ["address", "created_at"])
    op.create_index("ix_saml_requests_expires_at", "saml_requests", ["expires_at"])
    op.create_table(
        "saml_assertions",
        sa.Column("provider", sa.String(80), nullable=False),
        sa.Column("assertion_id", sa.String(255), nullable=False),
        sa.Column("expires_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("provider", "assertion_id", name="pk_saml_assertions"),
    )
    op.create_index("ix_saml_assertions_expires_at", "saml_assertions", ["expires_at"])


def downgrade() -> None:
    op.drop_table("saml_assertions")
    op.drop_table("saml_requests")
