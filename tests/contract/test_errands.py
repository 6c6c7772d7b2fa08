"""Errands over a real stream: asked of one agent, done there, answered once; every way that they can fail is told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from control_plane.agents import errands as control_errands
from control_plane.agents.errands import Errands
from control_plane.agents.errors import AgentLeftError, ErrandFailedError, NoAgentError
from control_plane.agents.stream import AgentStream
from control_plane.agents.tables import AgentInstanceRow, ErrandRow
from control_plane.kit.errors import NotFoundError, UnavailableError
from data_plane.identifiers import TargetName
from data_plane.link.errands import ErrandError, Handler
from data_plane.policy import snapshot
from tests.contract.stack import AGENT, ControlSide, RunningAgent, running_agent, target_document


class Deeds:
    """Handlers whose work a test looks at, and ends."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[tuple[str, Mapping[str, Any]]] = asyncio.Queue()
        self.go_on = asyncio.Event()
        self.ended: list[str] = []

    async def wait(self, target: TargetName, arguments: Mapping[str, Any]) -> Any:
        self.begun.put_nowait((target, arguments))
        try:
            await self.go_on.wait()
            self.ended.append("done")
        except asyncio.CancelledError:
            self.ended.append("broken off")
            raise
        return {"looked at": target, **arguments}

    async def refuse(self, target: TargetName, arguments: Mapping[str, Any]) -> Any:
        raise ErrandError("this account has no right to do so; give it CREATEROLE")

    async def fail(self, target: TargetName, arguments: Mapping[str, Any]) -> Any:
        raise ValueError("hunter2")

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {
            "look": Handler(self.wait, harmless=True),
            "change": Handler(self.wait),
            "refuse": Handler(self.refuse),
            "fail": Handler(self.fail),
        }


@pytest.fixture
def deeds() -> Deeds:
    return Deeds()


@pytest.fixture
async def served(control: ControlSide) -> ControlSide:
    await control.publish(target_document("orders"), target_document("other", "elsewhere"))
    return control


@pytest.fixture
async def connected(served: ControlSide, deeds: Deeds, tmp_path: Path):
    identity = await served.enrol()
    async with running_agent(tmp_path / "agent", identity, served.link_address, handlers=deeds.handlers) as agent:
        await agent.link.connected.wait()
        yield agent


async def left(control: ControlSide) -> list[ErrandRow]:
    async with control.world.units.reading() as uow:
        return list((await uow.session.exec(select(ErrandRow))).all())


async def test_an_errand_is_done_by_the_agent_and_its_answer_comes_back(
    served: ControlSide, connected: RunningAgent, deeds: Deeds
) -> None:
    deeds.go_on.set()
    answer = await served.feature.errands.ask("orders", "look", {"deep": True}, 5)
    assert answer == {"looked at": "orders", "deep": True}
    assert await left(served) == []


async def test_what_the_agent_cannot_do_is_told_in_its_own_words(served: ControlSide, connected: RunningAgent) -> None:
    with pytest.raises(ErrandFailedError, match="give it CREATEROLE"):
        await served.feature.errands.ask("orders", "refuse", {}, 5)


async def test_an_error_that_nobody_foresaw_is_not_told_in_its_own_words(
    served: ControlSide, connected: RunningAgent
) -> None:
    with pytest.raises(ErrandFailedError, match="its log says why") as failed:
        await served.feature.errands.ask("orders", "fail", {}, 5)
    assert "hunter2" not in failed.value.detail


async def test_an_errand_that_the_agent_does_not_know_is_answered(served: ControlSide, connected: RunningAgent) -> None:
    with pytest.raises(ErrandFailedError, match="does not know 'dance'"):
        await served.feature.errands.ask("orders", "dance", {}, 5)


async def test_a_target_that_is_not_there_or_whose_agent_is_not_connected_is_told(
    served: ControlSide, connected: RunningAgent
) -> None:
    asked = Errands(served.world.units, served.world.events, served.documents, taking_seconds=0.05)
    with pytest.raises(NotFoundError, match="no target named 'nothing'"):
        await asked.ask("nothing", "look", {}, 5)
    with pytest.raises(NoAgentError, match=r"'elsewhere'.*is not connected"):
        await asked.ask("other", "look", {}, 5)
    assert await left(served) == []


async def test_an_agent_that_is_too_old_is_not_asked(
    served: ControlSide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "FEATURES", snapshot.FEATURES - {control_errands.FEATURE})
    asked = Errands(served.world.units, served.world.events, served.documents, taking_seconds=0.05)
    async with running_agent(tmp_path / "old", await served.enrol(), served.link_address) as agent:
        await agent.link.connected.wait()
        with pytest.raises(NoAgentError, match="too old"):
            await asked.ask("orders", "look", {}, 5)


