"""What other systems call a person."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("identities", sa.Column("external_id", sa.String(255), nullable=True))
    op.create_index("ix_identities_external_id", "identities", ["external_id"], unique=True)


def downgrade() -> None:
    op.drop_index("ix_identities_external_id", "identities")
    op.drop_column("identities", "external_id")
