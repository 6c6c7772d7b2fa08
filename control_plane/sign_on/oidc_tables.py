"""Rows of sign-ins that have begun at a provider, of renewals, and of logout tokens that were taken."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlmodel import Field

from control_plane.db.table import Table, UtcDateTime


class OidcStartRow(Table, table=True):
    """A browser was sent to a provider. Gone with the first answer that comes back, or after some minutes.

    Nothing here is worth stealing: nonce and verifier follow from the browser's cookie, of which this has a hash.
    """

    __tablename__ = "oidc_starts"
    __table_args__ = (Index(None, "address", "created_at"),)

    state_hash: str = Field(primary_key=True, max_length=64)
    browser_hash: str = Field(max_length=64)
    provider: str = Field(max_length=80)
    purpose: str = Field(max_length=16)  # sign-in, again
    sign_in_id: str = Field(default="", max_length=64)  # that is to be proven again
    path: str = Field(max_length=2000)  # of the console, where to go then
    address: str = Field(default="", max_length=64)  # the network that it came from; empty: this machine
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)


class SignInRenewalRow(Table, table=True):
    """When a sign-in is to be renewed at its provider, and when that worked last."""

    __tablename__ = "sign_in_renewals"

    sign_in_id: str = Field(
        primary_key=True, sa_type=String(64), sa_column_args=[ForeignKey("sign_ins.id", ondelete="CASCADE")]
    )
    renewed_at: datetime = Field(sa_type=UtcDateTime)
    renew_at: datetime = Field(sa_type=UtcDateTime, index=True)


class LogoutTokenRow(Table, table=True):
    """A logout token that was taken already, as long as it could be taken again."""

    __tablename__ = "oidc_logout_tokens"

    provider: str = Field(primary_key=True, max_length=80)
    jti_hash: str = Field(primary_key=True, max_length=64)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
