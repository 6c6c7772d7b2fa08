"""Sign-ins that have begun at a provider, when they are renewed, and logout tokens that were taken."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from control_plane.db.table import UtcDateTime

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def _instant(name: str) -> sa.Column[str]:
    return sa.Column(name, UtcDateTime(timezone=True), nullable=False)


def _text(name: str, length: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False)


def upgrade() -> None:
    op.create_table(
        "oidc_starts",
        _text("state_hash", 64),
        _text("browser_hash", 64),
        _text("provider", 80),
        _text("purpose", 16),
        _text("sign_in_id", 64),
        _text("path", 2000),
        _text("address", 64),
        _instant("created_at"),
        _instant("expires_at"),
        sa.PrimaryKeyConstraint("state_hash", name="pk_oidc_starts"),
    )
    op.create_index("ix_oidc_starts_address_created_at", "oidc_starts", ["address", "created_at"])
    op.create_index("ix_oidc_starts_expires_at", "oidc_starts", ["expires_at"])
    op.create_table(
        "sign_in_renewals",
        _text("sign_in_id", 64),
        _instant("renewed_at"),
        _instant("renew_at"),
        sa.PrimaryKeyConstraint("sign_in_id", name="pk_sign_in_renewals"),
        sa.ForeignKeyConstraint(
            ["sign_in_id"], ["sign_ins.id"], name="fk_sign_in_renewals_sign_in_id_sign_ins", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_sign_in_renewals_renew_at", "sign_in_renewals", ["renew_at"])
    op.create_table(
        "oidc_logout_tokens",
        _text("provider", 80),
        _text("jti_hash", 64),
        _instant("expires_at"),
        sa.PrimaryKeyConstraint("provider", "jti_hash", name="pk_oidc_logout_tokens"),
    )
    op.create_index("ix_oidc_logout_tokens_expires_at", "oidc_logout_tokens", ["expires_at"])


def downgrade() -> None:
    for table in ("oidc_logout_tokens", "sign_in_renewals", "oidc_starts"):
        op.drop_table(table)
