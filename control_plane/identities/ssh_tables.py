"""SSH certificates of identities that were ended: the list for servers needs them when the identity is gone."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field

from control_plane.db.table import Table, UtcDateTime


class SshRevocationRow(Table, table=True):
    __tablename__ = "ssh_revocations"

    credential_id: str = Field(primary_key=True, max_length=64)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
