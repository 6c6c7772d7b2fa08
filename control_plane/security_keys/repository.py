"""Rows of security keys and challenges."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from control_plane.identities.tables import SignInRow
from control_plane.security_keys.tables import ChallengeRow, SecurityKeyRow


async def keys_of(session: AsyncSession, identity_id: str) -> Sequence[SecurityKeyRow]:
    """Oldest first."""
    statement = select(SecurityKeyRow).where(col(SecurityKeyRow.identity_id) == identity_id)
    return (await session.exec(statement.order_by(col(SecurityKeyRow.created_at), col(SecurityKeyRow.id)))).all()


async def locked_key(session: AsyncSession, identity_id: str, credential_id: str) -> SecurityKeyRow | None:
    """By what the key calls itself, if it is this person's."""
    statement = select(SecurityKeyRow).where(
        col(SecurityKeyRow.credential_id) == credential_id, col(SecurityKeyRow.identity_id) == identity_id
    )
    return (await session.exec(statement.with_for_update())).first()


async def delete_of(session: AsyncSession, identity_ids: Sequence[str]) -> int:
    """Keys, and what waits for them. How many keys that were."""
    await session.exec(delete(ChallengeRow).where(col(ChallengeRow.identity_id).in_(identity_ids)))
    theirs = col(SecurityKeyRow.identity_id).in_(identity_ids)
    return (await session.exec(delete(SecurityKeyRow).where(theirs))).rowcount


async def is_known(session: AsyncSession, credential_id: str) -> bool:
    statement = select(SecurityKeyRow.id).where(col(SecurityKeyRow.credential_id) == credential_id)
    return (await session.exec(statement)).first() is not None


async def spend(session: AsyncSession, challenge_id: str) -> ChallengeRow | None:
    """It is gone, whatever comes of it. None: there is none, or somebody else was quicker."""
    statement = select(ChallengeRow).where(col(ChallengeRow.id) == challenge_id)
    row = (await session.exec(statement.with_for_update())).first()
    if row is None:
        return None
    session.expunge(row)
    spent = await session.exec(delete(ChallengeRow).where(col(ChallengeRow.id) == challenge_id))
    return row if spent.rowcount == 1 else None


async def forget(session: AsyncSession, identity_id: str, now: datetime, most: int) -> None:
    """What is over; and of one person's that wait, all but the newest."""
    await session.exec(delete(ChallengeRow).where(col(ChallengeRow.expires_at) <= now))
    waiting = select(ChallengeRow.id).where(col(ChallengeRow.identity_id) == identity_id)
    waiting = waiting.order_by(col(ChallengeRow.expires_at).desc(), col(ChallengeRow.id))
    surplus = (await session.exec(waiting.offset(most))).all()
    if surplus:
        await session.exec(delete(ChallengeRow).where(col(ChallengeRow.id).in_(surplus)))


async def is_of_itself(session: AsyncSession, sign_in_id: str) -> bool:
    """A sign-in to the console that rests on no other: on no link, and no command line."""
    row = await session.get(SignInRow, sign_in_id)
    return row is not None and row.channel == "console" and not row.parent_id
