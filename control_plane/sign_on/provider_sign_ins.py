"""The sign-ins that a provider stands behind: found by what it names them by, and ended by its word."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlmodel import col, select

from control_plane.identities.ending import Ending
from control_plane.identities.tables import ExternalAccountRow, SignInRow
from control_plane.kit.unit_of_work import SYSTEM, UnitOfWork


async def of_provider(uow: UnitOfWork, provider: str) -> Sequence[SignInRow]:
    return (await uow.session.exec(select(SignInRow).where(col(SignInRow.provider) == provider))).all()


async def named(uow: UnitOfWork, provider: str, sessions: Collection[str], subject: str) -> Sequence[SignInRow]:
    """Sessions at the provider, or all that a subject has there; of both, both must be right. Of neither: none."""
    which = [col(SignInRow.provider) == provider]
    if sessions:
        which.append(col(SignInRow.provider_session).in_(sessions))
    if subject:
        account = ExternalAccountRow
        theirs = select(account.identity_id).where(col(account.provider) == provider, col(account.subject) == subject)
        which.append(col(SignInRow.identity_id).in_(theirs))
    return (await uow.session.exec(select(SignInRow).where(*which))).all() if len(which) > 1 else []


async def end(uow: UnitOfWork, ending: Ending, rows: Sequence[SignInRow], reason: str) -> None:
    """With whatever rests on them or was made with them."""
    by_identity: dict[str, set[str]] = {}
    for row in rows:
        by_identity.setdefault(row.identity_id, set()).add(row.id)
    for identity, over in by_identity.items():
        await ending.sign_out(uow, SYSTEM, identity, reason, over)
