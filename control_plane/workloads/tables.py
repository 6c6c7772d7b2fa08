"""Rows of workloads' sign-ins, of what machines sign in with themselves, and of what has been used up."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import ForeignKey, String, Text
from sqlmodel import Field

from control_plane.db.table import JsonColumn, Table, UtcDateTime


def _identity_key() -> str:
    """A reference to an identity that goes when the identity goes."""
    column: str = Field(
        sa_type=String(64), index=True, sa_column_args=[ForeignKey("identities.id", ondelete="CASCADE")]
    )
    return column


SIGN_IN: Final = "wsi"  # what the ids of sign-ins begin with


class WorkloadSignInRow(Table, table=True):
    """A workload has proven who it is. What was made with it (a token for targets, a bearer for this API) ends too."""

    __tablename__ = "workload_sign_ins"

    id: str = Field(primary_key=True, max_length=64)
    identity_id: str = _identity_key()
    method: str = Field(max_length=16)  # trust, key-pair, secret
    trust: str = Field(default="", max_length=80, index=True)  # the trust that let it in
    client_credential_id: str = Field(default="", max_length=64, index=True)  # or what it signed in with itself
    acting_token_id: str = Field(default="", max_length=64, index=True)  # by which it acts on behalf of somebody
    issuer: str = Field(default="", max_length=255)
    subject: str = Field(default="", max_length=512)
    claims: dict[str, str] = Field(default={}, sa_type=JsonColumn)  # a few that tell people which run it was
    chain: list[dict[str, str]] = Field(default=[], sa_type=JsonColumn)  # on whose behalf, the first one first
    targets: list[str] = Field(sa_type=JsonColumn)  # what its tokens may be for; `*`: every target
    made_by: str = Field(default="", max_length=64)  # who wrote the trust or made the credential: identity id
    token_hash: str | None = Field(
        default=None, max_length=64, unique=True
    )  # of the bearer for the API, if one was asked
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class ClientCredentialRow(Table, table=True):
    """What a machine signs in with where no platform speaks for it: a key pair's public half, or a secret's hash."""

    __tablename__ = "client_credentials"

    id: str = Field(primary_key=True, max_length=64)
    identity_id: str = _identity_key()
    kind: str = Field(max_length=16)  # key-pair, secret
    description: str = Field(default="", max_length=255)
    public_jwk: str = Field(default="", sa_type=Text)
    thumbprint: str = Field(default="", max_length=64, index=True)  # of the public key, RFC 7638
    secret_hash: str = Field(default="", max_length=64, index=True)
    targets: list[str] = Field(sa_type=JsonColumn)
    created_by: str = Field(max_length=64)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class ActingTokenRow(Table, table=True):
    """Somebody says that one machine may act on their behalf. It gives that machine no right, and is no credential."""

    __tablename__ = "acting_tokens"

    id: str = Field(primary_key=True, max_length=64)
    identity_id: str = _identity_key()  # on whose behalf
    actor_id: str = _identity_key()
    chain: list[dict[str, str]] = Field(default=[], sa_type=JsonColumn)  # who stands behind them, themselves the last
    targets: list[str] = Field(sa_type=JsonColumn)  # what may be had by it: no more than with what it was made with
    made_with: str = Field(max_length=64, index=True)  # their sign-in
    token_hash: str = Field(max_length=64, unique=True)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class UsedTokenRow(Table, table=True):
    """A token that works once has worked. Kept until it would have expired."""

    __tablename__ = "used_tokens"

    token_hash: str = Field(primary_key=True, max_length=64)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
