"""Finds and stores sealed secrets, deliveries, and the exchange of the wrapping key."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import CursorResult, func
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from control_plane.secrets.envelope import Sealed
from control_plane.secrets.tables import RewrapRow, SecretDeliveryRow, SecretRow

_THE_ONE = 1


async def any_secret(session: AsyncSession, name: str) -> SecretRow | None:
    """Also one that was deleted: its versions go on."""
    return await session.get(SecretRow, name, populate_existing=True)


async def locked(session: AsyncSession, name: str) -> SecretRow | None:
    """Also one that was deleted. Nobody else changes it, and no document begins to name it, until the transaction
    ends."""
    return await session.get(SecretRow, name, with_for_update=True, populate_existing=True)


async def living(session: AsyncSession, after: str, limit: int | None) -> Sequence[SecretRow]:
    query = select(SecretRow).where(~col(SecretRow.deleted), col(SecretRow.name) > after)
    return (await session.exec(query.order_by(col(SecretRow.name)).limit(limit))).all()


async def names(session: AsyncSession, *, keep: bool) -> frozenset[str]:
    """`keep`: none of them is deleted before the transaction ends; all else may happen to them."""
    query = select(SecretRow.name).where(~col(SecretRow.deleted)).order_by(col(SecretRow.name))
    return frozenset((await session.exec(query.with_for_update(read=True, key_share=True) if keep else query)).all())


async def delivered(session: AsyncSession) -> frozenset[str]:
    return frozenset((await session.exec(select(SecretDeliveryRow.secret).distinct())).all())


async def deliveries(session: AsyncSession, secrets: Collection[str]) -> Mapping[str, list[SecretDeliveryRow]]:
    """Newest first."""
    query = select(SecretDeliveryRow).where(col(SecretDeliveryRow.secret).in_(secrets))
    order = (col(SecretDeliveryRow.at).desc(), col(SecretDeliveryRow.agent), col(SecretDeliveryRow.target))
    found: dict[str, list[SecretDeliveryRow]] = {name: [] for name in secrets}
    for row in await session.exec(query.order_by(*order)):
        found[row.secret].append(row)
    return found


# ---------------------------------------------------------------- wrapping keys


async def under_other_keys(session: AsyncSession, wrapping_key: str, after: str, limit: int) -> Sequence[SecretRow]:
    query = select(SecretRow).where(
        ~col(SecretRow.deleted), col(SecretRow.wrapping_key) != wrapping_key, col(SecretRow.name) > after
    )
    return (await session.exec(query.order_by(col(SecretRow.name)).limit(limit))).all()


async def rewrap(session: AsyncSession, before: SecretRow, after: Sealed) -> bool:
    """False: somebody has changed the secret meanwhile, and it stays as it is."""
    statement = (
        update(SecretRow)
        .where(
            col(SecretRow.name) == before.name,
            col(SecretRow.version) == before.version,
            col(SecretRow.wrapping_key) == before.wrapping_key,
            col(SecretRow.wrapped_key) == before.wrapped_key,
        )
        .values(wrapped_key=after.wrapped_key, wrapping_key=after.wrapping_key)
    )
    return cast("CursorResult[Any]", await session.exec(statement)).rowcount == 1


async def by_wrapping_key(session: AsyncSession) -> Mapping[str, int]:
    """How many secrets are sealed with each."""
    query = select(SecretRow.wrapping_key, func.count()).where(~col(SecretRow.deleted))
    return dict((await session.exec(query.group_by(col(SecretRow.wrapping_key)))).all())


async def asked_rewrap(session: AsyncSession, *, lock: bool = False) -> RewrapRow | None:
    return await session.get(RewrapRow, _THE_ONE, with_for_update=lock, populate_existing=True)


def new_rewrap(**values: Any) -> RewrapRow:
    return RewrapRow(id=_THE_ONE, **values)
