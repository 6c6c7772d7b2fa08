"""Two at once: one outcome, audited once, told to everybody who listens, on one replica and on two."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from control_plane.approvals.domain import Agreed, Denied, Outcome, Refused, State
from control_plane.approvals.reports import CancelledReport, DecidedAnswer, PendingAnswer
from control_plane.kit.events import RESYNC, Subscription
from control_plane.sessions.reports import ClosedReport
from tests.control_plane.world import INSTANCE, REPORTER, World, chain

ENDINGS = {
    "approval.approved",
    "approval.denied",
    "approval.expired",
    "approval.cancelled",
    "approval.voided",
    "approval.refused",
}
ROUNDS = 6


@pytest.fixture
async def replica(world: World) -> AsyncIterator[World]:
    other = world.on_another_replica()
    yield other
    await other.database.close()


async def heard(news: Subscription, approval_id: str) -> None:
    async with asyncio.timeout(5):
        while item := await news.get():
            if item == RESYNC or item.key == approval_id:
                return


async def decided_once(world: World, approval_id: str) -> str:
    """The one ending in the audit log, which is also the state that is told."""
    kinds = [row.kind for row in await world.audited("approval.") if row.subject == approval_id and row.kind in ENDINGS]
    assert len(kinds) == 1, kinds
    answer = await world.answer(approval_id)
    assert not isinstance(answer, PendingAnswer)
    return kinds[0]


Act = Callable[[World, str], Awaitable[object]]


async def approve(world: World, approval_id: str) -> object:
    return await world.approve("ada", approval_id)


async def approve_too(world: World, approval_id: str) -> object:
    return await world.approve("bob", approval_id)


async def deny(world: World, approval_id: str) -> object:
    return await world.deny("bob", approval_id)


async def expire(world: World, _approval_id: str) -> None:
    await world.keeper.end_what_is_due()


async def cancel(world: World, approval_id: str) -> None:
    async with world.units() as uow:
        await world.approvals.cancelled(uow, INSTANCE, CancelledReport(approval_id, "client-cancelled"))


async def disconnect(world: World, _approval_id: str) -> None:
    async with world.units() as uow:
        await world.sessions.closed(uow, REPORTER, ClosedReport("ses_1", world.clock.ms, "client-closed", 1))


async def revoke(world: World, _approval_id: str) -> None:
    world.neighbours.credentials.clear()
    await world.upkeep.void_what_fell()


async def lose_the_role(world: World, _approval_id: str) -> None:
    world.neighbours.change("ada", may_review=False)
    await world.upkeep.void_what_fell()


@pytest.mark.parametrize("second", [approve_too, deny, cancel, disconnect, revoke])
async def test_an_approval_and_anything_else_at_once_have_one_outcome(
    world: World, replica: World, second: Act
) -> None:
    await world.open_session()
    credentials = dict(world.neighbours.credentials)
    for _ in range(ROUNDS if second is not disconnect else 1):
        world.neighbours.credentials.update(credentials)
        approval = (await world.ask(world.request())).approval_id
        async with world.events.subscribe("approval") as news:
            await asyncio.gather(approve(world, approval), second(replica, approval))
            await heard(news, approval)
        ending = await decided_once(world, approval)
        answer = await world.answer(approval)
        assert isinstance(answer, DecidedAnswer)
        if answer.outcome is Outcome.APPROVED:
            assert ending == "approval.approved"
        assert (answer.grant is not None) == (answer.outcome is Outcome.APPROVED)


async def test_an_approval_and_the_loss_of_the_role_at_once_leave_no_grant(world: World, replica: World) -> None:
    await world.open_session()
    for _ in range(ROUNDS):
        world.neighbours.change("ada", may_review=True)
        approval = (await world.ask(world.request())).approval_id
        ruling, _ = await asyncio.gather(world.approve("ada", approval), lose_the_role(replica, approval))
        assert await world.state(approval) == (State.LAPSED if isinstance(ruling, Agreed) else State.PENDING)


async def test_of_two_reviewers_who_disagree_one_is_told_that_it_is_over(world: World, replica: World) -> None:
    await world.open_session()
    for _ in range(ROUNDS):
        approval = (await world.ask(world.request())).approval_id
        rulings = await asyncio.gather(world.approve("ada", approval), replica.deny("bob", approval))
        assert sum(isinstance(ruling, Agreed | Denied) for ruling in rulings) == 1
        assert sum(isinstance(ruling, Refused) for ruling in rulings) == 1
        winner = Outcome.APPROVED if isinstance(rulings[0], Agreed) else Outcome.DENIED
        answer = await world.answer(approval)
        assert isinstance(answer, DecidedAnswer)
        assert answer.outcome is winner


async def test_two_reviewers_of_two_at_once_make_one_grant_with_both(world: World, replica: World) -> None:
    world.neighbours.chains["dba"] = chain("dba", required=2)
    await world.open_session()
    for _ in range(ROUNDS):
        approval = (await world.ask(world.request())).approval_id
        await asyncio.gather(world.approve("ada", approval), replica.approve("bob", approval))
        assert await decided_once(world, approval) == "approval.approved"
        assert {vote.name for vote in (await world.view(approval)).votes} == {"ada", "bob"}


async def test_the_same_person_twice_at_once_counts_once(world: World, replica: World) -> None:
    world.neighbours.chains["dba"] = chain("dba", required=2)
    approval = await world.held()
    await asyncio.gather(world.approve("ada", approval), replica.approve("ada", approval), return_exceptions=True)
    assert await world.state(approval) == State.PENDING
    assert len((await world.view(approval)).votes) == 1


async def test_an_approval_at_the_deadline_is_either_given_or_too_late(world: World, replica: World) -> None:
    await world.open_session()
    for moment in (599.999, 600.0, 600.001):
        approval = (await world.ask(world.request())).approval_id
        world.clock.advance(moment)
        await asyncio.gather(approve(world, approval), expire(replica, approval))
        expected = "approval.approved" if moment < 600 else "approval.expired"
        assert await decided_once(world, approval) == expected


async def test_two_replicas_expire_it_once(world: World, replica: World) -> None:
    approval = await world.held()
    world.clock.advance(601)
    await asyncio.gather(expire(world, approval), expire(replica, approval))
    assert await decided_once(world, approval) == "approval.expired"


async def test_the_same_request_over_two_streams_is_one_request(world: World, replica: World) -> None:
    """A stream that is half dead and the one that follows it may deliver the same report."""
    await world.open_session()
    report = world.request()
    await asyncio.gather(world.ask(report), replica.ask(report), return_exceptions=True)
    assert await world.audited_kinds() == ["approval.requested"]
    assert isinstance(await world.ask(report), PendingAnswer)
