"""Rows of sign-ins that a browser confirms. Of both codes only hashes are kept."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Integer, String, Text
from sqlmodel import Field

from control_plane.db.table import Table, UtcDateTime


class DeviceCodeRow(Table, table=True):
    __tablename__ = "device_codes"
    __table_args__ = (Index(None, "network", "created_at"),)

    id: str = Field(primary_key=True, max_length=64)
    device_hash: str = Field(max_length=64, unique=True)
    user_hash: str = Field(max_length=64, unique=True)
    state: str = Field(max_length=16)  # pending, confirmed, denied, used
    client_address: str = Field(max_length=64)  # of whoever asked, as the server knows it
    network: str = Field(max_length=64)  # what is counted as one asker; empty: this machine
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    polled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    pause_seconds: int = Field(sa_type=Integer)  # between two polls, at least
    identity_id: str | None = Field(
        default=None,
        sa_type=String(64),
        index=True,
        sa_column_args=[ForeignKey("identities.id", ondelete="CASCADE")],
    )  # who confirmed
    sign_in_id: str = Field(default="", max_length=64)  # with which sign-in: its proof is carried over
    provider: str = Field(default="", max_length=80)  # whose own device flow this is; empty: confirmed here
    handle: str = Field(default="", sa_type=Text)  # sealed: what that provider is asked with
