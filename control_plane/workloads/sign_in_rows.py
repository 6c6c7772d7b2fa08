"""Rows of workloads' sign-ins: found by hash, ended with all that was made with them, forgotten when they are old."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import ColumnElement, Text, cast, or_
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, delete, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from control_plane.identities import credential_rows
from control_plane.kit.unit_of_work import Actor, AuditEvent, Json, UnitOfWork
from control_plane.workloads.tables import ActingTokenRow, ClientCredentialRow, UsedTokenRow, WorkloadSignInRow

REMEMBERED: Final = timedelta(days=90)  # so that a review of access sees who came


async def by_token(session: AsyncSession, token: str) -> WorkloadSignInRow | None:
    hashed = credential_rows.hash_of(token)
    return (await session.exec(select(WorkloadSignInRow).where(col(WorkloadSignInRow.token_hash) == hashed))).first()


async def page(
    session: AsyncSession, after: str | None, limit: int, identity_id: str | None = None
) -> list[WorkloadSignInRow]:
    """Newest first, good ones and others."""
    statement = select(WorkloadSignInRow).order_by(
        col(WorkloadSignInRow.created_at).desc(), col(WorkloadSignInRow.id).desc()
    )
    if identity_id is not None:
        statement = statement.where(col(WorkloadSignInRow.identity_id) == identity_id)
    if after is not None and (last := await session.get(WorkloadSignInRow, after)) is not None:
        at, number = col(WorkloadSignInRow.created_at), col(WorkloadSignInRow.id)
        statement = statement.where(or_(at < last.created_at, (at == last.created_at) & (number < last.id)))
    return list((await session.exec(statement.limit(limit))).all())


async def end_of_trust(uow: UnitOfWork, by: Actor, trust: str, reason: str) -> list[str]:
    return await end(uow, by, col(WorkloadSignInRow.trust) == trust, reason)


async def end_of_client_credential(uow: UnitOfWork, by: Actor, credential_id: str, reason: str) -> list[str]:
    return await end(uow, by, col(WorkloadSignInRow.client_credential_id) == credential_id, reason)


async def end_of_identities(uow: UnitOfWork, by: Actor, ids: Collection[str], reason: str) -> list[str]:
    """Theirs, and those of others on their behalf."""
    theirs = or_(col(WorkloadSignInRow.identity_id).in_(ids), *_named(WorkloadSignInRow.chain, ids))
    return await end(uow, by, theirs, reason)


async def end(uow: UnitOfWork, by: Actor, which: ColumnElement[bool], reason: str) -> list[str]:
    """With every credential and acting token that was made with them; the agents hear of it. Also those that have
    expired: what was asked for with one may still wait for its approval. The ids of those that were still good."""
    row = WorkloadSignInRow
    standing = (which, col(row.revoked_at).is_(None))
    if (await uow.session.exec(select(row.id).where(*standing).limit(1))).first() is None:
        return []
    good = select(row.id).where(*standing, col(row.expires_at) > uow.now).order_by(col(row.id))
    ids = list((await uow.session.exec(good)).all())
    await uow.session.exec(update(row).where(*standing).values(revoked_at=uow.now))
    if ids:
        credentials = await credential_rows.revoke_made_with(uow.session, ids, uow.now)
        told: dict[str, Json] = {"reason": reason, "sign_ins": ids, "credentials": credentials}
        uow.audit(AuditEvent("workload-sign-in.ended", by, ids[0] if len(ids) == 1 else "", told))
    ended = select(row.id).where(which, col(row.revoked_at) == uow.now)
    await end_acting_tokens(uow, by, col(ActingTokenRow.made_with).in_(ended), reason)
    await uow.session.flush()
    await uow.snapshot_changed()
    return ids


async def end_acting_tokens(uow: UnitOfWork, by: Actor, which: ColumnElement[bool], reason: str) -> list[str]:
    """And the sign-ins of those who act by them; expired ones too. The ids of those that were still good."""
    row = ActingTokenRow
    standing = (which, col(row.revoked_at).is_(None))
    if (await uow.session.exec(select(row.id).where(*standing).limit(1))).first() is None:
        return []
    good = select(row.id).where(*standing, col(row.expires_at) > uow.now).order_by(col(row.id))
    ids = list((await uow.session.exec(good)).all())
    await uow.session.exec(update(row).where(*standing).values(revoked_at=uow.now))
    ended = select(row.id).where(which, col(row.revoked_at) == uow.now)
    await end(uow, by, col(WorkloadSignInRow.acting_token_id).in_(ended), reason)
    return ids


async def end_acting_tokens_of(uow: UnitOfWork, by: Actor, ids: Collection[str], reason: str) -> list[str]:
    """Which they made, or may use, or stand behind."""
    row = ActingTokenRow
    of_them = or_(col(row.identity_id).in_(ids), col(row.actor_id).in_(ids), *_named(row.chain, ids))
    return await end_acting_tokens(uow, by, of_them, reason)


async def end_client_credentials(uow: UnitOfWork, ids: Collection[str]) -> list[str]:
    return await end_those(uow, col(ClientCredentialRow.identity_id).in_(ids))


async def end_those(uow: UnitOfWork, which: ColumnElement[bool]) -> list[str]:
    """Client credentials that were still good."""
    row = ClientCredentialRow
    good = (which, col(row.revoked_at).is_(None), col(row.expires_at) > uow.now)
    ended = list((await uow.session.exec(select(row.id).where(*good).order_by(col(row.id)))).all())
    await uow.session.exec(update(row).where(col(row.id).in_(ended)).values(revoked_at=uow.now))
    return ended


async def use_up(uow: UnitOfWork, issuer: str, token_id: str, until: timedelta) -> bool:
    """False: this token has worked already. Whoever comes second at the same moment is told so too."""
    await uow.session.exec(delete(UsedTokenRow).where(col(UsedTokenRow.expires_at) <= uow.now))
    hashed = hashlib.sha256(f"{issuer}\0{token_id}".encode(errors="surrogatepass")).hexdigest()
    try:
        async with uow.session.begin_nested():
            uow.session.add(UsedTokenRow(token_hash=hashed, expires_at=uow.now + until))
    except IntegrityError:
        return False
    return True


async def forget_old(uow: UnitOfWork) -> None:
    await uow.session.exec(delete(WorkloadSignInRow).where(col(WorkloadSignInRow.expires_at) <= uow.now - REMEMBERED))
    await uow.session.exec(delete(ActingTokenRow).where(col(ActingTokenRow.expires_at) <= uow.now - REMEMBERED))


def _named(chain: object, ids: Collection[str]) -> Sequence[ColumnElement[bool]]:
    """Ids are of our own making: no one of them is a part of another."""
    text = cast(col(chain), Text)
    return [text.contains(f'"{one}"', autoescape=True) for one in ids]
