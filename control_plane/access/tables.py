"""Rows of access windows: what was asked for. Whether one is open is the state of its request."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, String
from sqlmodel import Field

from control_plane.db.table import Table


class AccessWindowRow(Table, table=True):
    __tablename__ = "access_windows"

    approval_id: str = Field(
        sa_type=String(64),
        primary_key=True,
        sa_column_args=[ForeignKey("approval_requests.id", ondelete="CASCADE")],
    )
    identity_id: str = Field(max_length=64, index=True)
    group_name: str = Field(max_length=64)
    offer: str = Field(max_length=64)
    seconds: int = Field(sa_type=BigInteger)
