"""Rows of agents, their instances, certificates and join tokens. Tokens are kept as hashes only."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, String, Text
from sqlmodel import Field

from control_plane.db.table import JsonColumn, Table, UtcDateTime


def _agent_key() -> str:
    column: str = Field(sa_type=String(64), index=True, sa_column_args=[ForeignKey("agents.id", ondelete="CASCADE")])
    return column


class AgentRow(Table, table=True):
    __tablename__ = "agents"

    id: str = Field(primary_key=True, max_length=64)
    name: str = Field(max_length=64, unique=True)
    disabled: bool = False
    created_at: datetime = Field(sa_type=UtcDateTime)


class JoinTokenRow(Table, table=True):
    __tablename__ = "join_tokens"

    id: str = Field(primary_key=True, max_length=64)
    token_hash: str = Field(max_length=64, unique=True)
    agent_name: str = Field(max_length=64)
    created_by: str = Field(max_length=64)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class AgentCertificateRow(Table, table=True):
    """Every client certificate that was issued for the link: one that is not here opens nothing."""

    __tablename__ = "agent_certificates"

    serial: str = Field(primary_key=True, max_length=64)
    agent_id: str = _agent_key()
    issued_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)


class AgentInstanceRow(Table, table=True):
    """`reports_through` rises in the same transaction as the effects of those reports."""

    __tablename__ = "agent_instances"

    id: str = Field(primary_key=True, max_length=64)
    agent_id: str = _agent_key()
    boot_id: str = Field(max_length=64)
    version: str = Field(max_length=64)
    features: list[str] = Field(sa_type=JsonColumn)
    recording_keys: list[str] = Field(sa_type=JsonColumn)  # base64 Ed25519, every one that it ever showed
    reports_through: int = Field(default=0, sa_type=BigInteger)
    snapshot_version: int = Field(default=0, sa_type=BigInteger)
    snapshot_problem: str = Field(default="", sa_type=Text)  # why it refused a newer one
    notice: str = Field(default="", sa_type=Text)  # the last thing it wanted an admin to see
    open_sessions: int = 0
    held_operations: int = 0
    spool_bytes: int = Field(default=0, sa_type=BigInteger)
    connected: bool = False
    connected_at: datetime = Field(sa_type=UtcDateTime)
    seen_at: datetime = Field(sa_type=UtcDateTime)


class ErrandRow(Table, table=True):
    """What an agent is asked to do at a target, from the asking until whoever asked has read the answer."""

    __tablename__ = "errands"

    id: str = Field(primary_key=True, max_length=64)
    agent: str = Field(max_length=64, index=True)
    kind: str = Field(max_length=64)
    target: str = Field(max_length=64)
    arguments: str = Field(sa_type=Text)  # JSON
    asked_at: datetime = Field(sa_type=UtcDateTime)
    taken_by: str = Field(default="", max_length=64)  # the instance whose stream has it
    done: bool = False
    result: str = Field(default="", sa_type=Text)  # JSON, never with a secret
    problem: str = Field(default="", sa_type=Text)
