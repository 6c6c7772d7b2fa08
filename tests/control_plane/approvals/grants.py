"""What a decided request left in the database."""

from __future__ import annotations

import json

from control_plane.approvals.reports import (
    DecidedAnswer,
)
from control_plane.approvals.tables import GrantRow
from tests.control_plane.world import World


async def grant_of(world: World, approval_id: str) -> dict[str, object]:
    answer = await world.answer(approval_id)
    assert isinstance(answer, DecidedAnswer)
    assert answer.grant is not None
    return json.loads(answer.grant.payload)


async def nonce_of(world: World, approval_id: str) -> bytes:
    async with world.units.reading() as uow:
        grant = await uow.session.get(GrantRow, approval_id)
    assert grant is not None
    return grant.nonce
