"""Rows of what permissions were used for, and of campaigns with the things that are asked about in them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Integer, String, Text
from sqlmodel import Field

from control_plane.db.table import JsonColumn, Table, UtcDateTime


class PermissionUseRow(Table, table=True):
    """When an identity last did something that needs the permission: to the hour."""

    __tablename__ = "permission_uses"

    identity_id: str = Field(
        sa_type=String(64), primary_key=True, sa_column_args=[ForeignKey("identities.id", ondelete="CASCADE")]
    )
    permission: str = Field(primary_key=True, max_length=32)
    last_at: datetime = Field(sa_type=UtcDateTime)


class AccessReviewRow(Table, table=True):
    __tablename__ = "access_reviews"

    id: str = Field(primary_key=True, max_length=64)
    name: str = Field(max_length=255)
    state: str = Field(max_length=16, index=True)  # open, closed, cancelled
    opened_by: str = Field(max_length=255)
    opened_at: datetime = Field(sa_type=UtcDateTime)
    deadline_at: datetime = Field(sa_type=UtcDateTime)
    closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class AccessReviewItemRow(Table, table=True):
    """One thing, as it was when the campaign began. What names identities stays when they are gone."""

    __tablename__ = "access_review_items"

    review_id: str = Field(
        sa_type=String(64), primary_key=True, sa_column_args=[ForeignKey("access_reviews.id", ondelete="CASCADE")]
    )
    number: int = Field(primary_key=True, sa_type=Integer, sa_column_kwargs={"autoincrement": False})
    kind: str = Field(max_length=32)
    thing_id: str = Field(max_length=255)
    identity: str = Field(max_length=64)  # whose access it is: a name
    description: str = Field(default="", sa_type=Text)
    findings: list[str] = Field(sa_type=JsonColumn)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    owner_id: str = Field(default="", max_length=64, index=True)  # who is asked; empty: nobody is left to ask
    owner: str = Field(default="", max_length=64)
    state: str = Field(max_length=16)  # asked, kept, ended, lost, gone
    decided_by: str = Field(default="", max_length=255)
    decided_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    comment: str = Field(default="", sa_type=Text)
