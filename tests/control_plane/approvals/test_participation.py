"""Comments and withdrawal over a database: who, how many, what the client gets, and races."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from sqlmodel import select

from control_plane.approvals.domain import Agreed, Outcome, Stage, State
from control_plane.approvals.errors import (
    ApprovalNotFoundError,
    ApprovalOverError,
    NotYoursError,
    TooManyCommentsError,
)
from control_plane.approvals.participation import MOST_COMMENTS, MOST_OF_ONE
from control_plane.approvals.reports import ConsumedReport, DecidedAnswer
from control_plane.kit.access import Principal
from control_plane.kit.errors import InvalidError
from control_plane.kit.outbox import NoticeRow
from tests.control_plane.approvals.acting import asked_of
from tests.control_plane.approvals.grants import nonce_of
from tests.control_plane.world import INSTANCE, World


@pytest.fixture
async def replica(world: World) -> AsyncIterator[World]:
    other = world.on_another_replica()
    yield other
    await other.database.close()


def bot(world: World, *roles: str) -> Principal:
    """The machine that asks."""
    ada = world.principal("ada", *(roles or ("requester",)))
    return msgspec.structs.replace(ada, identity="idn_bot", name="bot", kind="machine")


async def comment(world: World, who: Principal, approval: str, text: str = "why at noon?") -> None:
    async with world.units() as uow:
        await world.participation.comment(uow, who, approval, text)


async def withdraw(world: World, who: Principal, approval: str, reason: str = "wrong table") -> None:
    async with world.units() as uow:
        await world.participation.withdraw(uow, who, approval, reason)


async def test_reviewers_the_requester_and_the_owner_talk_about_it(world: World) -> None:
    approval = await world.held()
    for who in (world.principal("eve"), bot(world), world.principal("owner", "requester")):
        await comment(world, who, approval, f"said by {who.name}")
        world.clock.advance(1)
    said = (await world.view(approval)).acts.comments
    assert [(one.name, one.kind, one.text) for one in said] == [
        ("eve", "person", "said by eve"),
        ("bot", "machine", "said by bot"),
        ("owner", "person", "said by owner"),
    ]
    assert len(await world.audited("approval.commented")) == 3
    async with world.units.reading() as uow:
        told = (await uow.session.exec(select(NoticeRow).where(NoticeRow.kind == "approval.commented"))).all()
    assert [one.data["text"] for one in told] == ["said by eve", "said by bot", "said by owner"]


async def test_a_comment_decides_nothing_and_changes_nothing_that_was_shown(world: World) -> None:
    approval = await world.held()
    before = (await world.view(approval)).row.shown_digest
    await comment(world, world.principal("eve"), approval)
    view = await world.view(approval)
    assert (view.row.state, view.row.shown_digest) == (State.PENDING, before)


async def test_who_may_not_see_it_cannot_comment_and_who_only_audits_does_not(world: World) -> None:
    approval = await world.held()
    with pytest.raises(ApprovalNotFoundError):
        await comment(world, world.principal("eve", "requester"), approval)
    with pytest.raises(NotYoursError):
        await comment(world, world.principal("eve", "auditor"), approval)
    with pytest.raises(NotYoursError):
        stranger = msgspec.structs.replace(bot(world, "reviewer"), identity="idn_other")
        await comment(world, stranger, approval)


@pytest.mark.parametrize("text", ["", " \n", "\0", "x" * 2001])
async def test_a_comment_says_something_through_whatever_channel(world: World, text: str) -> None:
    approval = await world.held()
    with pytest.raises(InvalidError):
        await comment(world, world.principal("eve"), approval, text)


async def test_comments_are_bounded(world: World) -> None:
    approval = await world.held()
    for number in range(MOST_COMMENTS):
        who = ("ada", "bob", "eve", "owner")[number // MOST_OF_ONE]
        await comment(world, world.principal(who), approval, str(number))
    with pytest.raises(TooManyCommentsError):
        await comment(world, bot(world), approval)


async def test_nobody_silences_the_others(world: World) -> None:
    approval = await world.held()
    for number in range(MOST_OF_ONE):
        await comment(world, bot(world), approval, str(number))
    with pytest.raises(TooManyCommentsError):
        await comment(world, bot(world), approval)
    await comment(world, world.principal("ada"), approval)


async def test_people_go_on_when_the_request_is_over_and_machines_do_not(world: World) -> None:
    approval = await world.held()
    await world.deny("ada", approval)
    with pytest.raises(ApprovalOverError):
        await comment(world, bot(world), approval)
    await comment(world, world.principal("eve"), approval)
    assert len((await world.view(approval)).acts.comments) == 1


# ------------------------------------------------------------------ withdrawn


@pytest.mark.parametrize("who", ["bot", "owner"])
async def test_the_requester_or_the_owner_takes_it_back_and_the_client_is_told(world: World, who: str) -> None:
    approval = await world.held()
    await withdraw(world, bot(world) if who == "bot" else world.principal("owner", "requester"), approval)
    answer = await world.answer(approval)
    assert isinstance(answer, DecidedAnswer)
    assert (answer.outcome, answer.reason) == (Outcome.CANCELLED, f"taken back by {who}: wrong table")
    assert await world.audited_kinds() == ["approval.requested", "approval.cancelled"]


async def test_a_grant_that_is_not_used_goes_with_it(world: World) -> None:
    approval = await world.held()
    await world.approve("ada", approval)
    await withdraw(world, bot(world), approval)
    assert await world.state(approval) == State.LAPSED
    answer = await world.answer(approval)
    assert isinstance(answer, DecidedAnswer)
    assert answer.grant is None


async def test_what_runs_or_is_over_cannot_be_taken_back(world: World) -> None:
    approval = await world.held()
    await world.approve("ada", approval)
    async with world.units() as uow:
        report = ConsumedReport(approval, await nonce_of(world, approval))
        await world.approvals.grant_consumed(uow, INSTANCE, report)
    with pytest.raises(ApprovalOverError, match="executing"):
        await withdraw(world, bot(world), approval)


@pytest.mark.parametrize("roles", [("reviewer",), ("auditor",)])
async def test_nobody_else_takes_it_back(world: World, roles: tuple[str, ...]) -> None:
    approval = await world.held()
    with pytest.raises(NotYoursError):
        await withdraw(world, world.principal("ada", *roles), approval)
    assert await world.state(approval) == State.PENDING


async def test_taken_back_and_approved_at_once_have_one_outcome(world: World, replica: World) -> None:
    """Whatever comes first: in the end the client has no grant that stands."""
    await world.open_session()
    for _ in range(6):
        approval = (await world.ask(world.request())).approval_id
        ruling, _ = await asyncio.gather(world.approve("ada", approval), withdraw(replica, bot(world), approval))
        expected = State.LAPSED if isinstance(ruling, Agreed) else State.CANCELLED
        assert await world.state(approval) == expected


# ------------------------------------------------------------------ denied


async def test_a_denial_at_any_stage_reaches_the_client_with_its_reason(world: World) -> None:
    asked_of(world, Stage(("dba",), 2, 900), Stage(("security",), 1, 900))
    await world.open_session()
    for before, who in ((0, "ada"), (1, "bob"), (2, "eve")):
        approval = (await world.ask(world.request())).approval_id
        for name in ("ada", "bob")[:before]:
            await world.approve(name, approval)
        await world.deny(who, approval, f"{who} says no")
        answer = await world.answer(approval)
        assert isinstance(answer, DecidedAnswer)
        assert (answer.outcome, answer.reason, answer.grant) == (Outcome.DENIED, f"{who} says no", None)
