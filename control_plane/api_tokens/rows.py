"""Reads and revokes rows of API tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement
from sqlmodel import col, func, select, update

from control_plane.api_tokens.tables import ApiTokenRow
from control_plane.kit.unit_of_work import UnitOfWork


def hash_of(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def _good(now: datetime) -> list[ColumnElement[bool]]:
    return [col(ApiTokenRow.revoked_at).is_(None), col(ApiTokenRow.expires_at) > now]


async def good(uow: UnitOfWork, token: str) -> ApiTokenRow | None:
    """None: unknown, revoked or too old."""
    statement = select(ApiTokenRow).where(col(ApiTokenRow.token_hash) == hash_of(token), *_good(uow.now))
    return (await uow.session.exec(statement)).first()


async def count_of(uow: UnitOfWork, identity_id: str) -> int:
    """Those that are still good."""
    mine = col(ApiTokenRow.identity_id) == identity_id
    statement = select(func.count()).select_from(ApiTokenRow).where(mine, *_good(uow.now))
    return (await uow.session.exec(statement)).one()


async def page(uow: UnitOfWork, identity_id: str | None, after: str | None, limit: int) -> list[ApiTokenRow]:
    """Those that are still good, of one person or of all."""
    statement = select(ApiTokenRow).where(*_good(uow.now))
    if identity_id is not None:
        statement = statement.where(col(ApiTokenRow.identity_id) == identity_id)
    if after is not None:
        statement = statement.where(col(ApiTokenRow.id) > after)
    return list((await uow.session.exec(statement.order_by(col(ApiTokenRow.id)).limit(limit))).all())


async def revoke_all_of(uow: UnitOfWork, identity_ids: Sequence[str]) -> list[str]:
    return await revoke(uow, col(ApiTokenRow.identity_id).in_(identity_ids))


async def revoke(uow: UnitOfWork, which: ColumnElement[bool]) -> list[str]:
    """The ids of those that were still good."""
    found = select(ApiTokenRow.id).where(which, *_good(uow.now)).order_by(col(ApiTokenRow.id))
    ids = list((await uow.session.exec(found)).all())
    await uow.session.exec(update(ApiTokenRow).where(col(ApiTokenRow.id).in_(ids)).values(revoked_at=uow.now))
    return ids


async def used(uow: UnitOfWork, token_id: str, at: datetime) -> None:
    await uow.session.exec(update(ApiTokenRow).where(col(ApiTokenRow.id) == token_id).values(last_used_at=at))
