"""The outbox: notices of what happened, written in the transaction of what they report, sent by others afterwards.

A notice exists when its transaction has committed and never otherwise. `notifications` fans it out to the channels;
whoever writes one (`UnitOfWork.notice`) knows none of them. Notices of one key have rising ids in the order in which
they were committed, as long as their writers hold the lock of what the key names.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Index
from sqlmodel import Field

from control_plane.db.table import JsonColumn, SerialKey, Table

TOPIC = "notice"  # news: there is something in the outbox


class NoticeRow(Table, table=True):
    __tablename__ = "notices"
    __table_args__ = (Index("ix_notices_fanned_out_id", "fanned_out", "id"), Index("ix_notices_key_id", "key", "id"))

    id: int | None = Field(default=None, primary_key=True, sa_type=SerialKey)
    kind: str = Field(max_length=64)  # noun.what: approval.pending, review.opened
    key: str = Field(max_length=64)  # the order of one key is kept: an approval's id
    data: dict[str, Any] = Field(sa_type=JsonColumn)
    at_ms: int = Field(sa_type=BigInteger, index=True)
    fanned_out: bool = False  # every channel that is to tell it has a delivery of it
