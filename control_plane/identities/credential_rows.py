"""Rows of sign-ins, service-account keys and issued credentials: found by hash, ended, listed as revoked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Text, bindparam, cast
from sqlalchemy.orm import Mapped
from sqlmodel import and_, col, delete, or_, select, update
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from control_plane.identities.ports import SignedOut
from control_plane.identities.tables import CredentialRow, ServiceAccountKeyRow, SignInRow

_MAKERS_OF_KEYS = (
    select(ServiceAccountKeyRow.created_by)
    .where(
        col(ServiceAccountKeyRow.identity_id) == bindparam("identity_id"),
        col(ServiceAccountKeyRow.revoked_at).is_(None),
        col(ServiceAccountKeyRow.expires_at) > bindparam("now"),
    )
    .distinct()
)
_WITH_ITS_KEY = (
    select(CredentialRow, ServiceAccountKeyRow)
    .join(ServiceAccountKeyRow, col(ServiceAccountKeyRow.id) == col(CredentialRow.parent_id), isouter=True)
    .where(col(CredentialRow.id) == bindparam("credential_id"))
    .execution_options(populate_existing=True)
)


def hash_of(token: str) -> str:
    """Tokens are 256 random bits: a plain hash of one cannot be searched."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


async def sign_in(session: AsyncSession, token: str, now: datetime) -> SignInRow | None:
    """None: unknown or over."""
    found = await session.exec(select(SignInRow).where(col(SignInRow.token_hash) == hash_of(token)))
    row = found.first()
    return row if row is not None and row.expires_at > now else None


async def service_account_key(session: AsyncSession, key: str, now: datetime) -> ServiceAccountKeyRow | None:
    """None: unknown, revoked or expired."""
    found = await session.exec(select(ServiceAccountKeyRow).where(col(ServiceAccountKeyRow.key_hash) == hash_of(key)))
    row = found.first()
    return row if row is not None and row.revoked_at is None and row.expires_at > now else None


async def with_its_key(
    session: AsyncSession, credential_id: str
) -> tuple[CredentialRow, ServiceAccountKeyRow | None] | None:
    """As they are now. Without a key: it was made with something else, or its key is gone."""
    found = (await session.exec(_WITH_ITS_KEY, params={"credential_id": credential_id})).first()
    return None if found is None else (found[0], found[1])


async def makers_of_keys(session: AsyncSession, identity_id: str, now: datetime) -> list[str]:
    """Who made keys of this service account that are still good."""
    told = {"identity_id": identity_id, "now": now}
    return list((await session.exec(_MAKERS_OF_KEYS, params=told)).all())


async def forget_expired_sign_ins(session: AsyncSession, now: datetime) -> None:
    await session.exec(delete(SignInRow).where(col(SignInRow.expires_at) <= now))


async def revoked(session: AsyncSession, now: datetime) -> list[str]:
    """Ids of credentials that were revoked and would still be good otherwise."""
    statement = select(CredentialRow.id).where(
        col(CredentialRow.revoked_at).is_not(None), col(CredentialRow.expires_at) > now
    )
    return list((await session.exec(statement.order_by(col(CredentialRow.id)))).all())


async def used(session: AsyncSession, credential_id: str, at: datetime) -> None:
    statement = update(CredentialRow).where(col(CredentialRow.id) == credential_id)
    await session.exec(statement.values(last_used_at=at))


async def revoke_children(session: AsyncSession, parent_id: str, now: datetime) -> None:
    """Everything that was made with a key is as bad as the key."""
    live = col(CredentialRow.revoked_at).is_(None)
    statement = update(CredentialRow).where(col(CredentialRow.parent_id) == parent_id, live)
    await session.exec(statement.values(revoked_at=now))


async def revoke_keys_of(session: AsyncSession, identity_ids: Sequence[str], now: datetime) -> list[str]:
    return await _revoke(session, ServiceAccountKeyRow, col(ServiceAccountKeyRow.identity_id).in_(identity_ids), now)


async def revoke_keys_made_by(
    session: AsyncSession, identity_ids: Sequence[str], now: datetime, *, of: str | None = None
) -> list[str]:
    """`of`: only those of this machine."""
    return await _revoke(session, ServiceAccountKeyRow, _keys_made_by(identity_ids, of), now)


