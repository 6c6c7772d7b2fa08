"""Rows of what is in Slack: the messages that show requests, and the interactions that came from there.

An interaction is written before it is acknowledged. Its key is what Slack gives it once, its signature is unique,
so the same press counts once whichever replica gets it and however often it is sent.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, Text
from sqlmodel import Field

from control_plane.db.table import Table


class SlackMessageRow(Table, table=True):
    """The one message of a request in a channel. `ts` empty: nothing is known to be there yet."""

    __tablename__ = "slack_messages"

    approval_id: str = Field(primary_key=True, max_length=64)
    channel: str = Field(primary_key=True, max_length=32)
    ts: str = Field(default="", max_length=32)
    shown_hash: str = Field(default="", max_length=64)  # of the blocks that it has; equal ones are not sent again
    told_through: int = Field(default=0, sa_type=BigInteger)  # the last notice that its thread tells


class SlackInteractionRow(Table, table=True):
    """`decision` empty: seen, and nothing of it is left to do."""

    __tablename__ = "slack_interactions"
    __table_args__ = (Index("ix_slack_interactions_done_at_ms_received_at_ms", "done_at_ms", "received_at_ms"),)

    id: str = Field(primary_key=True, max_length=64)
    signature_hash: str | None = Field(default=None, max_length=64, unique=True)  # none over a socket
    decision: str = Field(default="", sa_type=Text)  # JSON of interactions.Decision
    received_at_ms: int = Field(sa_type=BigInteger, index=True)
    done_at_ms: int | None = Field(default=None, sa_type=BigInteger)
