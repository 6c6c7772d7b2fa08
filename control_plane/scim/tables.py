"""Rows of SCIM clients, their tokens, and what they have pushed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, String, UniqueConstraint
from sqlmodel import Field

from control_plane.db.table import JsonColumn, Table, UtcDateTime


def _refers(key: str, length: int = 64, *, nullable: bool = False, **column: Any) -> Any:
    """A reference that goes when what it refers to goes."""
    default: dict[str, Any] = {"default": None} if nullable else {}
    return Field(
        sa_type=String(length),
        nullable=nullable,
        sa_column_args=[ForeignKey(key, ondelete="CASCADE")],
        **default,
        **column,
    )


class ScimClientRow(Table, table=True):
    __tablename__ = "scim_clients"

    name: str = Field(primary_key=True, max_length=64)
    provider: str = Field(default="", max_length=80)  # whose subjects its external ids are; empty: of nobody known here
    description: str = Field(default="", max_length=255)
    created_at: datetime = Field(sa_type=UtcDateTime)
    created_by: str = Field(max_length=255)


class ScimTokenRow(Table, table=True):
    __tablename__ = "scim_tokens"

    id: str = Field(primary_key=True, max_length=64)
    client: str = _refers("scim_clients.name", index=True)
    token_hash: str = Field(max_length=64, unique=True)
    created_at: datetime = Field(sa_type=UtcDateTime)
    created_by: str = Field(max_length=255)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class ScimUserRow(Table, table=True):
    """One person of one client. Stays after the client has deleted it, for the external id and whose it was."""

    __tablename__ = "scim_users"
    __table_args__ = (UniqueConstraint("client", "user_name_key"), UniqueConstraint("client", "external_id"))

    id: str = Field(primary_key=True, max_length=64)
    client: str = _refers("scim_clients.name")
    identity_id: str = _refers("identities.id", unique=True)
    user_name_key: str | None = Field(default=None, max_length=255)  # as it is compared; empty: deleted by the client
    external_id: str | None = Field(default=None, max_length=255)
    resource: dict[str, Any] = Field(sa_type=JsonColumn)  # what the client said, without what is computed
    active: bool = True  # as the client says
    version: int = Field(default=1, sa_type=Integer)
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class ScimGroupRow(Table, table=True):
    """One group of one client. Its members are memberships of the client's source."""

    __tablename__ = "scim_groups"
    __table_args__ = (UniqueConstraint("client", "external_id"), Index(None, "client", "display_key"))

    id: str = Field(primary_key=True, max_length=64)
    client: str = _refers("scim_clients.name")
    group_name: str = _refers("groups.name", unique=True)
    display_name: str = Field(max_length=255)
    display_key: str = Field(max_length=255)
    external_id: str | None = Field(default=None, max_length=255)
    version: int = Field(default=1, sa_type=Integer)
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class ScimLinkRow(Table, table=True):
    """An admin's word: when the client pushes this subject, it is one who or which is here already. Used once."""

    __tablename__ = "scim_links"

    client: str = _refers("scim_clients.name", primary_key=True)
    kind: str = Field(primary_key=True, max_length=16)  # person, group
    subject: str = Field(primary_key=True, max_length=255)  # the external id, or a group's displayName
    by_name: bool = False  # which of the two: names are chosen by people, so only an admin's word makes one count
    identity_id: str | None = _refers("identities.id", nullable=True)
    group_name: str | None = _refers("groups.name", nullable=True)
    created_at: datetime = Field(sa_type=UtcDateTime)
    created_by: str = Field(max_length=255)
