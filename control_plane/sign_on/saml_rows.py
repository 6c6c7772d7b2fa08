"""Statements about sign-ins that were begun at SAML providers, and assertions that have been used."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from control_plane.identities.credential_rows import hash_of
from control_plane.sign_on.admission import Places
from control_plane.sign_on.saml_tables import SamlAssertionRow, SamlRequestRow

REQUESTS: Final = Places(
    SamlRequestRow, col(SamlRequestRow.browser_hash), col(SamlRequestRow.address), col(SamlRequestRow.created_at)
)


async def forget_expired(session: AsyncSession, now: datetime) -> None:
    await session.exec(delete(SamlRequestRow).where(col(SamlRequestRow.expires_at) <= now))
    await session.exec(delete(SamlAssertionRow).where(col(SamlAssertionRow.expires_at) <= now))


async def take(session: AsyncSession, browser: str) -> SamlRequestRow | None:
    """What this browser began. It is gone then, whoever asks at the same moment: one of them gets it."""
    mine = col(SamlRequestRow.browser_hash) == hash_of(browser)
    row = (await session.exec(select(SamlRequestRow).where(mine).with_for_update())).first()
    if row is None:
        return None
    session.expunge(row)
    taken = await session.exec(delete(SamlRequestRow).where(mine))
    return row if taken.rowcount == 1 else None


async def use(session: AsyncSession, provider: str, message_id: str, ends_at: datetime) -> bool:
    """Of an assertion, or a logout request. False: it was used before."""
    try:
        async with session.begin_nested():
            session.add(SamlAssertionRow(provider=provider, assertion_id=message_id, expires_at=ends_at))
    except IntegrityError:
        return False
    return True
