"""Finds and stores what `oidc_tables` has."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import or_
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, delete, select

from control_plane.identities.credential_rows import hash_of
from control_plane.identities.tables import SignInRow
from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.sign_on.admission import Places
from control_plane.sign_on.oidc_tables import LogoutTokenRow, OidcStartRow, SignInRenewalRow

# ---------------------------------------------------------------- sign-ins that have begun


STARTS: Final = Places(
    OidcStartRow, col(OidcStartRow.state_hash), col(OidcStartRow.address), col(OidcStartRow.created_at)
)


async def forget_starts(uow: UnitOfWork) -> None:
    await uow.session.exec(delete(OidcStartRow).where(col(OidcStartRow.expires_at) <= uow.now))


async def take_start(uow: UnitOfWork, state: str) -> OidcStartRow | None:
    """It is gone then, whoever asks: the first answer is the only one."""
    row = await uow.session.get(OidcStartRow, hash_of(state), with_for_update=True, populate_existing=True)
    if row is not None:
        await uow.session.delete(row)
        await uow.session.flush()
        uow.session.expunge(row)
    return row


# ---------------------------------------------------------------- renewals


async def take_due(uow: UnitOfWork, every: timedelta, busy: timedelta, limit: int) -> Sequence[SignInRow]:
    """Sign-ins to be renewed now. Nobody else takes them until `busy` has passed."""
    statement = (
        select(SignInRow)
        .outerjoin(SignInRenewalRow, col(SignInRenewalRow.sign_in_id) == col(SignInRow.id))
        .where(
            col(SignInRow.refresh) != "",
            col(SignInRow.expires_at) > uow.now,
            or_(
                col(SignInRenewalRow.renew_at) <= uow.now,
                col(SignInRenewalRow.sign_in_id).is_(None) & (col(SignInRow.created_at) <= uow.now - every),
            ),
        )
        .order_by(col(SignInRow.id))
        .limit(limit)
        .with_for_update(of=SignInRow, skip_locked=True)
    )
    rows = (await uow.session.exec(statement)).all()
    for row in rows:
        renewal = await renewal_of(uow, row)
        renewal.renew_at = uow.now + busy
    return rows


async def renewal_of(uow: UnitOfWork, row: SignInRow) -> SignInRenewalRow:
    found = await uow.session.get(SignInRenewalRow, row.id, with_for_update=True, populate_existing=True)
    if found is None:
        found = SignInRenewalRow(sign_in_id=row.id, renewed_at=row.created_at, renew_at=row.created_at)
        uow.session.add(found)
    return found


async def providers_in_use(uow: UnitOfWork) -> Sequence[str]:
    statement = select(SignInRow.provider).where(col(SignInRow.provider) != "").distinct()
    return (await uow.session.exec(statement)).all()


# ---------------------------------------------------------------- logout tokens


async def first_time(uow: UnitOfWork, provider: str, jti: str, until: datetime) -> bool:
    """False: it was taken before."""
    await uow.session.exec(delete(LogoutTokenRow).where(col(LogoutTokenRow.expires_at) <= uow.now))
    try:
        async with uow.session.begin_nested():
            uow.session.add(LogoutTokenRow(provider=provider, jti_hash=hash_of(jti), expires_at=until))
    except IntegrityError:
        return False
    return True
