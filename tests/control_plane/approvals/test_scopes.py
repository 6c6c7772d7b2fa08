"""Who reviews where, and whose turn it is: asked at every decision, in every list, of everybody who has agreed."""

from __future__ import annotations

import pytest

from control_plane.approvals.domain import Agreed, Chain, Counted, Refusal, Refused, Scope, Stage, State
from control_plane.approvals.ports import TargetFacts
from control_plane.approvals.reports import DecidedAnswer
from control_plane.approvals.review import Mode
from tests.control_plane.world import World, operation_of, person

PRODUCTION, STAGING = (Scope(("production",)),), (Scope(("staging",)),)
ELSEWHERE = "this identity does not review this environment or this target"
ON_CALL = Chain("dba", (Stage(on_call=("web",), timeout_seconds=900),), 300)


async def of_staging(world: World) -> str:
    world.neighbours.targets["copy"] = TargetFacts("copy", "postgres", "staging", {})
    await world.open_session("ses_2", target="copy")
    operation = operation_of("ses_2", target="copy")
    return (await world.ask(world.request(session_id="ses_2", operation=operation))).approval_id


# ------------------------------------------------------------------ where


async def test_a_reviewer_of_production_does_not_decide_on_staging_nor_the_other_way_round(world: World) -> None:
    world.neighbours.change("ada", scopes=PRODUCTION)
    world.neighbours.change("bob", scopes=STAGING)
    production, staging = await world.held(), await of_staging(world)
    for name, elsewhere, here in (("ada", staging, production), ("bob", production, staging)):
        for ruling in (await world.approve(name, elsewhere), await world.deny(name, elsewhere)):
            assert ruling == Refused(Refusal.NOT_ENTITLED, ELSEWHERE)
        assert (await world.view(elsewhere, name)).why == ELSEWHERE
        assert await world.ids(name, Mode.MINE) == [here]
    for name, here in (("ada", production), ("bob", staging)):
        assert isinstance(await world.approve(name, here), Agreed)


async def test_a_scope_may_ask_for_labels_of_the_target(world: World) -> None:
    world.neighbours.change("ada", scopes=(Scope(labels={"team": "billing"}),))
    world.neighbours.change("bob", scopes=(Scope(("production",), {"team": "shop"}),))
    approval = await world.held()
    assert isinstance(await world.approve("ada", approval), Refused)
    assert isinstance(await world.approve("bob", approval), Agreed)


async def test_of_several_scopes_one_is_enough(world: World) -> None:
    world.neighbours.change("ada", scopes=(*STAGING, Scope(labels={"team": "shop"})))
    assert isinstance(await world.approve("ada", await world.held()), Agreed)


async def test_a_request_that_nobody_reviews_here_is_refused_at_once(world: World) -> None:
    for name in ("ada", "bob"):
        world.neighbours.change(name, scopes=STAGING)
    await world.open_session()
    answer = await world.ask()
    assert isinstance(answer, DecidedAnswer)
    assert answer.reason == "approval chain 'dba' needs 1 of group dba, and 0 could approve this request"


async def test_a_grant_lapses_when_who_approved_it_no_longer_reviews_here(world: World) -> None:
    approval = await world.held()
    await world.approve("ada", approval)
    world.neighbours.change("ada", scopes=STAGING)
    await world.upkeep.void_what_fell()
    assert await world.state(approval) == State.LAPSED
    answer = await world.answer(approval)
    assert isinstance(answer, DecidedAnswer)
    assert answer.grant is None


async def test_pending_is_voided_when_the_last_who_reviews_here_goes_elsewhere(world: World) -> None:
    approval = await world.held()
    world.neighbours.change("ada", scopes=STAGING)
    await world.upkeep.void_what_fell()
    assert await world.state(approval) == State.PENDING
    world.neighbours.change("bob", scopes=())
    await world.upkeep.void_what_fell()
    assert await world.state(approval) == State.VOIDED


# ------------------------------------------------------------------ whose turn


@pytest.fixture
def duty(world: World) -> World:
    world.neighbours.chains["dba"] = ON_CALL
    world.neighbours.persons["idn_ann"] = person("ann", on_call=frozenset({"web"}))
    world.neighbours.persons["idn_ben"] = person("ben")
    return world


def hand_over(world: World) -> None:
    world.neighbours.change("ann", on_call=frozenset())
    world.neighbours.change("ben", on_call=frozenset({"web"}))


async def test_whoever_is_on_call_now_decides(duty: World) -> None:
    approval = await duty.held()
    assert (await duty.ids("ann", Mode.MINE), await duty.ids("ben", Mode.MINE)) == ([approval], [])
    hand_over(duty)
    assert (await duty.ids("ann", Mode.MINE), await duty.ids("ben", Mode.MINE)) == ([], [approval])
    assert isinstance(await duty.approve("ann", approval), Refused)
    assert isinstance(await duty.approve("ben", approval), Agreed)


async def test_the_hand_over_ends_no_agreement_and_no_grant(duty: World) -> None:
    """Whose turn it was is a fact of the moment; it is kept with the agreement."""
    approval = await duty.held()
    await duty.approve("ann", approval)
    hand_over(duty)
    await duty.upkeep.void_what_fell()
    assert await duty.state(approval) == State.APPROVED
    assert [vote.on_call for vote in (await duty.view(approval)).seen.request.votes] == [("web",)]


@pytest.mark.parametrize("lost", [{"may_review": False}, {"enabled": False}, {"scopes": STAGING}])
async def test_but_whoever_agreed_on_call_must_still_be_a_reviewer_here(duty: World, lost: dict[str, object]) -> None:
    approval = await duty.held()
    await duty.approve("ann", approval)
    duty.neighbours.change("ann", **lost)
    await duty.upkeep.void_what_fell()
    assert await duty.state(approval) == State.LAPSED


async def test_an_agreement_given_on_call_is_reckoned_with_after_the_hand_over(duty: World) -> None:
    """Only ben is on call from then on, and he is wanted in the next stage."""
    duty.neighbours.chains["dba"] = Chain("dba", (*ON_CALL.stages, Stage(people=("ben",))), 300)
    approval = await duty.held()
    await duty.approve("ann", approval)
    hand_over(duty)
    await duty.upkeep.void_what_fell()
    assert await duty.state(approval) == State.PENDING
    assert isinstance(await duty.approve("ben", approval), Agreed)


async def test_two_turns_are_two_people(duty: World) -> None:
    duty.neighbours.chains["dba"] = Chain("dba", (Stage(("dba",), 2, 900, on_call=("web",)),), 300)
    approval = await duty.held()
    assert isinstance(await duty.approve("ann", approval), Counted)
    hand_over(duty)
    assert isinstance(await duty.approve("ben", approval), Agreed)


# ------------------------------------------------------------------ who is told


async def test_who_is_told_is_everybody_who_could_decide_now(world: World) -> None:
    world.neighbours.chains["dba"] = Chain("dba", (Stage(("dba",), 2, 900), Stage(("security",), 1, 900)), 300)
    world.neighbours.persons["idn_cyd"] = person("cyd", "dba", scopes=STAGING)
    approval = await world.held()

    async def told() -> list[str]:
        async with world.units.reading() as uow:
            return [one.person.name for one in await world.review.recipients(uow, approval)]

    assert await told() == ["ada", "bob"], "not the owner, not whoever reviews elsewhere"
    await world.approve("ada", approval)
    assert await told() == ["bob"]
    await world.approve("bob", approval)
    assert await told() == ["eve"]
    await world.deny("eve", approval)
    assert await told() == []
