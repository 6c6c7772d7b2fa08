"""What people do besides deciding, in one line each: for tests over the world without a network."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from control_plane.approvals.broken_glass import Verdict
from control_plane.approvals.delegations import Given
from control_plane.approvals.domain import Chain, Refused, Stage
from control_plane.approvals.domain.emergency import Broken
from control_plane.approvals.tables import BreakGlassRow, DelegationRow
from control_plane.kit.access import Principal
from tests.control_plane.world import World


def chain(*stages: Stage, **changes: Any) -> Chain:
    """Of `dba`, one of them, unless said otherwise."""
    return msgspec.structs.replace(Chain("dba", stages or (Stage(("dba",), 1, 900),), 300), **changes)


def asked_of(world: World, *stages: Stage, **changes: Any) -> None:
    """What requests are held for from now on."""
    world.neighbours.chains["dba"] = chain(*stages, **changes)


async def give(world: World, delegator: str, delegate: str, days: float = 1, **more: Any) -> DelegationRow:
    given = Given(delegate, world.clock.now() + timedelta(days=days), **more)
    async with world.units() as uow:
        return await world.delegations.give(uow, world.principal(delegator), given)


async def take_back(world: World, name: str, delegation: DelegationRow, *roles: str) -> None:
    async with world.units() as uow:
        await world.delegations.take_back(uow, world.principal(name, *roles), delegation.id)


async def break_glass(
    world: World, name: str, approval_id: str, *, reason: str = "the shop is down", by: Principal | None = None
) -> Broken | Refused | None:
    shown = (await world.view(approval_id)).row.shown_digest
    async with world.units() as uow:
        who = by or world.principal(name, "break-glass")
        return await world.broken_glass.break_glass(uow, who, approval_id, shown, reason)


async def close_review(world: World, name: str, approval_id: str, *roles: str) -> None:
    async with world.units() as uow:
        who = world.principal(name, *roles)
        await world.broken_glass.close(uow, who, approval_id, Verdict.JUSTIFIED, "it was")


async def review_of(world: World, approval_id: str) -> BreakGlassRow | None:
    async with world.units.reading() as uow:
        return await uow.session.get(BreakGlassRow, approval_id)
