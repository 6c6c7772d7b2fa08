"""The rows of the audit log. Both tables refuse UPDATE and DELETE in the database itself (migration 0001)."""

from __future__ import annotations

from sqlalchemy import BigInteger, LargeBinary, Text
from sqlmodel import Field

from control_plane.db.table import Table


class AuditRow(Table, table=True):
    __tablename__ = "audit_entries"

    sequence: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    at_ms: int = Field(sa_type=BigInteger, index=True)
    kind: str = Field(max_length=64, index=True)
    actor_id: str = Field(max_length=64, index=True)
    actor_name: str = Field(max_length=255)
    actor_kind: str = Field(max_length=16)
    subject: str = Field(max_length=255, index=True)
    data: str = Field(sa_type=Text)  # canonical JSON
    sealed: bytes | None = Field(default=None, sa_type=LargeBinary)  # a batch of decisions, as the agent packed it
    hash: str = Field(max_length=64)


class CheckpointRow(Table, table=True):
    __tablename__ = "audit_checkpoints"

    sequence: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    deployment: str = Field(max_length=64)
    hash: str = Field(max_length=64)
    at_ms: int = Field(sa_type=BigInteger)
    key_id: str = Field(max_length=64)
    signature: str = Field(max_length=128)  # base64
