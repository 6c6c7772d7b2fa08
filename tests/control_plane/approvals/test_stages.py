"""A chain on its way: stages one after another, more people when one is silent, reminders, and what survives a restart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from sqlmodel import col, select

from control_plane.approvals import repository
from control_plane.approvals.domain import Agreed, Chain, Counted, Escalation, Refused, Requirement, Stage, State
from control_plane.approvals.reports import DecidedAnswer, PendingAnswer
from control_plane.kit.outbox import NoticeRow
from tests.control_plane.world import World, person

DBA, SECURITY = Stage(("dba",), 1, 900, name="database"), Stage(("security",), 1, 300)
ESCALATING = Stage(("dba",), 1, 300, escalation=Escalation(120, ("leads",)))


def with_chain(world: World, *stages: Stage, **options: float) -> None:
    world.neighbours.chains["dba"] = Chain("dba", stages, 300, **options)


@pytest.fixture
def leads(world: World) -> World:
    for name in ("leo", "lea"):
        world.neighbours.persons[f"idn_{name}"] = person(name, "leads")
    return world


@pytest.fixture
async def replica(world: World) -> AsyncIterator[World]:
    other = world.on_another_replica()
    yield other
    await other.database.close()


async def notices(world: World, approval: str, kind: str) -> list[dict[str, object]]:
    async with world.units.reading() as uow:
        mine = (col(NoticeRow.key) == approval, col(NoticeRow.kind) == kind)
        found = await uow.session.exec(select(NoticeRow).where(*mine).order_by(col(NoticeRow.id)))
        return [row.data for row in found.all()]


async def due_in(world: World, approval: str) -> float:
    """Seconds until the keeper looks at it again, once it has done what is due."""
    await world.keeper.end_what_is_due()
    due = (await world.view(approval)).row.due_at_ms
    assert due is not None
    return (due - world.clock.ms) / 1000


async def asks(world: World, approval: str) -> str:
    answer = await world.answer(approval)
    assert isinstance(answer, PendingAnswer), answer
    return answer.reviewers


# ------------------------------------------------------------------ one stage after another


async def test_a_client_is_told_who_is_asked_at_each_stage(world: World) -> None:
    with_chain(world, DBA, SECURITY)
    approval = await world.held()
    assert await asks(world, approval) == "1 of group dba (database, stage 1 of 2)"
    assert isinstance(await world.approve("ada", approval), Counted)
    assert await asks(world, approval) == "1 of group security (stage 2 of 2)"
    assert isinstance(await world.approve("eve", approval), Agreed)


async def test_the_time_of_a_stage_begins_when_the_one_before_has_agreed(world: World) -> None:
    with_chain(world, DBA, SECURITY)
    await world.open_session()
    approval = (await world.ask(world.request(wait_until_ms=world.clock.ms + 7_200_000))).approval_id
    world.clock.advance(800)
    await world.approve("ada", approval)
    world.clock.advance(299)
    await world.keeper.end_what_is_due()
    assert await world.state(approval) == State.PENDING
    world.clock.advance(1)
    assert isinstance(await world.approve("eve", approval), Refused), "at the deadline it is too late"
    await world.keeper.end_what_is_due()
    assert await world.state(approval) == State.EXPIRED


async def test_no_stage_outlives_the_client_or_the_chain(world: World) -> None:
    with_chain(world, DBA, SECURITY, approve_within_seconds=1000)
    await world.open_session()
    waits_long = (await world.ask(world.request(wait_until_ms=world.clock.ms + 7_200_000))).approval_id
    goes_soon = (await world.ask(world.request(wait_until_ms=world.clock.ms + 60_000))).approval_id
    begun = world.clock.ms
    assert (await world.view(waits_long)).row.approve_by_ms == begun + 1_000_000
    assert (await world.view(goes_soon)).row.approve_by_ms == begun + 60_000
    world.clock.advance(60)
    await world.keeper.end_what_is_due()
    assert [await world.state(one) for one in (waits_long, goes_soon)] == [State.PENDING, State.EXPIRED]
    world.clock.advance(800)
    await world.approve("ada", waits_long)
    assert await due_in(world, waits_long) == 140, "not 300: the chain is over before the stage"


async def test_who_may_no_longer_approve_leaves_a_place_that_is_filled_before_the_chain_goes_on(world: World) -> None:
    with_chain(world, DBA, SECURITY)
    approval = await world.held()
    await world.approve("ada", approval)
    world.neighbours.change("ada", groups=frozenset())
    await world.upkeep.void_what_fell()
    assert await asks(world, approval) == "1 of group dba (database, stage 1 of 2)"
    assert [json.loads(row.data)["stage"] for row in await world.audited("approval.stage-changed")] == [0]
    assert [one["stage"] for one in await notices(world, approval, "approval.stage-changed")] == [0]
    assert isinstance(await world.approve("eve", approval), Refused)
    assert isinstance(await world.approve("bob", approval), Counted)
    assert isinstance(await world.approve("eve", approval), Agreed)


async def test_a_tree_says_who_is_missing_and_who_took_which_place(world: World) -> None:
    both = Requirement(
        all_of=(
            Requirement(("dba",), 2),
            Requirement(any_of=(Requirement(("security",)), Requirement(people=("zoe",)))),
        )
    )
    world.neighbours.persons["idn_zoe"] = person("zoe")
    with_chain(world, Stage(timeout_seconds=900, all_of=both.all_of))
    approval = await world.held()
    assert await asks(world, approval) == "2 of group dba and (1 of group security or zoe)"
    await world.approve("zoe", approval)
    await world.approve("ada", approval)
    view = await world.view(approval, "bob")
    assert [(one.vote.name, one.place.path) for one in view.progress.places] == [("ada", (0,)), ("zoe", (1, 1))]
    assert view.may_decide
    assert not (await world.view(approval, "eve")).may_decide
    assert isinstance(await world.approve("bob", approval), Agreed)


# ------------------------------------------------------------------ silence


async def test_a_silent_stage_asks_more_people_once_and_then_ends(leads: World) -> None:
    world = leads
    with_chain(world, ESCALATING)
    approval = await world.held()
    assert await asks(world, approval) == "1 of group dba"
    assert isinstance(await world.approve("leo", approval), Refused)
    world.clock.advance(300)
    assert await due_in(world, approval) == 120
    assert await asks(world, approval) == "1 of group dba or group leads besides"
    (escalated,) = await world.audited("approval.escalated")
    assert (escalated.actor_kind, json.loads(escalated.data)["stage"]) == ("system", 0)
    assert await notices(world, approval, "approval.escalated") == [
        {"stage": 0, "stage_by_ms": world.clock.ms + 120_000, "asks": "1 of group dba or group leads besides"}
    ]
    world.clock.advance(120)
    assert await world.keeper.end_what_is_due() is None
    answer = await world.answer(approval)
    assert isinstance(answer, DecidedAnswer)
    assert (answer.outcome, answer.reason) == ("expired", "nobody decided in time")
    assert len(await world.audited("approval.escalated")) == 1


@pytest.mark.parametrize("name", ["leo", "ada"])
async def test_after_an_escalation_those_who_were_asked_before_and_those_added_may_approve(
    leads: World, name: str
) -> None:
    with_chain(leads, ESCALATING)
    approval = await leads.held()
    leads.clock.advance(301)
    await leads.keeper.end_what_is_due()
    assert isinstance(await leads.approve(name, approval), Agreed)
    (place,) = (await leads.view(approval)).progress.places
    assert place.place.added is (name == "leo")


async def test_until_more_are_asked_those_who_are_asked_may_go_on(leads: World) -> None:
    """The stage's time is over, and the keeper has not come by yet."""
    with_chain(leads, ESCALATING)
    approval = await leads.held()
    leads.clock.advance(301)
    assert isinstance(await leads.approve("leo", approval), Refused)
    assert isinstance(await leads.approve("ada", approval), Agreed)


