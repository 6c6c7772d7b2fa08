"""Rows of API tokens. Of a token only a hash is kept."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import ForeignKey, String
from sqlmodel import Field

from control_plane.db.table import JsonColumn, Table, UtcDateTime

NOUN: Final = "pat"  # what the ids begin with


class ApiTokenRow(Table, table=True):
    __tablename__ = "api_tokens"

    id: str = Field(primary_key=True, max_length=64)
    identity_id: str = Field(
        sa_type=String(64), index=True, sa_column_args=[ForeignKey("identities.id", ondelete="CASCADE")]
    )
    name: str = Field(max_length=64)  # what it is for, in the person's words
    permissions: list[str] = Field(sa_type=JsonColumn)  # at most these, and only while the person has them
    token_hash: str = Field(max_length=64, unique=True)
    parent_id: str = Field(max_length=64)  # the sign-in that it was made with
    authenticated_at: datetime = Field(sa_type=UtcDateTime)  # of that sign-in: a token proves nothing anew
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