def ids_of_keys_made_by(identity_ids: Sequence[str], *, of: str | None = None) -> SelectOfScalar[str]:
    """Expired ones too: what was asked for with them may wait still."""
    return select(ServiceAccountKeyRow.id).where(_keys_made_by(identity_ids, of))


def _keys_made_by(identity_ids: Sequence[str], of: str | None) -> ColumnElement[bool]:
    made = col(ServiceAccountKeyRow.created_by).in_(identity_ids)
    return made if of is None else and_(made, col(ServiceAccountKeyRow.identity_id) == of)


async def revoke_credentials_of(session: AsyncSession, identity_ids: Sequence[str], now: datetime) -> list[str]:
    """Theirs, and those that anybody was given on their behalf."""
    chain = cast(col(CredentialRow.chain), Text)
    named = [chain.contains(one, autoescape=True) for one in identity_ids]
    return await _revoke(session, CredentialRow, or_(col(CredentialRow.identity_id).in_(identity_ids), *named), now)


async def revoke_made_with(session: AsyncSession, parent_ids: Sequence[str], now: datetime) -> list[str]:
    return await _revoke(session, CredentialRow, col(CredentialRow.parent_id).in_(parent_ids), now)


async def _revoke(
    session: AsyncSession,
    row: type[CredentialRow | ServiceAccountKeyRow],
    which: ColumnElement[bool],
    now: datetime,
) -> list[str]:
    """The ids of those that were still good."""
    good = which, col(row.revoked_at).is_(None), col(row.expires_at) > now
    ids = list((await session.exec(select(row.id).where(*good).order_by(col(row.id)))).all())
    await session.exec(update(row).where(col(row.id).in_(ids)).values(revoked_at=now))
    return ids


async def sign_ins_of(session: AsyncSession, identity_ids: Sequence[str]) -> list[str]:
    statement = select(SignInRow.id).where(col(SignInRow.identity_id).in_(identity_ids))
    return list((await session.exec(statement.order_by(col(SignInRow.id)))).all())


async def sign_ins_behind(session: AsyncSession, identity_id: str, now: datetime) -> list[str]:
    """Of a person: those, there still or not, that credentials were made with which are good."""
    made_with = col(CredentialRow.parent_id)
    good = (col(CredentialRow.revoked_at).is_(None), col(CredentialRow.expires_at) > now)
    theirs = (col(CredentialRow.identity_id) == identity_id, made_with.startswith("sin_", autoescape=True))
    return list((await session.exec(select(made_with).where(*theirs, *good).distinct())).all())


def made_with(which: SignedOut, identity_id: Mapped[str], sign_in: Mapped[str]) -> ColumnElement[bool]:
    """Of rows that name whose they are and the sign-in that they were made with."""
    theirs = identity_id == which.identity_id
    return and_(theirs, sign_in != which.keep if which.sign_ins is None else sign_in.in_(which.sign_ins))


async def resting_on(session: AsyncSession, ids: Sequence[str]) -> list[str]:
    """Sign-ins that were made of these, and of those in turn."""
    found, newest = set(ids), set(ids)
    while newest:
        statement = select(SignInRow.id).where(col(SignInRow.parent_id).in_(newest))
        newest = set((await session.exec(statement)).all()) - found
        found |= newest
    return sorted(found.difference(ids))


async def delete_sign_ins(session: AsyncSession, ids: Sequence[str]) -> None:
    await session.exec(delete(SignInRow).where(col(SignInRow.id).in_(ids)))


async def credentials_of(
    session: AsyncSession, identity_id: str | None, now: datetime, after: str | None, limit: int
) -> list[CredentialRow]:
    """Those that are still good."""
    statement = select(CredentialRow).where(
        col(CredentialRow.revoked_at).is_(None), col(CredentialRow.expires_at) > now
    )
    if identity_id is not None:
        statement = statement.where(col(CredentialRow.identity_id) == identity_id)
    if after is not None:
        statement = statement.where(col(CredentialRow.id) > after)
    return list((await session.exec(statement.order_by(col(CredentialRow.id)).limit(limit))).all())


async def keys_page(session: AsyncSession, after: str | None, limit: int) -> list[ServiceAccountKeyRow]:
    statement = select(ServiceAccountKeyRow).order_by(col(ServiceAccountKeyRow.id)).limit(limit)
    if after is not None:
        statement = statement.where(col(ServiceAccountKeyRow.id) > after)
    return list((await session.exec(statement)).all())
