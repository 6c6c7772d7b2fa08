"""Failed sign-ins lock a name for a while, longer every time, whether or not anybody has that name."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from sqlmodel import col, delete

from control_plane.identities.tables import AttemptsRow
from control_plane.kit.unit_of_work import UnitOfWork

FREE_FAILURES = 5
_FIRST_LOCK = timedelta(seconds=30)
_LONGEST_LOCK = timedelta(minutes=15)
_REMEMBERED = timedelta(hours=24)


async def locked_for(uow: UnitOfWork, name: str) -> int:
    """Seconds until the name may try again; 0: now."""
    row = await uow.session.get(AttemptsRow, _key(name))
    if row is None or row.failures < FREE_FAILURES or row.locked_until <= uow.now:
        return 0
    return int((row.locked_until - uow.now).total_seconds()) + 1


async def failed(uow: UnitOfWork, name: str) -> int:
    """Counts one more; returns how many there were."""
    await uow.session.exec(delete(AttemptsRow).where(col(AttemptsRow.locked_until) < uow.now - _REMEMBERED))
    row = await uow.session.get(AttemptsRow, _key(name), with_for_update=True, populate_existing=True)
    failures = 1 if row is None else row.failures + 1
    until = _locked_until(uow.now, failures)
    uow.session.add(row or AttemptsRow(name_hash=_key(name), failures=failures, locked_until=until))
    if row is not None:
        row.failures, row.locked_until = failures, until
    return failures


async def succeeded(uow: UnitOfWork, name: str) -> None:
    await uow.session.exec(delete(AttemptsRow).where(col(AttemptsRow.name_hash) == _key(name)))


def _locked_until(now: datetime, failures: int) -> datetime:
    beyond = failures - FREE_FAILURES
    return now if beyond < 0 else now + min(_LONGEST_LOCK, _FIRST_LOCK * 2 ** min(beyond, 10))


def _key(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()
