"""A window over the real wire: what is asked, what was chosen and signed, each use, and that it is taken back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from control_plane.approvals import windows
from control_plane.approvals.domain import State, Verb, Window
from control_plane.approvals.domain.choice import Wish
from control_plane.approvals.review import View, Word
from control_plane.kit.clock import milliseconds
from data_plane.gate.ports import Answer, Answered
from data_plane.identifiers import ApprovalId
from data_plane.link import wire
from data_plane.link.identity import Identity
from tests.contract.stack import ControlSide, RunningAgent, approval_request, running_agent
from tests.control_plane.world import chain

SHAPE = b"s" * 32


@pytest.fixture
async def running(control: ControlSide, identity: Identity, tmp_path: Path) -> AsyncIterator[RunningAgent]:
    offering = msgspec.structs.replace(chain("dba"), window=Window(1800, 20))
    control.world.neighbours.chains["dba"] = offering
    async with running_agent(tmp_path / "windows", identity, control.link_address) as agent:
        await agent.until(lambda: agent.link.reachable)
        yield agent


async def asked(agent: RunningAgent) -> ApprovalId:
    request = approval_request(agent.open_session(), "DELETE FROM orders WHERE id = 1")
    operation = msgspec.structs.replace(
        request.operation, shape=SHAPE, shape_text="DELETE FROM orders WHERE id = ‹value›", reason="ticket\u200b 7"
    )
    request = msgspec.structs.replace(request, operation=operation)
    agent.approvals.request(request, agent.pendings.put_nowait, agent.answers.put_nowait)
    await asyncio.wait_for(agent.pendings.get(), 5)
    return request.id


async def choose(control: ControlSide, approval: str, uses: int = 2) -> None:
    view = await control.world.view(approval)
    word = Word(Verb.APPROVE, view.row.shown_digest, "cli", window=Wish(uses, minutes=10))
    async with control.world.units() as uow:
        await control.world.review.decide(uow, control.world.principal("ada"), approval, word)


async def granted(control: ControlSide, agent: RunningAgent, uses: int = 2) -> tuple[ApprovalId, bytes, list[str]]:
    """Its id, its nonce, and what is told of its end."""
    approval = await asked(agent)
    await choose(control, approval, uses)
    answered: Answered = await asyncio.wait_for(agent.answers.get(), 5)
    assert answered.answer is Answer.APPROVED
    assert answered.grant is not None
    contents = wire.grant_contents(answered.grant.payload)
    assert contents.scope == "window"
    over: list[str] = []
    agent.approvals.watch(approval, over.append)
    return approval, contents.nonce, over


async def view_of(control: ControlSide, approval: str) -> View:
    return await control.world.view(approval)


async def test_shape_text_and_reason_reach_the_card(control: ControlSide, running: RunningAgent) -> None:
    view = await view_of(control, await asked(running))
    assert view.shown.operation is not None
    assert view.shown.operation.shape == SHAPE.hex()
    assert view.shown.operation.shape_text == "DELETE FROM orders WHERE id = ‹value›"
    assert view.shown.reason == "ticket\u200b 7"


async def test_what_was_chosen_is_what_the_agent_reads_in_the_grant(
    control: ControlSide, running: RunningAgent
) -> None:
    approval = await asked(running)
    now = milliseconds(control.world.clock.now())
    await choose(control, approval, 5)
    answered = await asyncio.wait_for(running.answers.get(), 5)
    assert answered.grant is not None
    window = wire.grant_contents(answered.grant.payload).window
    assert window is not None
    assert (window.shape, window.until_ms, window.uses) == (SHAPE, now + 600_000, 5)


async def test_each_use_is_told_with_its_number_and_digest(control: ControlSide, running: RunningAgent) -> None:
    approval, nonce, _ = await granted(control, running)
    digest = (await view_of(control, approval)).row.operation_digest
    running.approvals.consumed(approval, nonce, 1, digest)
    running.approvals.finished(approval, "done", "DELETE 1", 1)
    running.approvals.consumed(approval, nonce, 2, b"2" * 32)
    await running.acknowledged()
    view = await view_of(control, approval)
    assert view.row.state == State.WINDOW
    assert [(use.number, use.operation_digest, use.outcome) for use in view.uses] == [
        (1, digest, "done"),
        (2, b"2" * 32, ""),
    ]


async def test_the_agent_hears_within_a_second_that_a_window_is_taken_back(
    control: ControlSide, running: RunningAgent
) -> None:
    approval, nonce, over = await granted(control, running)
    running.approvals.consumed(approval, nonce, 1)
    await running.acknowledged()
    async with control.world.units() as uow:
        await windows.end(uow, control.world.principal("bob"), approval, "enough")
    await running.until(lambda: over, 1)
    assert over == ["ended by bob: enough"]
    assert running.answers.empty()


async def test_an_approver_who_may_no_longer_ends_it_within_a_second(
    control: ControlSide, running: RunningAgent
) -> None:
    _, _, over = await granted(control, running)
    control.world.neighbours.change("ada", may_review=False)
    await control.world.upkeep.void_what_fell()
    await running.until(lambda: over, 1)
    assert over == ["somebody who approved it may no longer approve it"]


async def test_what_ended_while_the_link_was_cut_is_heard_after_it(control: ControlSide, running: RunningAgent) -> None:
    approval, nonce, over = await granted(control, running)
    running.approvals.consumed(approval, nonce, 1)
    await running.acknowledged()
    await control.feature.server.stop()
    await running.until(lambda: not running.link.reachable)
    control.world.clock.instant += timedelta(minutes=11)
    await control.world.keeper.end_what_is_due()
    await control.replaced()
    await running.until(lambda: over)
    assert over == ["its time is over"]


async def test_a_window_that_the_agent_ends_is_over(control: ControlSide, running: RunningAgent) -> None:
    approval, nonce, _ = await granted(control, running)
    running.approvals.consumed(approval, nonce, 1)
    running.approvals.finished(approval, "done", "DELETE 1", 1)
    running.approvals.cancel(approval, "a policy, the approval chain or the target has changed")
    await running.acknowledged()
    assert (await view_of(control, approval)).row.state == State.ENDED
