"""What the streams of one instance do to its row when they end and begin at once, perhaps at two replicas."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from control_plane.agents import repository
from control_plane.agents.domain import Hello
from control_plane.agents.errands import Errands
from control_plane.agents.stream import AgentStream
from control_plane.agents.tables import AgentInstanceRow, AgentRow, ErrandRow
from control_plane.assembly import ControlPlane
from control_plane.kit.unit_of_work import UnitOfWork

BEFORE = datetime(2026, 3, 1, tzinfo=UTC)
INSTANCE: dict[str, Any] = {"id": "inst_1", "agent_id": "agt_1", "boot_id": "boot_1", "version": ""}
ERRAND: dict[str, Any] = {"id": "err_1", "agent": "demo", "kind": "look", "target": "orders", "arguments": "{}"}


def stream(control_plane: ControlPlane, intake: object = None) -> AgentStream:
    """Of which only the ends are looked at."""
    nothing = cast("Any", None)
    errands = Errands(control_plane.units, control_plane.events, nothing)
    parts = cast("Any", SimpleNamespace(units=control_plane.units, errands=errands, intake=intake))
    made = AgentStream(nothing, "", parts, nothing, nothing)
    made._hello = Hello("demo", "inst_1", "boot_1", "", (), 0, 0, (), (), ())
    return made


async def test_an_older_stream_ends_while_a_newer_one_begins_and_neither_waits_for_the_other_for_ever(
    control_plane: ControlPlane,
) -> None:
    """Both touch the instance and its errands, in the same order: PostgreSQL would break one of them off."""
    async with control_plane.units() as uow:
        uow.session.add(AgentRow(id="agt_1", name="demo", created_at=BEFORE))
        await uow.session.flush()
        known = {"features": [], "recording_keys": [], "connected": True, "connected_at": BEFORE, "seen_at": BEFORE}
        uow.session.add(AgentInstanceRow(**INSTANCE, **known))
        uow.session.add(ErrandRow(**ERRAND, asked_at=BEFORE, taken_by="inst_1"))
    older = stream(control_plane)
    older._connected_at = BEFORE
    ending: list[asyncio.Task[None]] = []

    class Intake:
        async def greet(self, uow: UnitOfWork, agent: object, hello: object) -> int:
            ending.append(asyncio.create_task(older._disconnected()))
            await asyncio.wait(ending, timeout=0.3)
            row = await repository.locked_instance(uow.session, "inst_1")
            assert row is not None
            row.connected, row.connected_at = True, uow.now
            uow.session.add(row)
            await uow.session.flush()
            return 0

    assert await stream(control_plane, Intake())._greeted() == 0
    await ending[0]
    async with control_plane.units.reading() as uow:
        assert (await uow.session.get_one(AgentInstanceRow, "inst_1")).connected
        assert (await uow.session.get_one(ErrandRow, "err_1")).done
