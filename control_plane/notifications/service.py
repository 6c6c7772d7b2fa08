"""The delivery log as admins see it, trying again by hand, and forgetting what is old."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import structlog

from control_plane.kit.access import Principal
from control_plane.kit.clock import milliseconds
from control_plane.kit.errors import ConflictError, InvalidError, NotFoundError
from control_plane.kit.pagination import Paging
from control_plane.kit.unit_of_work import AuditEvent, UnitOfWork, Units
from control_plane.notifications import repository
from control_plane.notifications.attempts import TOPIC
from control_plane.notifications.domain import DeliveryState
from control_plane.notifications.ports import Channels
from control_plane.notifications.repository import Filter
from control_plane.notifications.signing import TOLERANCE_SECONDS
from control_plane.notifications.tables import DeliveryRow

_log = structlog.get_logger(__name__)

KEPT_FOR: Final = timedelta(days=30)
# Without a channel nobody is waiting for notices; those of a short while stay for a channel that is just being added.
_KEPT_UNSENT: Final = timedelta(minutes=10)
_EVERY_SECONDS: Final = 3600.0


class NotificationService:
    def __init__(self, units: Units, channels: Channels) -> None:
        self._units = units
        self._channels = channels

    async def deliveries(self, uow: UnitOfWork, wanted: Filter, paging: Paging) -> tuple[list[DeliveryRow], str | None]:
        """Newest first."""
        rows = await repository.listed(uow.session, wanted, _after(paging), paging.limit + 1)
        return paging.page(rows, lambda row: (row.notice_id, row.id))

    async def delivery(self, uow: UnitOfWork, delivery_id: str) -> DeliveryRow:
        row = await uow.session.get(DeliveryRow, delivery_id)
        if row is None:
            raise NotFoundError(f"there is no delivery {delivery_id!r}")
        return row

    async def redeliver(self, uow: UnitOfWork, by: Principal, delivery_id: str) -> DeliveryRow:
        """Tries it at once, whatever became of it. Its idempotency key stays, so the other side can tell."""
        row = await repository.locked(uow.session, delivery_id)
        if row is None:
            raise NotFoundError(f"there is no delivery {delivery_id!r}")
        if row.channel not in await self._channels.present(uow):
            raise ConflictError(f"the channel {row.channel} is not there any more")
        row.state, row.next_at_ms, row.done_at_ms = DeliveryState.PENDING, milliseconds(uow.now), None
        row.attempts += 1  # an attempt that is under way no longer has the last word
        uow.session.add(row)
        uow.audit(AuditEvent("delivery.redelivered", by.actor, row.id, {"channel": row.channel, "key": row.key}))
        uow.notify(TOPIC, row.channel)
        return row

    async def forget_at_intervals(self) -> None:
        """For ever; `assembly` spawns it."""
        while True:
            try:
                async with self._units() as uow:
                    await self.forget(uow)
            except Exception:  # noqa: BLE001 - upkeep outlives every failure
                _log.exception("old deliveries could not be forgotten; trying again")
            await asyncio.sleep(_EVERY_SECONDS)

    async def forget(self, uow: UnitOfWork) -> None:
        now = milliseconds(uow.now)
        await repository.forget_before(uow.session, now - _ms(KEPT_FOR))
        if not await self._channels.present(uow):
            await repository.forget_unsent_before(uow.session, now - _ms(_KEPT_UNSENT))
        await repository.forget_calls_before(uow.session, now - 2 * TOLERANCE_SECONDS * 1000)


def _ms(length: timedelta) -> int:
    return int(length.total_seconds() * 1000)


def _after(paging: Paging) -> tuple[int, str] | None:
    match paging.after:
        case None:
            return None
        case (int(notice_id), str(last)):
            return notice_id, last
    raise InvalidError("the cursor belongs to another list")
