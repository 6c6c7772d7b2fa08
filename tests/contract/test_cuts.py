"""A stream that is cut, an agent that restarts, a report that cannot be taken: nothing is lost and nothing repeated."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from control_plane.sessions import service as sessions
from data_plane.gate.ports import Answer
from data_plane.link import messages, wire
from data_plane.link.identity import Identity
from data_plane.policy.snapshot import SignedSnapshot
from tests.contract.cutting import CuttingProxy
from tests.contract.stack import (
    ControlSide,
    RunningAgent,
    running_agent,
)


async def test_sessions_of_an_agent_that_restarted_are_closed(
    control: ControlSide, identity: Identity, tmp_path: Path
) -> None:
    async with running_agent(tmp_path / "agent", identity, control.link_address) as agent:
        facts = agent.open_session()
        await agent.acknowledged()
    async with running_agent(tmp_path / "agent", identity, control.link_address) as agent:
        mine = agent.open_session()
        await agent.acknowledged()
        async with control.world.units.reading() as uow:
            old, new = await sessions.find(uow, facts.id), await sessions.find(uow, mine.id)
        assert old is not None
        assert new is not None
        assert (old.close_reason, new.closed_at_ms) == ("agent-restarted", None)


async def test_a_stream_cut_at_every_message_loses_and_repeats_nothing(
    control: ControlSide, identity: Identity, tmp_path: Path
) -> None:
    """Invariant 8: reports arrive once each and in order, whatever piece of data is the last to get through."""
    cuts = 45

    def after(number: int) -> int | None:
        return number if number < cuts else None  # handshake, Hello, Welcome, snapshot, batches, acknowledgements…

    sent = 0
    async with (
        CuttingProxy(control.feature.server.link_port, after) as proxy,
        running_agent(tmp_path / "agent", identity, proxy.address) as agent,
    ):
        async with asyncio.timeout(60):
            while proxy.connections <= cuts:
                agent.journal.append(messages.Notice("numbered", str(sent)))
                sent += 1
                await asyncio.sleep(0.01)
        await agent.acknowledged()
        assert proxy.cuts >= cuts - 5
    rows = await control.world.audited("agent.notice")
    assert [json.loads(row.data)["text"] for row in rows] == [str(number) for number in range(sent)]


async def test_a_hold_asked_over_a_bad_line_is_asked_once_and_answered(
    control: ControlSide, identity: Identity, tmp_path: Path
) -> None:
    port = control.feature.server.link_port
    async with (
        CuttingProxy(port, lambda number: 14 + number % 9 if number < 20 else None) as proxy,
        running_agent(tmp_path / "agent", identity, proxy.address) as agent,
    ):
        await agent.until(lambda: agent.link.reachable)
        approval = agent.ask(agent.open_session())
        await asyncio.wait_for(agent.pendings.get(), 20)
        await control.world.approve("ada", approval)
        answered = await asyncio.wait_for(agent.answers.get(), 20)
        assert answered.answer is Answer.APPROVED
        assert agent.answers.empty()
    assert await control.world.audited_kinds("approval.requested") == ["approval.requested"]


async def test_a_report_that_cannot_be_taken_holds_up_none_that_follow(
    control: ControlSide, agent: RunningAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_) -> None:
        raise ValueError("cannot be taken")

    monkeypatch.setattr(control.world.sessions, "refused", broken)
    agent.journal.refused("orders", "bad token", "127.0.0.1:1", "")
    agent.journal.append(messages.Notice("after", "it"))
    await agent.acknowledged()
    kinds = [row.kind for row in await control.world.audited("agent.")]
    assert kinds[-2:] == ["agent.report-rejected", "agent.notice"]


async def test_a_state_directory_that_is_an_old_copy_is_not_served(
    control: ControlSide, identity: Identity, tmp_path: Path
) -> None:
    """Its numbers were used for other reports: they would be dropped without a word."""
    async with running_agent(tmp_path / "agent", identity, control.link_address) as agent:
        await agent.until(lambda: agent.link.reachable)
    shutil.copytree(tmp_path / "agent", tmp_path / "copy")
    async with running_agent(tmp_path / "agent", identity, control.link_address) as agent:
        agent.journal.append(messages.Notice("newer", "report"))
        await agent.acknowledged()
    async with running_agent(tmp_path / "copy", identity, control.link_address) as agent:
        await asyncio.sleep(0.3)
        assert not agent.link.connected.is_set()


async def test_two_agents_of_one_name_do_not_mix(control: ControlSide, tmp_path: Path) -> None:
    first, second = await control.enrol(), await control.enrol()
    async with (
        running_agent(tmp_path / "one", first, control.link_address) as one,
        running_agent(tmp_path / "two", second, control.link_address) as two,
    ):
        await one.until(lambda: one.link.reachable and two.link.reachable)
        approval = one.ask(one.open_session())
        other = two.ask(two.open_session(), "DELETE FROM customers")
        await asyncio.wait_for(one.pendings.get(), 5)
        await asyncio.wait_for(two.pendings.get(), 5)
        await control.world.approve("ada", approval)
        assert (await asyncio.wait_for(one.answers.get(), 5)).answer is Answer.APPROVED
        assert two.answers.empty()
        await control.world.deny("ada", other)
        assert (await asyncio.wait_for(two.answers.get(), 5)).answer is Answer.DENIED


def test_a_snapshot_that_is_no_snapshot_is_a_value_error() -> None:
    with pytest.raises(ValueError):
        wire.snapshot_contents(b"\xff\xff\xff")
    assert SignedSnapshot(b"", b"", "")
