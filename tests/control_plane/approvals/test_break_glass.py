"""Breaking glass over a database: the grant, who is told, the review that somebody else closes, and races."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest
from sqlmodel import select

from control_plane.approvals.broken_glass import REVIEW_WITHIN, Show
from control_plane.approvals.domain import Agreed, Denied, Outcome, Refusal, Refused, Stage, State
from control_plane.approvals.domain.emergency import Broken
from control_plane.approvals.errors import GlassNotBrokenError, NotYoursError, ReviewClosedError
from control_plane.approvals.reports import DecidedAnswer
from control_plane.kit.outbox import NoticeRow
from control_plane.kit.pagination import Paging
from tests.control_plane.approvals.acting import asked_of, break_glass, close_review, give, review_of
from tests.control_plane.approvals.grants import grant_of
from tests.control_plane.notifications.post import Fixed, Post
from tests.control_plane.world import World, person

TWO_STAGES = (Stage(("dba",), 2, 900), Stage(("security",), 1, 900))


@pytest.fixture(autouse=True)
def emergency(world: World) -> None:
    """A chain of two stages that may be overridden; `max` may do it and is no reviewer."""
    asked_of(world, *TWO_STAGES, break_glass=True)
    world.neighbours.persons["idn_max"] = person("max", may_review=False, may_break_glass=True)


@pytest.fixture
async def replica(world: World) -> AsyncIterator[World]:
    other = world.on_another_replica()
    yield other
    await other.database.close()


async def reviews(world: World, show: Show, name: str = "ada", *roles: str) -> list[str]:
    async with world.units.reading() as uow:
        found, _ = await world.broken_glass.listed(uow, world.principal(name, *roles), show, Paging())
    return [one.review.approval_id for one in found]


async def test_it_overrides_the_chain_and_the_grant_says_how(world: World) -> None:
    approval = await world.held()
    await world.approve("ada", approval)
    assert isinstance(await break_glass(world, "max", approval), Broken)
    answer = await world.answer(approval)
    assert isinstance(answer, DecidedAnswer)
    assert answer.outcome is Outcome.APPROVED
    signed = (await grant_of(world, approval))["approvals"]
    assert [(one["name"], one["channel"]) for one in signed] == [("ada", "console"), ("max", "break-glass")]


async def test_everybody_who_is_skipped_is_told_and_a_review_is_opened(world: World) -> None:
    await give(world, "eve", "ada")
    approval = await world.held()
    await world.approve("ada", approval)
    await break_glass(world, "max", approval, reason="the shop is down")
    async with world.units.reading() as uow:
        told = {one.kind: one for one in (await uow.session.exec(select(NoticeRow))).all() if one.key == approval}
    assert told["approval.break-glass"].data["recipients"] == ["idn_bob", "idn_eve"]
    assert told["approval.break-glass"].data["reason"] == "the shop is down"
    assert "review.opened" in told
    review = await review_of(world, approval)
    assert review is not None
    assert [one["name"] for one in review.skipped] == ["bob", "eve"]
    (event,) = await world.audited("approval.glass-broken")
    assert json.loads(event.data)["reason"] == "the shop is down"
    assert json.loads(event.data)["skipped"] == [{"id": "idn_bob", "name": "bob"}, {"id": "idn_eve", "name": "eve"}]


async def test_a_mail_about_it_goes_to_those_who_were_skipped(world: World) -> None:
    """Nobody can decide any more, so "who can decide now" would be nobody."""
    approval = await world.held()
    await break_glass(world, "max", approval)
    _, facts = await Post(world, Fixed()).given("approval.break-glass", approval)
    assert [one.name for one in facts.recipients] == ["ada", "bob", "eve"]


async def test_what_is_refused_changes_nothing_and_is_audited(world: World) -> None:
    approval = await world.held()
    for name in ("eve", "owner"):
        world.neighbours.change(name, may_break_glass=name == "owner")
        ruling = await break_glass(world, name, approval)
        assert isinstance(ruling, Refused)
        assert ruling.why is Refusal.NOT_ENTITLED
    stale = msgspec.structs.replace(world.principal("max", "break-glass"), authenticated_at=world.clock.now())
    world.clock.advance(301)
    old = await break_glass(world, "max", approval, by=stale)
    assert isinstance(old, Refused)
    assert old.why is Refusal.REAUTHENTICATE
    assert await world.state(approval) == State.PENDING
    assert await review_of(world, approval) is None
    assert len(await world.audited("approval.break-glass-refused")) == 3


async def test_a_machine_never_breaks_glass_whatever_it_may(world: World) -> None:
    approval = await world.held()
    robot = person("robot", may_break_glass=True, kind="machine")
    world.neighbours.persons[robot.id] = robot
    assert isinstance(await break_glass(world, "robot", approval), Refused)
    lying = msgspec.structs.replace(world.principal("max", "break-glass"), kind="machine")
    assert isinstance(await break_glass(world, "max", approval, by=lying), Refused)


async def test_a_chain_that_does_not_offer_it_is_not_overridden(world: World) -> None:
    asked_of(world, *TWO_STAGES)
    approval = await world.held()
    assert isinstance(await break_glass(world, "max", approval), Refused)
    view = await world.view(approval, "max")
    assert view.acts.why_not_break_glass == "its approval chain does not allow breaking glass"


async def test_what_is_not_used_yet_is_void_when_the_breaker_loses_the_permission(world: World) -> None:
    approval = await world.held()
    await break_glass(world, "max", approval)
    await world.upkeep.void_what_fell()
    assert await world.state(approval) == State.APPROVED
    world.neighbours.change("max", may_break_glass=False)
    await world.upkeep.void_what_fell()
    assert await world.state(approval) == State.LAPSED


async def test_those_who_were_skipped_losing_a_role_changes_nothing(world: World) -> None:
    approval = await world.held()
    await break_glass(world, "max", approval)
    world.neighbours.change("eve", may_review=False)
    await world.upkeep.void_what_fell()
    assert await world.state(approval) == State.APPROVED


async def test_a_request_that_no_longer_stands_is_void_not_forced_through(world: World) -> None:
    approval = await world.held()
    world.neighbours.revision += 1
    ruling = await break_glass(world, "max", approval)
    assert isinstance(ruling, Refused)
    assert await world.state(approval) == State.VOIDED


# ------------------------------------------------------------------ the review


async def test_somebody_else_closes_it_once(world: World) -> None:
    approval = await world.held()
    await break_glass(world, "max", approval)
    assert await reviews(world, Show.OPEN) == [approval]
    await close_review(world, "ada", approval)
    review = await review_of(world, approval)
    assert review is not None
    assert (review.closed_by, review.verdict, review.comment) == ("ada", "justified", "it was")
    with pytest.raises(ReviewClosedError):
        await close_review(world, "eve", approval)
    assert await reviews(world, Show.OPEN) == []
    assert await reviews(world, Show.CLOSED) == [approval]
    async with world.units.reading() as uow:
        told = (await uow.session.exec(select(NoticeRow).where(NoticeRow.kind == "review.closed"))).one()
    assert (told.key, told.data["by"], told.data["verdict"]) == (approval, "ada", "justified")
    assert [row.kind for row in await world.audited("approval.break-glass-reviewed")] == [
        "approval.break-glass-reviewed"
    ]


@pytest.mark.parametrize(
    ("name", "roles"),
    [("max", ("break-glass", "reviewer")), ("owner", ("reviewer",)), ("eve", ("break-glass",))],
    ids=["who broke it", "the owner", "who may only break it"],
)
async def test_who_does_not_close_it(world: World, name: str, roles: tuple[str, ...]) -> None:
    approval = await world.held()
    await break_glass(world, "max", approval)
    with pytest.raises(NotYoursError):
        await close_review(world, name, approval, *roles)


async def test_a_machine_does_not_close_it(world: World) -> None:
    approval = await world.held()
    await break_glass(world, "max", approval)
    world.neighbours.change("eve", kind="machine")
    with pytest.raises(NotYoursError):
        await close_review(world, "eve", approval)


async def test_who_sees_no_requests_sees_no_reviews(world: World) -> None:
    approval = await world.held()
    await break_glass(world, "max", approval)
    with pytest.raises(NotYoursError):
        await reviews(world, Show.ALL, "eve", "requester")
    with pytest.raises(GlassNotBrokenError):
        await close_review(world, "eve", approval, "requester")


async def test_one_that_stays_open_becomes_overdue(world: World) -> None:
    approval = await world.held()
    await break_glass(world, "max", approval)
    assert await reviews(world, Show.OVERDUE) == []
    world.clock.advance(REVIEW_WITHIN.total_seconds())
    assert await reviews(world, Show.OVERDUE) == [approval]
    await close_review(world, "ada", approval)
    assert await reviews(world, Show.OVERDUE) == []
    assert await reviews(world, Show.ALL) == [approval]


# ------------------------------------------------------------------ two at once

Act = Callable[[World, str], Awaitable[object]]


async def deny(world: World, approval: str) -> object:
    return await world.deny("bob", approval)


async def break_too(world: World, approval: str) -> object:
    return await break_glass(world, "jo", approval)


async def expire(world: World, _approval: str) -> object:
    return await world.keeper.end_what_is_due()


@pytest.mark.parametrize("second", [deny, break_too])
async def test_breaking_glass_and_anything_else_at_once_have_one_outcome(
    world: World, replica: World, second: Act
) -> None:
    world.neighbours.persons["idn_jo"] = person("jo", may_break_glass=True)
    await world.open_session()
    for _ in range(6):
        approval = (await world.ask(world.request())).approval_id
        rulings = await asyncio.gather(break_glass(world, "max", approval), second(replica, approval))
        assert sum(isinstance(one, Broken | Denied | Agreed) for one in rulings) == 1
        assert sum(isinstance(one, Refused) for one in rulings) == 1
        answer = await world.answer(approval)
        assert isinstance(answer, DecidedAnswer)
        assert (answer.grant is not None) == any(isinstance(one, Broken) for one in rulings)
        assert (await review_of(world, approval) is not None) == (answer.grant is not None)


async def test_at_the_deadline_it_is_either_broken_or_too_late(world: World, replica: World) -> None:
    await world.open_session()
    for moment, expected in ((299.0, State.APPROVED), (600.0, State.EXPIRED)):
        approval = (await world.ask(world.request())).approval_id
        world.clock.advance(moment)
        await asyncio.gather(break_glass(world, "max", approval), expire(replica, approval))
        assert await world.state(approval) == expected


async def test_two_who_close_the_review_at_once_leave_one_verdict(world: World, replica: World) -> None:
    approval = await world.held()
    await break_glass(world, "max", approval)
    done = await asyncio.gather(
        close_review(world, "ada", approval), close_review(replica, "eve", approval), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in done) == ["NoneType", "ReviewClosedError"]
