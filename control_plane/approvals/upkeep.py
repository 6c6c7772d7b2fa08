"""Voids what no longer stands as soon as documents, identities, credentials or delegations change. Driven by news, no
polling."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
import structlog

from control_plane.approvals import repository, stages, windows
from control_plane.approvals.delegations import DELEGATIONS
from control_plane.approvals.domain import OPEN, Event, State
from control_plane.approvals.kinds import Kind
from control_plane.approvals.standing import Judged, Standing
from control_plane.approvals.tables import ApprovalRow
from control_plane.approvals.transitions import TOPIC, audited, move
from control_plane.kit.clock import milliseconds
from control_plane.kit.events import Events
from control_plane.kit.unit_of_work import SNAPSHOT, SYSTEM, Json, UnitOfWork, Units

_log = structlog.get_logger(__name__)
_AFTER_FAILURE: Final = 1.0


class Settled(msgspec.Struct, frozen=True):
    """What was voided."""

    kind: Kind
    was: State


class Upkeep:
    def __init__(self, units: Units, events: Events, standing: Standing) -> None:
        self._units = units
        self._events = events
        self._standing = standing

    async def run(self) -> None:
        """For ever; `assembly` spawns it. At start too: what changed while nobody ran is seen then."""
        async with self._events.subscribe(SNAPSHOT, DELEGATIONS) as news:
            while True:
                try:
                    await self.void_what_fell()
                except Exception:  # noqa: BLE001 - upkeep outlives every failure
                    _log.exception("open approvals could not be looked at again; trying again")
                    await asyncio.sleep(_AFTER_FAILURE)
                    continue
                await news.get()

    async def void_what_fell(self) -> None:
        async with self._units.reading() as uow:
            open_ids = await repository.open_ids(uow.session)
        for approval_id in open_ids:
            await self._look_at(approval_id)

    async def _look_at(self, approval_id: str) -> None:
        async with self._units() as uow:
            await settle(uow, approval_id, self._standing)


async def settle(uow: UnitOfWork, approval_id: str, standing: Standing) -> Settled | None:
    """Voids it, if what it stands on is gone. None: it stands, or was over already."""
    row = await repository.locked(uow.session, approval_id)
    if row is None or State(row.state) not in OPEN:
        return None
    judged = await standing.judged(uow, row)
    fault = judged.fault or await standing.lost_support(uow, judged)
    fault = fault or await windows.lost_approver(uow, row, judged)
    if fault:
        before = State(row.state)
        move(uow, row, Event.VOIDED, SYSTEM, fault)
        return Settled(Kind(row.kind), before)
    if row.state == State.PENDING:
        _keep_step(uow, row, judged)
    return None


def _keep_step(uow: UnitOfWork, row: ApprovalRow, judged: Judged) -> None:
    """Whoever agreed and may no longer leaves a place that must be filled before the chain goes on."""
    waiting = judged.request.progress(judged.people).stage
    if stages.keep_step(row, waiting, milliseconds(uow.now)):
        uow.session.add(row)
        data: dict[str, Json] = {"stage": waiting, "stage_by_ms": stages.stage_by_ms(row)}
        uow.audit(audited(row, "stage-changed", SYSTEM, data))
        uow.notice("approval.stage-changed", row.id, data)
        uow.notify(TOPIC, row.id)
