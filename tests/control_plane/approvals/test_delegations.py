"""Delegations over a database: given, used, shown, taken back while somebody votes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlmodel import select

from control_plane.approvals.delegations import MOST_AT_ONCE, Given
from control_plane.approvals.domain import EVERYWHERE, Agreed, Counted, Outcome, Refused, Scope, Stage, State
from control_plane.approvals.errors import (
    DelegationNotFoundError,
    DelegationOverError,
    DelegationRefusedError,
    NotYoursError,
    TooManyDelegationsError,
)
from control_plane.approvals.reports import DecidedAnswer
from control_plane.approvals.review import Mode
from control_plane.approvals.upkeep import Upkeep
from control_plane.kit.outbox import NoticeRow
from tests.control_plane.approvals.acting import asked_of, give, take_back
from tests.control_plane.approvals.grants import grant_of
from tests.control_plane.world import World

TWO = Stage(("dba",), 2, 900)


@pytest.fixture
async def replica(world: World) -> AsyncIterator[World]:
    other = world.on_another_replica()
    yield other
    await other.database.close()


async def notices(world: World, kind: str) -> list[NoticeRow]:
    async with world.units.reading() as uow:
        found = await uow.session.exec(select(NoticeRow).where(NoticeRow.kind == kind).order_by(NoticeRow.id))
        return list(found.all())


async def test_the_delegate_approves_in_the_delegators_place_and_the_grant_says_so(world: World) -> None:
    approval = await world.held()
    assert isinstance(await world.approve("eve", approval), Refused)
    delegation = await give(world, "ada", "eve")
    assert isinstance(await world.approve("eve", approval), Agreed)
    (vote,) = (await world.view(approval)).votes
    assert (vote.name, vote.for_name, vote.delegation_id) == ("eve", "ada", delegation.id)
    (signed,) = (await grant_of(world, approval))["approvals"]
    assert (signed["name"], signed["for_name"]) == ("eve", "ada")
    (agreed,) = await world.audited("approval.agreed")
    assert json.loads(agreed.data)["for"] == "ada"


async def test_the_card_shows_who_stands_in_for_whom_until_when(world: World) -> None:
    approval = await world.held()
    delegation = await give(world, "ada", "eve")
    view = await world.view(approval, "eve")
    assert view.may_decide
    assert view.in_place_of is not None
    assert view.in_place_of.until_ms == delegation.until_ms
    assert [(row.delegate, row.delegator) for row in view.acts.stand_ins] == [("eve", "ada")]
    assert await world.ids("eve", Mode.MINE) == [approval]
    assert (await world.view(approval, "bob")).in_place_of is None


async def test_neither_of_the_two_counts_twice(world: World) -> None:
    asked_of(world, TWO)
    approval = await world.held()
    await give(world, "ada", "eve")
    assert isinstance(await world.approve("eve", approval), Counted)
    assert isinstance(await world.approve("ada", approval), Refused)
    assert isinstance(await world.approve("eve", approval), Refused)
    assert isinstance(await world.approve("bob", approval), Agreed)


async def test_it_is_limited_to_what_was_handed_over(world: World) -> None:
    approval = await world.held()
    await give(world, "ada", "eve", environments=("staging",))
    assert isinstance(await world.approve("eve", approval), Refused)
    await give(world, "ada", "eve", chains=("dba",), environments=("staging", "production"))
    assert isinstance(await world.approve("eve", approval), Agreed)


async def test_it_ends_by_itself_and_what_was_agreed_before_stands(world: World) -> None:
    asked_of(world, TWO)
    approval = await world.held()
    await give(world, "ada", "eve", days=1 / 24 / 60)
    assert isinstance(await world.approve("eve", approval), Counted)
    world.clock.advance(61)
    assert (await world.view(approval)).progress.missing == 1
    other = (await world.ask(world.request())).approval_id
    assert isinstance(await world.approve("eve", other), Refused)


async def test_a_delegate_who_loses_the_role_loses_what_was_agreed(world: World) -> None:
    approval = await world.held()
    await give(world, "ada", "eve")
    assert isinstance(await world.approve("eve", approval), Agreed)
    world.neighbours.change("ada", groups=frozenset())
    await world.upkeep.void_what_fell()
    assert await world.state(approval) == State.LAPSED


async def test_a_scope_that_is_lost_takes_with_it_what_was_agreed(world: World) -> None:
    """Of either of the two: the delegate's own, and the delegator's whose place it is."""
    for name in ("ada", "eve"):
        await world.open_session(f"ses_{name}")
        approval = (await world.ask(world.request(session_id=f"ses_{name}"))).approval_id
        delegation = await give(world, "ada", "eve")
        assert isinstance(await world.approve("eve", approval), Agreed)
        world.neighbours.change(name, scopes=(Scope(("staging",)),))
        await world.upkeep.void_what_fell()
        assert await world.state(approval) == State.LAPSED
        world.neighbours.change(name, scopes=(EVERYWHERE,))
        await take_back(world, "ada", delegation)


async def test_taking_it_back_voids_the_grant_that_rests_on_it(world: World) -> None:
    approval = await world.held()
    delegation = await give(world, "ada", "eve")
    await world.approve("eve", approval)
    await take_back(world, "ada", delegation)
    await world.upkeep.void_what_fell()
    assert await world.state(approval) == State.LAPSED
    answer = await world.answer(approval)
    assert isinstance(answer, DecidedAnswer)
    assert (answer.outcome, answer.grant) == (Outcome.CANCELLED, None)


async def test_upkeep_hears_of_it_by_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    approval = await world.held()
    delegation = await give(world, "ada", "eve")
    await world.approve("eve", approval)
    looked, look = asyncio.Event(), world.upkeep.void_what_fell

    async def look_and_tell() -> None:
        await look()
        looked.set()

    monkeypatch.setattr(world.upkeep, "void_what_fell", look_and_tell)
    running = asyncio.create_task(world.upkeep.run())
    try:
        await asyncio.wait_for(looked.wait(), 10)  # it has nothing more to do until it hears something
        async with world.events.subscribe("approval") as news:
            await take_back(world, "ada", delegation)
            async with asyncio.timeout(5):
                while await world.state(approval) != State.LAPSED:
                    await news.get()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_after_it_was_taken_back_both_may_decide_anew_in_their_own_places(world: World) -> None:
    asked_of(world, Stage(("dba", "security"), 2, 900))
    world.neighbours.change("eve", groups=frozenset({"web"}))
    approval = await world.held()
    delegation = await give(world, "ada", "eve")
    assert isinstance(await world.approve("eve", approval), Counted)
    await take_back(world, "ada", delegation)
    assert (await world.view(approval)).progress.missing == 2
    world.neighbours.change("eve", groups=frozenset({"security"}))
    assert isinstance(await world.approve("ada", approval), Counted)
    assert isinstance(await world.approve("eve", approval), Agreed)
    assert {(vote.name, vote.for_id) for vote in (await world.view(approval)).votes} == {("ada", ""), ("eve", "")}


async def test_a_denial_in_somebodys_place_is_a_denial(world: World) -> None:
    approval = await world.held()
    await give(world, "ada", "eve")
    await world.deny("eve", approval, "not like this")
    answer = await world.answer(approval)
    assert isinstance(answer, DecidedAnswer)
    assert (answer.outcome, answer.reason) == (Outcome.DENIED, "not like this")


# ------------------------------------------------------------------ who and what


@pytest.mark.parametrize("days", [0, -1, 91])
async def test_it_needs_an_end_that_is_not_far(world: World, days: float) -> None:
    with pytest.raises(DelegationRefusedError):
        await give(world, "ada", "bob", days=days)


@pytest.mark.parametrize("changed", [{"kind": "machine"}, {"enabled": False}, {"may_review": False}])
async def test_it_goes_to_a_living_human_who_is_a_reviewer(world: World, changed: dict[str, object]) -> None:
    world.neighbours.change("bob", **changed)
    with pytest.raises(DelegationRefusedError):
        await give(world, "ada", "bob")


@pytest.mark.parametrize(("delegate", "more"), [("ada", {}), ("nobody", {}), ("bob", {"chains": ("none",)})])
async def test_what_is_not_there_is_refused(world: World, delegate: str, more: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(DelegationRefusedError):
        await give(world, "ada", delegate, **more)


async def test_nobody_hands_over_without_end(world: World) -> None:
    for _ in range(MOST_AT_ONCE):
        await give(world, "ada", "bob")
    with pytest.raises(TooManyDelegationsError):
        await give(world, "ada", "bob")
    world.clock.advance(timedelta(days=2).total_seconds())
    await give(world, "ada", "bob")


async def test_who_may_take_it_back(world: World) -> None:
    delegation = await give(world, "ada", "bob")
    with pytest.raises(NotYoursError):
        await take_back(world, "eve", delegation)
    with pytest.raises(DelegationNotFoundError):
        await take_back(world, "eve", delegation, "requester")
    await take_back(world, "bob", delegation)
    with pytest.raises(DelegationOverError):
        await take_back(world, "ada", delegation)
    await take_back(world, "eve", await give(world, "ada", "bob"), "admin")


async def test_both_acts_are_audited_and_told_where_they_matter(world: World) -> None:
    approval = await world.held()
    delegation = await give(world, "ada", "eve")
    await give(world, "ada", "bob", environments=("staging",))
    await take_back(world, "ada", delegation)
    assert [row.kind for row in await world.audited("delegation.")] == [
        "delegation.given",
        "delegation.given",
        "delegation.revoked",
    ]
    told = await notices(world, "approval.delegated")
    assert [(one.key, one.data["delegate"], one.data["revoked"]) for one in told] == [
        (approval, "eve", False),
        (approval, "eve", True),
    ]


async def test_the_delegate_of_a_request_that_waits_gets_news_of_it(world: World) -> None:
    approval = await world.held()
    async with world.events.subscribe("approval") as news:
        await give(world, "ada", "eve")
        async with asyncio.timeout(5):
            assert (await news.get()).key == approval


# ------------------------------------------------------------------ two at once


async def test_taken_back_while_the_delegate_approves_no_grant_rests_on_it(world: World, replica: World) -> None:
    """Whichever comes first, with the upkeep that follows: what was agreed under it is not approved."""
    await world.open_session()
    upkeep = Upkeep(replica.units, replica.events, world.review._standing)
    for _ in range(6):
        approval = (await world.ask(world.request())).approval_id
        delegation = await give(world, "ada", "eve")
        ruling, _ = await asyncio.gather(world.approve("eve", approval), take_back(replica, "ada", delegation))
        await upkeep.void_what_fell()
        state = await world.state(approval)
        assert state == (State.LAPSED if isinstance(ruling, Agreed) else State.PENDING)


async def test_the_delegate_and_the_delegator_at_once_count_once(world: World, replica: World) -> None:
    asked_of(world, TWO)
    await world.open_session()
    delegation = await give(world, "ada", "eve")
    assert delegation.delegate == "eve"
    for _ in range(6):
        approval = (await world.ask(world.request())).approval_id
        rulings = await asyncio.gather(world.approve("eve", approval), replica.approve("ada", approval))
        assert sorted(type(ruling).__name__ for ruling in rulings) == ["Counted", "Refused"]
        assert (await world.view(approval)).progress.missing == 1


async def test_given_says_what_is_handed_over(world: World) -> None:
    given = Given("eve", world.clock.now() + timedelta(days=3), ("dba",), ("production",), "on holiday")
    async with world.units() as uow:
        row = await world.delegations.give(uow, world.principal("ada"), given)
    async with world.units.reading() as uow:
        found = await world.delegations.one(uow, world.principal("eve"), row.id)
    assert (found.delegator, found.delegate, found.chains, found.environments, found.note) == (
        "ada",
        "eve",
        ["dba"],
        ["production"],
        "on holiday",
    )
