"""Reads and forgets rows of device codes."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sqlalchemy import ColumnElement
from sqlmodel import col, delete, select

from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.sign_on.admission import Places
from control_plane.sign_on.device_codes import LONGEST_PAUSE, PAUSE_SECONDS, State, hash_of
from control_plane.sign_on.device_tables import DeviceCodeRow

CODES: Final = Places(DeviceCodeRow, col(DeviceCodeRow.id), col(DeviceCodeRow.network), col(DeviceCodeRow.created_at))
_REMEMBERED: Final = timedelta(hours=1)  # after its end, so that a late poll hears why it gets nothing


async def by_device_code(uow: UnitOfWork, device_code: str) -> DeviceCodeRow | None:
    """Locked: whoever polls at the same moment sees what became of it."""
    return await _locked(uow, col(DeviceCodeRow.device_hash) == hash_of(device_code))


async def by_user_code(uow: UnitOfWork, user_code: str) -> DeviceCodeRow | None:
    """Locked."""
    return await _locked(uow, col(DeviceCodeRow.user_hash) == hash_of(user_code))


async def by_id(uow: UnitOfWork, row_id: str) -> DeviceCodeRow | None:
    """Locked."""
    return await _locked(uow, col(DeviceCodeRow.id) == row_id)


def slower(row: DeviceCodeRow) -> None:
    row.pause_seconds = min(LONGEST_PAUSE, row.pause_seconds + PAUSE_SECONDS)


async def _locked(uow: UnitOfWork, which: ColumnElement[bool]) -> DeviceCodeRow | None:
    statement = select(DeviceCodeRow).where(which).with_for_update().execution_options(populate_existing=True)
    return (await uow.session.exec(statement)).first()


def waiting(uow: UnitOfWork) -> tuple[ColumnElement[bool], ...]:
    """To be confirmed."""
    return col(DeviceCodeRow.state) == State.PENDING, col(DeviceCodeRow.expires_at) > uow.now


async def forget(uow: UnitOfWork) -> None:
    await uow.session.exec(delete(DeviceCodeRow).where(col(DeviceCodeRow.expires_at) <= uow.now - _REMEMBERED))