async def test_an_escalation_that_came_late_has_its_time_all_the_same(leads: World, replica: World) -> None:
    """Nobody ran meanwhile; another process starts."""
    with_chain(leads, ESCALATING)
    await leads.open_session()
    approval = (await leads.ask(leads.request(wait_until_ms=leads.clock.ms + 7_200_000))).approval_id
    leads.clock.advance(310)
    await replica.keeper.end_what_is_due()
    assert await due_in(leads, approval) == 110, "the chain's own time has an end too"
    assert (await leads.view(approval)).seen.request.escalated == {0}
    assert isinstance(await leads.approve("lea", approval), Agreed)


async def test_a_stage_after_the_one_that_asked_more_people_asks_its_own_only(leads: World) -> None:
    with_chain(leads, ESCALATING, SECURITY)
    await leads.open_session()
    approval = (await leads.ask(leads.request(wait_until_ms=leads.clock.ms + 7_200_000))).approval_id
    leads.clock.advance(300)
    await leads.keeper.end_what_is_due()
    await leads.approve("leo", approval)
    assert isinstance(await leads.approve("lea", approval), Refused)
    assert isinstance(await leads.approve("eve", approval), Agreed)


async def test_people_are_reminded_while_it_waits_and_not_after(world: World) -> None:
    with_chain(world, DBA, remind_every_seconds=200)
    approval = await world.held()
    for _ in range(2):
        world.clock.advance(200)
        assert await due_in(world, approval) == 200
    assert len(await notices(world, approval, "approval.reminded")) == 2
    assert len(await world.audited("approval.reminded")) == 2
    await world.approve("ada", approval)
    world.clock.advance(200)
    await world.keeper.end_what_is_due()
    assert len(await notices(world, approval, "approval.reminded")) == 2


