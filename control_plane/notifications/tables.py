"""Rows of deliveries, of what channels made elsewhere, and of callbacks that have been taken once."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, Text, UniqueConstraint
from sqlmodel import Field

from control_plane.db.table import Table


class DeliveryRow(Table, table=True):
    """One notice on its way through one channel."""

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("notice_id", "channel"),
        Index("ix_deliveries_state_channel_next_at_ms", "state", "channel", "next_at_ms"),
        Index("ix_deliveries_channel_key_state", "channel", "key", "state"),
        Index("ix_deliveries_key_kind", "key", "kind"),
    )

    id: str = Field(primary_key=True, max_length=64)  # the same at every attempt: the channel's idempotency key
    notice_id: int = Field(
        sa_type=BigInteger, sa_column_args=[ForeignKey("notices.id", ondelete="CASCADE")], nullable=False
    )
    channel: str = Field(max_length=64)
    kind: str = Field(max_length=64)
    key: str = Field(max_length=64)
    state: str = Field(max_length=16)  # pending, delivered, failed
    attempts: int = 0  # begun; rises with every claim, so that one that lost its lease has no say
    failures: int = 0  # attempts that are known to have failed
    at_ms: int = Field(sa_type=BigInteger, index=True)  # when the notice was written
    next_at_ms: int = Field(sa_type=BigInteger)  # not tried before; while it is tried: when another replica may
    done_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    error: str = Field(default="", sa_type=Text)  # of the last attempt; never holds a secret
    note: str = Field(default="", sa_type=Text)  # what the channel says that it did


class ReferenceRow(Table, table=True):
    """What a channel made for a key elsewhere: a ticket. Given back to the channel at every later notice of the key."""

    __tablename__ = "notification_references"

    channel: str = Field(primary_key=True, max_length=64)
    key: str = Field(primary_key=True, max_length=64, index=True)
    reference: str = Field(sa_type=Text)
    label: str = Field(max_length=255)
    url: str = Field(sa_type=Text)  # empty: nothing to show
    at_ms: int = Field(sa_type=BigInteger)


class CallRow(Table, table=True):
    """A callback that was taken. Kept for as long as its timestamp would be believed, so it is taken once."""

    __tablename__ = "webhook_calls"

    channel: str = Field(primary_key=True, max_length=64)
    call_id: str = Field(primary_key=True, max_length=128)
    at_ms: int = Field(sa_type=BigInteger, index=True)
