"""Rows of sealed secrets. What is in them opens only with a wrapping key that is not in the database."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Integer, String, Text
from sqlmodel import Field

from control_plane.db.table import Table, UtcDateTime


class SecretRow(Table, table=True):
    """Only the newest value is kept. A deleted one stays without it, so that a version never means two values."""

    __tablename__ = "secrets"

    name: str = Field(primary_key=True, max_length=64)
    version: int
    sealed: bytes  # nonce and ciphertext, bound to deployment, name and version
    wrapped_key: bytes
    wrapping_key: str = Field(max_length=255, index=True)  # the id of the KeyWrapper
    created_at: datetime = Field(sa_type=UtcDateTime)
    changed_at: datetime = Field(sa_type=UtcDateTime)
    changed_by: str = Field(max_length=255)  # name of the person, or of the agent that rotated it
    deleted: bool = False


class SecretDeliveryRow(Table, table=True):
    """The newest version that an agent was given for a target, also after it serves that target no more."""

    __tablename__ = "secret_deliveries"

    secret: str = Field(
        primary_key=True, sa_type=String(64), sa_column_args=[ForeignKey("secrets.name", ondelete="CASCADE")]
    )
    agent: str = Field(primary_key=True, max_length=64)
    target: str = Field(primary_key=True, max_length=64)
    version: int
    at: datetime = Field(sa_type=UtcDateTime)


class RewrapRow(Table, table=True):
    """The last time that somebody asked for all data keys to be wrapped with the first wrapping key: one row."""

    __tablename__ = "secret_rewraps"

    id: int = Field(primary_key=True, sa_type=Integer, sa_column_kwargs={"autoincrement": False})
    wrapping_key: str = Field(max_length=255)
    asked_at: datetime = Field(sa_type=UtcDateTime)
    asked_by: str = Field(max_length=255)
    done_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    problem: str = Field(default="", sa_type=Text)  # why it does not go on; tried again