async def test_what_should_have_been_reminded_of_while_nobody_ran_is_once(world: World) -> None:
    with_chain(world, DBA, remind_every_seconds=100)
    approval = await world.held()
    world.clock.advance(550)
    assert await due_in(world, approval) == 50, "the client waits no longer"
    assert len(await notices(world, approval, "approval.reminded")) == 1


async def test_what_silence_means_is_said(leads: World) -> None:
    with_chain(leads, ESCALATING)
    silence = (await leads.view(await leads.held())).shown.silence
    assert silence.startswith("After 5m without enough agreement group leads is asked besides. If nobody decides")


# ------------------------------------------------------------------ at once


async def test_two_replicas_ask_more_people_once(leads: World, replica: World) -> None:
    with_chain(leads, ESCALATING)
    approval = await leads.held()
    leads.clock.advance(300)
    await asyncio.gather(leads.keeper.end_what_is_due(), replica.keeper.end_what_is_due())
    assert len(await leads.audited("approval.escalated")) == 1
    assert len(await notices(leads, approval, "approval.escalated")) == 1
    assert await leads.state(approval) == State.PENDING


async def test_an_approval_and_an_escalation_at_once_have_one_outcome(leads: World, replica: World) -> None:
    with_chain(leads, ESCALATING, SECURITY)
    await leads.open_session()
    for _ in range(4):
        approval = (await leads.ask(leads.request(wait_until_ms=leads.clock.ms + 7_200_000))).approval_id
        leads.clock.advance(300)
        ruling, _ = await asyncio.gather(leads.approve("ada", approval), replica.keeper.end_what_is_due())
        assert isinstance(ruling, Counted)
        assert await asks(leads, approval) == "1 of group security (stage 2 of 2)"
        assert (await leads.view(approval)).row.stage_by_ms == leads.clock.ms + 300_000


async def test_two_stages_decided_at_once_come_in_order(world: World, replica: World) -> None:
    with_chain(world, DBA, SECURITY)
    await world.open_session()
    for _ in range(4):
        approval = (await world.ask(world.request())).approval_id
        first, second = await asyncio.gather(world.approve("ada", approval), replica.approve("eve", approval))
        assert isinstance(first, Counted)
        assert isinstance(second, Agreed | Refused)
        assert await world.state(approval) == (State.APPROVED if isinstance(second, Agreed) else State.PENDING)


async def test_a_request_from_before_stages_were_kept_goes_on(world: World) -> None:
    """As the migration leaves it: its chain in the words of that time, the next deadline that of the whole."""
    approval = await world.held()
    async with world.units() as uow:
        row = await repository.locked(uow.session, approval)
        assert row is not None
        stage = {"groups": ["dba"], "required": 1, "timeout_seconds": 900.0}
        row.chain = json.dumps({"name": "dba", "stages": [stage], "execute_within_seconds": 300.0})
        row.stage_by_ms, row.due_at_ms = None, row.approve_by_ms
        uow.session.add(row)
    assert await asks(world, approval) == "1 of group dba"
    assert await due_in(world, approval) == 600
    assert isinstance(await world.approve("ada", approval), Agreed)
