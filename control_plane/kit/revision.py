"""Numbers that rise by one with every change of something, in the transaction of the change."""

from __future__ import annotations

from sqlalchemy import BigInteger
from sqlmodel import Field
from sqlmodel.ext.asyncio.session import AsyncSession

from control_plane.db.table import Table


class Revision(Table, table=True):
    __tablename__ = "revisions"

    name: str = Field(primary_key=True, max_length=64)
    number: int = Field(sa_type=BigInteger)


async def next_revision(session: AsyncSession, name: str) -> int:
    """Holds the row until the transaction ends: writers of one name come one after the other."""
    row = await session.get(Revision, name, with_for_update=True, populate_existing=True)
    if row is None:
        raise LookupError(f"no revision is named {name}: a migration makes it")
    row.number += 1
    session.add(row)
    return row.number


async def current_revision(session: AsyncSession, name: str) -> int:
    row = await session.get(Revision, name, populate_existing=True)
    return 0 if row is None else row.number
