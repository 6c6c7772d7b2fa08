"""Whose account at a provider has a mail address: every one that its provider has ever verified counts.

Who changes theirs, or has it unverified from now on, must not become somebody new with the one from before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import text
from sqlmodel import col, select

from control_plane.identities.tables import ExternalAccountAddressRow, ExternalAccountRow
from control_plane.kit.unit_of_work import UnitOfWork

_FIRST_SIGN_IN_LOCK: Final = 4_741_190_003
_LONGEST: Final = 255


async def keep(uow: UnitOfWork, provider: str, subject: str, email: str) -> None:
    """One that the provider of this account has just verified."""
    key = {"provider": provider, "subject": subject, "email": _comparable(email)}
    if await uow.session.get(ExternalAccountAddressRow, key) is None:
        uow.session.add(ExternalAccountAddressRow(**key))
        await uow.session.flush()


async def accounts_with(uow: UnitOfWork, email: str) -> Sequence[ExternalAccountRow]:
    """At whichever provider that has verified it."""
    if not email:
        return []
    account, address = ExternalAccountRow, ExternalAccountAddressRow
    theirs = (col(address.provider) == col(account.provider), col(address.subject) == col(account.subject))
    same = select(account).where(*theirs, col(address.email) == _comparable(email))
    return (await uow.session.exec(same.order_by(col(account.provider), col(account.subject)))).all()


async def one_after_the_other(uow: UnitOfWork) -> None:
    """Whoever looks for an address to make somebody new, until the transaction ends: a second one of the same person at
    this moment finds what the first has made. On SQLite the writer is alone already."""
    if uow.session.get_bind().dialect.name == "postgresql":
        connection = await uow.session.connection()
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _FIRST_SIGN_IN_LOCK})


def _comparable(email: str) -> str:
    return email[:_LONGEST].lower()[:_LONGEST]
