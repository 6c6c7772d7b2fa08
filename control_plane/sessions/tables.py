"""Rows of sessions. What clients say of themselves has no length limit here: the wire already has one."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, LargeBinary, Text
from sqlmodel import Field

from control_plane.db.table import Table


class SessionRow(Table, table=True):
    __tablename__ = "sessions"
    __table_args__ = (
        Index("ix_sessions_opened_at_ms_id", "opened_at_ms", "id"),
        Index("ix_sessions_instance_id_closed_at_ms", "instance_id", "closed_at_ms"),
    )

    id: str = Field(primary_key=True, max_length=64)
    instance_id: str = Field(max_length=64)
    agent_name: str = Field(max_length=255)
    boot_id: str = Field(max_length=64)
    target: str = Field(max_length=255, index=True)
    protocol: str = Field(max_length=32)
    environment: str = Field(max_length=255)
    requester_id: str = Field(max_length=64, index=True)
    requester_name: str = Field(max_length=255)
    owner_id: str | None = Field(default=None, max_length=64, index=True)
    credential_id: str = Field(max_length=64)
    client_address: str = Field(sa_type=Text)
    application_name: str = Field(sa_type=Text)
    snapshot_version: int = Field(sa_type=BigInteger)
    opened_at_ms: int = Field(sa_type=BigInteger)  # by the agent's clock
    closed_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    close_reason: str = Field(default="", sa_type=Text)
    operations: int = Field(default=0, sa_type=BigInteger)
    allowed: int = Field(default=0, sa_type=BigInteger)
    held: int = Field(default=0, sa_type=BigInteger)
    denied: int = Field(default=0, sa_type=BigInteger)
    recording_hash: bytes = Field(default=b"", sa_type=LargeBinary)  # as the agent told when it closed
    terminate_reason: str = Field(default="", sa_type=Text)  # not empty: somebody asked for its end
