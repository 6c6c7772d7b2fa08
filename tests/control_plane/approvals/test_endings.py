"""The end of an identity: its requests and grants, what stood on its word, and what it handed over, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from control_plane.approvals.domain import Outcome, Stage, State
from control_plane.approvals.reports import DecidedAnswer
from control_plane.kit.unit_of_work import SYSTEM, Json
from tests.control_plane.approvals.acting import give
from tests.control_plane.approvals.planning import FIRST, SECOND, approved_plan, submit
from tests.control_plane.world import World, chain


async def ended(world: World, name: str) -> Mapping[str, Json]:
    """As identities do it: not able any more, and then this."""
    if name in world.neighbours.subjects:
        bot = world.neighbours.subjects[name]
        world.neighbours.subjects[name] = msgspec.structs.replace(bot, enabled=False)
    else:
        world.neighbours.change(name.removeprefix("idn_"), enabled=False)
    async with world.units() as uow:
        return await world.endings.ended(uow, SYSTEM, [name], "left")


async def nothing_but(told: Mapping[str, Json], **expected: Any) -> None:
    assert told == {"holds": [], "grants": [], "plans": [], "access": [], "delegations": [], **expected}


async def test_what_it_asked_for_is_over_whatever_kind_it_is(world: World) -> None:
    granted = await world.held()
    await world.approve("ada", granted)
    held = (await world.ask()).approval_id
    ticket = (await world.ask(world.request(ticket=True))).approval_id
    plan = await approved_plan(world, FIRST)
    asked = await submit(world, SECOND)
    told = await ended(world, "idn_bot")
    await nothing_but(told, holds=sorted([held, ticket]), grants=[granted], plans=sorted([plan, asked]))
    states = [await world.state(one) for one in (granted, held, ticket, plan, asked)]
    assert states == [State.LAPSED, State.VOIDED, State.VOIDED, State.LAPSED, State.VOIDED]
    answer = await world.answer(granted)
    assert isinstance(answer, DecidedAnswer)
    assert (answer.outcome, answer.grant) == (Outcome.CANCELLED, None)


async def test_a_grant_that_stood_on_its_word_is_void(world: World) -> None:
    approval = await world.held()
    await world.approve("ada", approval)
    await nothing_but(await ended(world, "idn_ada"), grants=[approval])
    assert await world.state(approval) == State.LAPSED


async def test_its_word_on_what_waits_counts_no_more(world: World) -> None:
    world.neighbours.chains["dba"] = chain("dba", required=2)
    world.neighbours.change("eve", groups=frozenset({"dba"}))
    approval = await world.held()
    await world.approve("ada", approval)
    await nothing_but(await ended(world, "idn_ada"))
    assert await world.state(approval) == State.PENDING
    await world.approve("bob", approval)
    assert await world.state(approval) == State.PENDING, "ada's word would have made two"
    await world.approve("eve", approval)
    assert await world.state(approval) == State.APPROVED


async def test_what_it_handed_over_or_was_handed_is_taken_back(world: World) -> None:
    given, taken = await give(world, "ada", "eve"), await give(world, "bob", "ada")
    other = await give(world, "bob", "eve")
    approval = await world.held()
    await world.approve("eve", approval)
    told = await ended(world, "idn_ada")
    assert told["delegations"] == sorted([given.id, taken.id])
    assert other.id not in told["delegations"]
    assert await world.audited_kinds("delegation.revoked") == ["delegation.revoked"] * 2


async def test_what_was_agreed_in_its_place_is_void(world: World) -> None:
    await give(world, "ada", "eve")
    approval = await world.held()
    await world.approve("eve", approval)
    assert await world.state(approval) == State.APPROVED
    told = await ended(world, "idn_ada")
    assert told["grants"] == [approval]
    assert await world.state(approval) == State.LAPSED


async def test_what_others_asked_and_others_approved_stands(world: World) -> None:
    approval = await world.held()
    await world.approve("ada", approval)
    await nothing_but(await ended(world, "idn_bob"))
    assert await world.state(approval) == State.APPROVED


async def test_a_stage_that_lost_its_word_waits_again(world: World) -> None:
    world.neighbours.chains["dba"] = msgspec.structs.replace(
        chain("dba"), stages=(Stage(("dba",), 1, 900), Stage(("security",), 1, 900))
    )
    approval = await world.held()
    await world.approve("ada", approval)
    assert (await world.view(approval)).row.stage == 1
    await ended(world, "idn_ada")
    assert (await world.view(approval)).row.stage == 0
