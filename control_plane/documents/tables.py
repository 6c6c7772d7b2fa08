"""Rows of the documents that are kept as they are: the present one, and every version there was."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Integer, Text
from sqlmodel import Field

from control_plane.db.table import Table, UtcDateTime


class DocumentRow(Table, table=True):
    __tablename__ = "documents"

    kind: str = Field(primary_key=True, max_length=32)
    name: str = Field(primary_key=True, max_length=64)
    version: int = Field(sa_type=Integer)
    json_text: str = Field(sa_type=Text)  # canonical, as data_plane.policy.documents writes it
    managed: bool = False  # applied from documents, so pruning may remove it
    updated_at: datetime = Field(sa_type=UtcDateTime)
    updated_by: str = Field(max_length=255)  # name of the identity


class DocumentVersionRow(Table, table=True):
    """Never changed. A deletion is a version without text."""

    __tablename__ = "document_versions"

    kind: str = Field(primary_key=True, max_length=32)
    name: str = Field(primary_key=True, max_length=64)
    version: int = Field(primary_key=True, sa_type=Integer, sa_column_kwargs={"autoincrement": False})
    json_text: str = Field(sa_type=Text)
    at: datetime = Field(sa_type=UtcDateTime)
    by: str = Field(max_length=255)
    by_id: str = Field(default="", max_length=64)  # another one may be called so later
