"""Rows of accounts. What a target says of its refusal has no length limit here: the wire already has one."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, Text
from sqlmodel import Field

from control_plane.accounts.domain import State
from control_plane.db.table import Table


class AccountRow(Table, table=True):
    __tablename__ = "accounts"
    __table_args__ = (
        Index("ix_accounts_state_leased_at_ms", "state", "leased_at_ms"),
        Index("ix_accounts_leased_at_ms_id", "leased_at_ms", "id"),
    )

    id: str = Field(primary_key=True, max_length=64)  # of the lease, or what names an account that was found
    agent_name: str = Field(max_length=255)
    session_id: str = Field(max_length=64, index=True)  # empty: it was found, and nobody knows whose it was
    target: str = Field(max_length=255)
    provider: str = Field(max_length=64)
    principal: str = Field(max_length=255)
    state: str = Field(default=State.OPEN, max_length=16)
    detail: str = Field(default="", sa_type=Text)
    leased_at_ms: int = Field(sa_type=BigInteger)  # by the agent's clock
    expires_at_ms: int = Field(sa_type=BigInteger)  # nobody can sign in with it afterwards
    changed_at_ms: int = Field(sa_type=BigInteger)
