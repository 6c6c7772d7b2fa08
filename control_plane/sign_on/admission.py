"""How many may have begun to sign in and not come back yet: bounded in all, and shared out by where they come from.

One network has a share of its own and begins no more than that at a time. When all places are taken, the oldest of the
network that holds most gives way. So no network pays for others while it holds less than its even part: all places,
divided by the networks that hold any. Whoever floods from many networks makes that part small, and an office that holds
more pays before them: from as many networks as there are places (a single IPv6 /32 has more) it is one, and beyond that
the oldest goes, whoever it is. Whoever comes through this machine has no share but counts like a network: it may be a
proxy that does not say for whom it asks.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, case, func
from sqlalchemy.sql.expression import SQLColumnExpression
from sqlmodel import delete, select

from control_plane.kit.errors import TooManyRequestsError
from control_plane.kit.unit_of_work import UnitOfWork


class Places(msgspec.Struct, frozen=True):
    """Rows that are one begun sign-in each. An index on network and beginning keeps the counting cheap."""

    row: type[Any]
    key: SQLColumnExpression[str]
    network: SQLColumnExpression[str]
    begun_at: SQLColumnExpression[datetime]


async def make_room(
    uow: UnitOfWork, places: Places, network: str, share: int, most: int, *taken: ColumnElement[bool]
) -> None:
    """For one more of this network, as `throttle.network` tells it. `taken`: which of the rows count; none: all. Raises
    TooManyRequestsError: the network has its share."""
    if network and await _count(uow, places, *taken, places.network == network) >= share:
        raise TooManyRequestsError("too many sign-ins from your address have begun; try again in ten minutes")
    beyond = await _count(uow, places, *taken) + 1 - most
    if beyond > 0:
        await _give_way(uow, places, network, beyond, *taken)


async def _count(uow: UnitOfWork, places: Places, *which: ColumnElement[bool]) -> int:
    return (await uow.session.exec(select(func.count()).select_from(places.row).where(*which))).one()


async def _give_way(uow: UnitOfWork, places: Places, newcomer: str, number: int, *taken: ColumnElement[bool]) -> None:
    """The newcomer counts with its own network: whoever floods is the first to pay. Of equals it is the oldest. What
    somebody comes back to at this very moment is left alone."""
    holds = func.count() + case((places.network == newcomer, 1), else_=0)
    most = select(places.network).where(*taken).group_by(places.network).limit(1)
    network = (await uow.session.exec(most.order_by(holds.desc(), func.min(places.begun_at)))).first()
    oldest = select(places.key).where(*taken, places.network == network).order_by(places.begun_at).limit(number)
    keys = (await uow.session.exec(oldest.with_for_update(skip_locked=True))).all()
    await uow.session.exec(delete(places.row).where(places.key.in_(keys)))
