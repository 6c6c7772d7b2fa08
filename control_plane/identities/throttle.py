"""Failed sign-ins lock a name for a while, longer every time, whether or not anybody has that name; and an address,
so that one client cannot try a few passwords on many names.

An address is shared by more people than a name is, so it may fail more often and is forgiven sooner. Addresses of this
machine are not counted: they may be a proxy's that does not say for whom it asks. What is remembered is bounded.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, delete, func, select

from control_plane.identities.tables import AttemptsRow
from control_plane.kit.unit_of_work import UnitOfWork

FREE_FAILURES: Final = 5
FREE_FAILURES_OF_AN_ADDRESS: Final = 30
_FIRST_LOCK: Final = timedelta(seconds=30)
_LONGEST_LOCK: Final = timedelta(minutes=15)
_REMEMBERED: Final = timedelta(hours=24)
_REMEMBERED_OF_AN_ADDRESS: Final = timedelta(hours=1)
_MOST: Final = 100_000  # names and addresses
_AT_ONCE: Final = 1000
_SITE: Final = 48  # of IPv6: what one customer may be given (RFC 6177), so that nobody is many by their own addresses


class _Counted(msgspec.Struct, frozen=True):
    key: str
    free: int
    remembered: timedelta


async def locked_for(uow: UnitOfWork, name: str, address: str = "") -> int:
    """Seconds until the name, from this address, may try again; 0: now."""
    waits = [0]
    for counted in _counted(name, address):
        row = await uow.session.get(AttemptsRow, counted.key)
        if row is not None and row.failures >= counted.free and row.locked_until > uow.now:
            waits.append(int((row.locked_until - uow.now).total_seconds()) + 1)
    return max(waits)


async def failed(uow: UnitOfWork, name: str, address: str = "") -> int:
    """Counts one more; returns how many there were of the name, or without a name of the address."""
    await uow.session.exec(delete(AttemptsRow).where(col(AttemptsRow.locked_until) < uow.now - _REMEMBERED))
    counts = [await _count(uow, counted) for counted in _counted(name, address)]
    return counts[0] if counts else 0


async def succeeded(uow: UnitOfWork, name: str) -> None:
    """Its address is not forgiven: whoever attacks may have a password of their own."""
    await uow.session.exec(delete(AttemptsRow).where(col(AttemptsRow.name_hash) == _name_key(name)))


async def _count(uow: UnitOfWork, counted: _Counted) -> int:
    row = await uow.session.get(AttemptsRow, counted.key, with_for_update=True, populate_existing=True)
    if row is None:
        if await _begun(uow, counted):
            return 1
        row = await uow.session.get_one(AttemptsRow, counted.key, with_for_update=True, populate_existing=True)
    forgiven = row.locked_until < uow.now - counted.remembered
    row.failures = 1 if forgiven else row.failures + 1
    row.locked_until = _locked_until(uow.now, row.failures - counted.free)
    uow.session.add(row)
    return row.failures


async def _begun(uow: UnitOfWork, counted: _Counted) -> bool:
    """False: somebody else has counted the first one at the same moment."""
    await _make_room(uow)
    try:
        async with uow.session.begin_nested():
            uow.session.add(AttemptsRow(name_hash=counted.key, failures=1, locked_until=uow.now))
    except IntegrityError:
        return False
    return True


async def _make_room(uow: UnitOfWork) -> None:
    """At the limit those go whose lock is over for the longest time."""
    if (await uow.session.exec(select(func.count()).select_from(AttemptsRow))).one() < _MOST:
        return
    oldest = select(AttemptsRow.name_hash).order_by(col(AttemptsRow.locked_until)).limit(_AT_ONCE)
    await uow.session.exec(delete(AttemptsRow).where(col(AttemptsRow.name_hash).in_(oldest)))


def _counted(name: str, address: str) -> Sequence[_Counted]:
    """The name first, where there is one: whoever counts both locks their rows in one order."""
    counted = [_Counted(_name_key(name), FREE_FAILURES, _REMEMBERED)] if name else []
    if where := network(address):
        counted.append(_Counted(_address_key(where), FREE_FAILURES_OF_AN_ADDRESS, _REMEMBERED_OF_AN_ADDRESS))
    return counted


def network(address: str) -> str:
    """What is one client: an IPv4 address, or an IPv6 site. Empty: not to be counted."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    plain = getattr(found, "ipv4_mapped", None) or found
    if plain.is_loopback:
        return ""
    return str(plain if plain.version == 4 else ipaddress.ip_network((plain, _SITE), strict=False))


def _locked_until(now: datetime, beyond: int) -> datetime:
    return now if beyond < 0 else now + min(_LONGEST_LOCK, _FIRST_LOCK * 2 ** min(beyond, 10))


def _name_key(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()


def _address_key(network: str) -> str:
    """Never a name's, whatever name somebody gives."""
    return hashlib.blake2b(network.encode(), digest_size=32, person=b"sign-in address").hexdigest()
