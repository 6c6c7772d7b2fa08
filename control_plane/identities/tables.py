"""Rows of identities, groups, sign-ins and credentials. Secrets are kept as hashes only."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Integer, String, Text, UniqueConstraint
from sqlmodel import Field

from control_plane.db.table import JsonColumn, Table, UtcDateTime


def _identity_key(*, primary_key: bool = False) -> str:
    """A reference to an identity that goes when the identity goes."""
    column: str = Field(
        sa_type=String(64),
        primary_key=primary_key,
        index=not primary_key,
        sa_column_args=[ForeignKey("identities.id", ondelete="CASCADE")],
    )
    return column


class IdentityRow(Table, table=True):
    __tablename__ = "identities"

    id: str = Field(primary_key=True, max_length=64)
    name: str = Field(max_length=64, unique=True)
    kind: str = Field(max_length=16)
    email: str = Field(default="", max_length=255)
    slack_user_id: str | None = Field(default=None, max_length=32, unique=True, index=True)
    external_id: str | None = Field(default=None, max_length=255, unique=True, index=True)
    owner_id: str | None = Field(
        default=None, sa_type=String(64), sa_column_args=[ForeignKey("identities.id", ondelete="RESTRICT")]
    )
    disabled: bool = False
    ended_by: str = Field(default="", max_length=255)  # who, or which source, disabled it; empty: it is not disabled
    password_hash: str = Field(default="", max_length=255)  # argon2id; empty: cannot sign in with a password
    purpose: str = Field(default="", max_length=255)  # of a machine: what it is there for
    ends_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # then it is ended; empty: no such day
    source: str = Field(default="", max_length=80)  # who made it: empty, here; else `scim:NAME`, `provider:NAME`
    last_seen_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    managed: bool = False  # applied from documents, so pruning may remove it
    version: int = Field(default=1, sa_type=Integer)
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class GroupRow(Table, table=True):
    __tablename__ = "groups"

    name: str = Field(primary_key=True, max_length=64)
    roles: list[str] = Field(sa_type=JsonColumn)
    reviews: list[dict[str, Any]] = Field(
        default=[], sa_type=JsonColumn
    )  # where its reviewers review; empty: everywhere
    source: str = Field(default="", max_length=80)
    external_id: str = Field(default="", max_length=255)  # what the source calls it
    managed: bool = False
    version: int = Field(default=1, sa_type=Integer)
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class MembershipRow(Table, table=True):
    """One for each source that says so: what is written here is not what a provider pushes, nor takes away."""

    __tablename__ = "memberships"

    group_name: str = Field(
        sa_type=String(64), primary_key=True, sa_column_args=[ForeignKey("groups.name", ondelete="CASCADE")]
    )
    identity_id: str = Field(
        sa_type=String(64),
        primary_key=True,
        index=True,
        sa_column_args=[ForeignKey("identities.id", ondelete="CASCADE")],
    )
    source: str = Field(default="", max_length=80, primary_key=True)


class ExternalAccountRow(Table, table=True):
    """A provider's subject is one of our identities. Nothing else links them: no name, no mail address. One subject
    of each provider: who comes as a second one, with an address that was given anew, is somebody else."""

    __tablename__ = "external_accounts"
    __table_args__ = (UniqueConstraint("provider", "identity_id"),)

    provider: str = Field(primary_key=True, max_length=80)
    subject: str = Field(primary_key=True, max_length=255)
    identity_id: str = _identity_key()
    issuer: str = Field(default="", max_length=1024)  # who the provider was then; empty: pushed, nobody signed in yet
    email: str = Field(default="", max_length=255)  # as the provider told it last
    email_verified: bool = False  # as it said then
    created_at: datetime = Field(sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # empty: nobody signed in yet


class ExternalAccountAddressRow(Table, table=True):
    """Every address of an account that its provider has ever verified, whichever it tells now."""

    __tablename__ = "external_account_addresses"
    __table_args__ = (
        ForeignKeyConstraint(
            ["provider", "subject"], ["external_accounts.provider", "external_accounts.subject"], ondelete="CASCADE"
        ),
    )

    provider: str = Field(primary_key=True, max_length=80)
    subject: str = Field(primary_key=True, max_length=255)
    email: str = Field(primary_key=True, max_length=255, index=True)  # in lower case


class SignInRow(Table, table=True):
    """A person signed in to the console or the command line."""

    __tablename__ = "sign_ins"

    id: str = Field(primary_key=True, max_length=64)
    identity_id: str = _identity_key()
    channel: str = Field(max_length=16)  # console, cli
    token_hash: str = Field(max_length=64, unique=True)
    created_at: datetime = Field(sa_type=UtcDateTime)
    # When the person last proved who they are; empty: at `created_at`.
    authenticated_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    provider: str = Field(default="", max_length=80)  # who proved it; empty: this control plane
    provider_session: str = Field(default="", max_length=255, index=True)  # what the provider calls its session
    acr: str = Field(default="", max_length=255)
    amr: list[str] = Field(default=[], sa_type=JsonColumn)
    security_key_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # when a key of theirs proved it
    refresh: str = Field(default="", sa_type=Text)  # sealed: what the provider renews it with
    # The first sign-in that this one rests on (a link, a command line that a browser confirmed); empty: itself.
    parent_id: str = Field(default="", max_length=64, index=True)


class AttemptsRow(Table, table=True):
    """Failed sign-ins of one name, known or not, which are treated alike; or from one address."""

    __tablename__ = "sign_in_attempts"

    name_hash: str = Field(primary_key=True, max_length=64)
    failures: int
    locked_until: datetime = Field(sa_type=UtcDateTime, index=True)


class ServiceAccountKeyRow(Table, table=True):
    __tablename__ = "service_account_keys"

    id: str = Field(primary_key=True, max_length=64)
    identity_id: str = _identity_key()
    description: str = Field(default="", max_length=255)
    key_hash: str = Field(max_length=64, unique=True)
    created_by: str = Field(max_length=64)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class CredentialRow(Table, table=True):
    """What a requester shows to an agent: a token or a client certificate. Only what is needed to revoke it."""

    __tablename__ = "credentials"

    id: str = Field(primary_key=True, max_length=64)
    identity_id: str = _identity_key()
    kind: str = Field(max_length=16)  # token, certificate
    parent_id: str = Field(max_length=64, index=True)  # the sign-in or key that it was made with
    targets: list[str] = Field(sa_type=JsonColumn)
    issued_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    networks: list[str] = Field(default=[], sa_type=JsonColumn)  # where its client may be; empty: anywhere
    chain: list[dict[str, str]] = Field(default=[], sa_type=JsonColumn)  # who delegated to whom, the first one first
