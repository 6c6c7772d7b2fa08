"""Rows of security keys, and of the challenges that wait for one. A key's secret never leaves the key."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, String, Text
from sqlmodel import Field

from control_plane.db.table import JsonColumn, Table, UtcDateTime


def _of_identity() -> str:
    column: str = Field(
        sa_type=String(64), index=True, sa_column_args=[ForeignKey("identities.id", ondelete="CASCADE")]
    )
    return column


class SecurityKeyRow(Table, table=True):
    __tablename__ = "security_keys"

    id: str = Field(primary_key=True, max_length=64)
    identity_id: str = _of_identity()
    name: str = Field(max_length=64)
    credential_id: str = Field(max_length=1400, unique=True)  # base64url: what the key calls itself
    public_key: bytes = Field(sa_type=LargeBinary)  # COSE, as it came
    public_der: bytes = Field(sa_type=LargeBinary)  # the same as SubjectPublicKeyInfo
    sign_count: int = Field(default=0, sa_type=BigInteger)  # 0: it does not count
    model: str = Field(default="", max_length=36)  # AAGUID; empty: the key does not tell
    transports: list[str] = Field(default=[], sa_type=JsonColumn)
    synced: bool = False  # may be copied to other devices of its owner
    created_at: datetime = Field(sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    blocked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # its counter went back: there are two


class ChallengeRow(Table, table=True):
    """Good for one answer, of the sign-in that asked for it."""

    __tablename__ = "security_key_challenges"

    id: str = Field(primary_key=True, max_length=64)
    identity_id: str = _of_identity()
    sign_in_id: str = Field(max_length=64)
    purpose: str = Field(max_length=16)
    statement: str = Field(sa_type=Text)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
