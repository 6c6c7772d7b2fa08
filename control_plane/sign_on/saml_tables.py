"""Rows of sign-ins at SAML providers: those that were begun, and the assertions that have been used."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, Text
from sqlmodel import Field

from control_plane.db.table import Table, UtcDateTime


class SamlRequestRow(Table, table=True):
    """One AuthnRequest, bound to the browser that began it. It goes with the first answer, good or bad."""

    __tablename__ = "saml_requests"
    __table_args__ = (Index(None, "address", "created_at"),)

    browser_hash: str = Field(primary_key=True, max_length=64)  # of what the browser's cookie holds
    request_id: str = Field(max_length=64)
    provider: str = Field(max_length=80)
    path: str = Field(sa_type=Text)  # of the console, where the browser goes then
    address: str = Field(default="", max_length=64)  # the network that it came from; empty: this machine
    sign_in_id: str = Field(default="", max_length=64)  # which is to be proven again; empty: a new one is opened
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)


class SamlAssertionRow(Table, table=True):
    """An assertion that has opened something; kept for as long as it could be shown again."""

    __tablename__ = "saml_assertions"

    provider: str = Field(primary_key=True, max_length=80)
    assertion_id: str = Field(primary_key=True, max_length=255)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
