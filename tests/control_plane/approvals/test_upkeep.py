"""What a request or a grant stands on may fall: it is voided at once, and never decided by mistake before that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from control_plane.approvals.domain import Outcome, Refusal, Refused, State
from control_plane.approvals.reports import DecidedAnswer
from control_plane.kit.tasks import spawn, stop
from tests.control_plane.world import World

Change = Callable[[World], None]


def disable_the_requester(world: World) -> None:
    bot = world.neighbours.subjects["idn_bot"]
    world.neighbours.subjects["idn_bot"] = msgspec.structs.replace(bot, enabled=False)


def revoke_the_credential(world: World) -> None:
    world.neighbours.credentials.clear()


def change_the_policy(world: World) -> None:
    world.neighbours.revision += 1


FALLS = [disable_the_requester, revoke_the_credential, change_the_policy]


@pytest.mark.parametrize("change", FALLS)
async def test_pending_is_voided(world: World, change: Change) -> None:
    approval = await world.held()
    change(world)
    await world.upkeep.void_what_fell()
    answer = await world.answer(approval)
    assert isinstance(answer, DecidedAnswer)
    assert answer.outcome is Outcome.CANCELLED
    assert answer.reason
    assert await world.state(approval) == State.VOIDED


@pytest.mark.parametrize("change", FALLS)
async def test_a_grant_that_is_not_used_yet_lapses(world: World, change: Change) -> None:
    approval = await world.held()
    await world.approve("ada", approval)
    change(world)
    await world.upkeep.void_what_fell()
    assert await world.state(approval) == State.LAPSED
    answer = await world.answer(approval)
    assert isinstance(answer, DecidedAnswer)
    assert answer.grant is None


@pytest.mark.parametrize("change", FALLS)
async def test_a_decision_that_comes_before_the_upkeep_is_refused(world: World, change: Change) -> None:
    approval = await world.held()
    change(world)
    ruling = await world.approve("ada", approval)
    assert isinstance(ruling, Refused)
    assert ruling.why is Refusal.OVER
    assert await world.state(approval) == State.VOIDED


@pytest.mark.parametrize("lost", [{"may_review": False}, {"enabled": False}, {"groups": frozenset()}])
async def test_a_grant_lapses_when_who_approved_it_may_no_longer(world: World, lost: dict[str, object]) -> None:
    approval = await world.held()
    await world.approve("ada", approval)
    world.neighbours.change("ada", **lost)
    await world.upkeep.void_what_fell()
    assert await world.state(approval) == State.LAPSED


async def test_pending_is_voided_when_nobody_is_left_to_approve(world: World) -> None:
    approval = await world.held()
    world.neighbours.change("ada", enabled=False)
    await world.upkeep.void_what_fell()
    assert await world.state(approval) == State.PENDING
    world.neighbours.change("bob", enabled=False)
    await world.upkeep.void_what_fell()
    assert await world.state(approval) == State.VOIDED


async def test_what_still_stands_stays(world: World) -> None:
    pending = await world.held()
    approved = (await world.ask(world.request())).approval_id
    await world.approve("ada", approved)
    await world.upkeep.void_what_fell()
    assert [await world.state(pending), await world.state(approved)] == [State.PENDING, State.APPROVED]


async def test_a_new_snapshot_is_enough(world: World) -> None:
    approval = await world.held()
    task = spawn(world.upkeep.run(), "upkeep")
    async with world.events.subscribe("approval") as news:
        change_the_policy(world)
        async with world.units() as uow:
            await uow.snapshot_changed()
        async with asyncio.timeout(5):
            while await world.state(approval) != State.VOIDED:
                await news.get()
    await stop(task)
