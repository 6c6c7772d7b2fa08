"""Rows of recordings and of their segments. What a segment is follows from its hash; the bytes are in the store."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, String, Text
from sqlmodel import Field

from control_plane.db.table import JsonColumn, Table


class RecordingRow(Table, table=True):
    __tablename__ = "recordings"

    session_id: str = Field(primary_key=True, max_length=64)
    instance_id: str = Field(max_length=64)
    status: str = Field(max_length=16)  # domain.Status
    problem: str = Field(default="", sa_type=Text)
    next_segment: int = 0
    chain_hash: bytes = Field(sa_type=LargeBinary)  # of the last segment
    recovered: bool = False  # the last segment was closed after a crash
    size: int = Field(default=0, sa_type=BigInteger)
    signature: bytes = Field(default=b"", sa_type=LargeBinary)
    public_keys: list[str] = Field(default_factory=list, sa_type=JsonColumn)  # base64, the instance's at the end
    started_at_ms: int = Field(sa_type=BigInteger)
    ended_at_ms: int | None = Field(default=None, sa_type=BigInteger)


class SegmentRow(Table, table=True):
    __tablename__ = "recording_segments"

    session_id: str = Field(
        sa_type=String(64),
        primary_key=True,
        sa_column_args=[ForeignKey("recordings.session_id", ondelete="CASCADE")],
    )
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    name: str = Field(max_length=128)  # in the store; holds the hash of the whole segment
    hash: bytes = Field(sa_type=LargeBinary)  # by which the next segment names it
    size: int = Field(sa_type=BigInteger)
