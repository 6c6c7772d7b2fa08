"""Rows of rotations, and what agents have told of the accounts that they use. No row holds a secret."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, Text
from sqlmodel import Field

from control_plane.db.table import Table, UtcDateTime


class RotationRow(Table, table=True):
    """`running` is the target's name as long as it runs, so that no second one begins."""

    __tablename__ = "rotations"
    __table_args__ = (Index("ix_rotations_target_started_at", "target", "started_at"),)

    id: str = Field(primary_key=True, max_length=64)
    target: str = Field(max_length=64)
    running: str | None = Field(default=None, max_length=64, unique=True)
    state: str = Field(max_length=16)
    cause: str = Field(max_length=16)
    asked_by: str = Field(max_length=255)
    started_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    account: str = Field(default="", max_length=255)  # in use from then on
    previous: str = Field(default="", max_length=255)
    resumed: bool = False  # finished what an earlier one had begun
    disabled: str = Field(default="", max_length=16)  # how the previous one ended; empty: it is the same one
    remaining: int = 0  # sessions that still ran under it
    problem: str = Field(default="", sa_type=Text)


class TargetAccountRow(Table, table=True):
    """What the agent told last of the account that it uses at a target."""

    __tablename__ = "target_accounts"

    target: str = Field(primary_key=True, max_length=64)
    account: str = Field(max_length=255)
    kept: str = Field(sa_type=Text)  # where its secret is kept
    writable: bool = False  # it can be rotated there
    unfinished: bool = False  # a rotation of it was broken off
    problem: str = Field(default="", sa_type=Text)  # why nothing newer is known
    told_at: datetime = Field(sa_type=UtcDateTime)