async def test_an_answer_that_does_not_come_in_time_is_not_waited_for(
    served: ControlSide, connected: RunningAgent, deeds: Deeds
) -> None:
    with pytest.raises(ErrandFailedError, match=r"has not answered in 0\.05 seconds"):
        await served.feature.errands.ask("orders", "look", {}, 0.05)
    deeds.go_on.set()
    assert await served.feature.errands.ask("orders", "look", {}, 5)


@pytest.mark.parametrize(("kind", "end"), [("look", "broken off"), ("change", "done")])
async def test_a_stream_that_ends_fails_its_errands_and_breaks_off_only_the_harmless_ones(
    served: ControlSide, connected: RunningAgent, deeds: Deeds, kind: str, end: str
) -> None:
    asking = asyncio.ensure_future(served.feature.errands.ask("orders", kind, {}, 10))
    await deeds.begun.get()
    connected.task.cancel()
    with pytest.raises(AgentLeftError, match="went away"):
        await asking
    await asyncio.wait([connected.task])
    if kind == "change":
        assert deeds.ended == []
    deeds.go_on.set()
    await connected.until(lambda: deeds.ended == [end])


async def test_one_thing_is_done_at_a_target_at_a_time(
    served: ControlSide, connected: RunningAgent, deeds: Deeds
) -> None:
    first = asyncio.ensure_future(served.feature.errands.ask("orders", "change", {"n": 1}, 5))
    await deeds.begun.get()
    second = asyncio.ensure_future(served.feature.errands.ask("orders", "change", {"n": 2}, 5))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await deeds.begun.get()
    deeds.go_on.set()
    assert {(await one)["n"] for one in (first, second)} == {1, 2}


async def test_of_two_workers_of_one_agent_one_does_it(
    served: ControlSide, connected: RunningAgent, deeds: Deeds, tmp_path: Path
) -> None:
    identity = await served.enrol()
    async with running_agent(tmp_path / "two", identity, served.link_address, handlers=deeds.handlers) as other:
        await other.link.connected.wait()
        deeds.go_on.set()
        for _ in range(5):
            await served.feature.errands.ask("orders", "look", {}, 5)
        assert deeds.begun.qsize() == 5


async def test_an_errand_reaches_an_agent_that_is_connected_to_another_replica(
    served: ControlSide, connected: RunningAgent, deeds: Deeds
) -> None:
    """Nothing but the database and its news is shared."""
    world = served.world.on_another_replica()
    deeds.go_on.set()
    asked = Errands(world.units, world.events, served.documents)
    assert await asked.ask("orders", "look", {}, 5) == {"looked at": "orders"}
    await world.database.close()


async def test_a_stream_fails_its_errands_also_when_the_newer_one_is_not_let_in(
    served: ControlSide, connected: RunningAgent, deeds: Deeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, servicer = connected.journal.instance_id, served.feature.server._services[0]
    asking = asyncio.ensure_future(served.feature.errands.ask("orders", "look", {}, 10))
    await deeds.begun.get()

    async def busy(self: AgentStream) -> int:
        raise UnavailableError("the database is busy; try again")

    monkeypatch.setattr(AgentStream, "_greeted", busy)
    older = servicer._streams[mine]
    older.cancel()  # as the newer one does, which has taken its place
    monkeypatch.setitem(servicer._streams, mine, asyncio.ensure_future(asyncio.Event().wait()))
    with pytest.raises(AgentLeftError, match="went away"):
        await asking
    async with served.world.units.reading() as uow:
        assert not (await uow.session.get_one(AgentInstanceRow, mine)).connected


async def test_the_late_end_of_a_stream_fails_nothing_of_the_newer_one_at_another_replica(
    served: ControlSide, connected: RunningAgent
) -> None:
    """The older replica notices minutes later that the connection is dead."""
    mine = connected.journal.instance_id
    async with served.world.units() as uow:
        instance = await uow.session.get_one(AgentInstanceRow, mine)
        instance.connected_at += timedelta(seconds=1)  # as the Hello at the other replica has it
        errand = {"id": "err_1", "agent": AGENT, "kind": "look", "target": "orders", "arguments": "{}"}
        uow.session.add(ErrandRow(**errand, asked_at=uow.now, taken_by=mine))
    await served.feature.server.stop()
    async with served.world.units.reading() as uow:
        assert (await uow.session.get_one(AgentInstanceRow, mine)).connected
    assert [errand.done for errand in await left(served)] == [False]
