"""An approved plan grants the operations that it names, each once, and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import msgspec
import pytest

from control_plane.approvals.domain import Agreed, Outcome, Refused, State
from control_plane.approvals.errors import NotAskableError
from control_plane.approvals.ports import CredentialFacts
from control_plane.approvals.reports import (
    CancelledReport,
    ConsumedReport,
    DecidedAnswer,
    FinishedReport,
    Parameter,
    PendingAnswer,
)
from control_plane.approvals.review import Mode
from tests.control_plane.approvals.grants import grant_of, nonce_of
from tests.control_plane.approvals.planning import FIRST, SECOND, approved_plan, hold, submit
from tests.control_plane.world import DIGEST, INSTANCE, World, chain, operation_of


def granted(answer: object) -> bool:
    return isinstance(answer, DecidedAnswer) and answer.outcome is Outcome.APPROVED and answer.grant is not None


@pytest.fixture
async def session(world: World) -> World:
    await world.open_session()
    return world


async def test_a_plan_waits_for_people_with_all_its_statements_in_one_card(world: World) -> None:
    plan = await submit(world, FIRST, SECOND)
    view = await world.view(plan)
    assert view.may_decide
    assert view.shown.plan is not None
    assert view.shown.plan.statements == (FIRST, SECOND)
    assert view.shown.asked.text == f"-- 1 of 2\n{FIRST}\n-- 2 of 2\n{SECOND}"
    assert view.shown.reason == "ticket 4711"
    assert await world.ids("ada", Mode.MINE) == [plan]
    assert isinstance(await world.approve("ada", plan, shown=bytes(32)), Refused)
    assert isinstance(await world.approve("ada", plan), Agreed)
    assert await world.audited_kinds() == ["approval.requested", "approval.decision-refused", "approval.agreed",
                                           "approval.approved"]  # fmt: skip


async def test_an_operation_of_an_approved_plan_is_granted_at_once_by_those_who_approved_the_plan(
    session: World,
) -> None:
    plan = await approved_plan(session, FIRST, SECOND)
    answer = await hold(session, FIRST)
    assert granted(answer)
    grant = await grant_of(session, answer.approval_id)
    assert msgspec.convert(grant["digest"], bytes) == DIGEST
    assert (grant["scope"], grant["session_id"]) == ("once", "ses_1")
    assert [one["name"] for one in grant["approvals"]] == ["ada"]
    view = await session.view(answer.approval_id)
    assert view.row.state == State.APPROVED
    shown_digest = (await session.view(plan)).row.shown_digest
    assert [(vote.name, vote.shown_digest) for vote in view.votes] == [("ada", shown_digest)]
    told = json.loads((await session.audited("approval.approved"))[-1].data)
    assert (told["plan"], told["number"], told["approvers"]) == (plan, 1, ["ada"])


async def test_each_statement_is_used_once_and_the_last_one_ends_the_plan(session: World) -> None:
    plan = await approved_plan(session, FIRST, SECOND)
    assert granted(await hold(session, FIRST))
    assert isinstance(await hold(session, FIRST), PendingAnswer)
    assert await session.state(plan) == State.APPROVED
    assert granted(await hold(session, SECOND))
    assert await session.state(plan) == State.ENDED
    assert isinstance(await hold(session, SECOND), PendingAnswer)


async def test_the_same_report_again_uses_nothing_again(session: World) -> None:
    await approved_plan(session, FIRST, FIRST)
    first = await hold(session, FIRST)
    async with session.units.reading() as uow:
        again = await session.approvals.decision_for(uow, INSTANCE, first.approval_id)
    assert again == first
    assert granted(await hold(session, FIRST))
    assert isinstance(await hold(session, FIRST), PendingAnswer)


async def test_an_ordered_plan_lets_nothing_run_before_what_stands_above_it(session: World) -> None:
    await approved_plan(session, FIRST, SECOND)
    assert isinstance(await hold(session, SECOND), PendingAnswer)
    assert granted(await hold(session, FIRST))
    assert granted(await hold(session, SECOND))


async def test_a_plan_without_order_takes_any_order(session: World) -> None:
    await approved_plan(session, FIRST, SECOND, ordered=False)
    assert granted(await hold(session, SECOND))
    assert granted(await hold(session, FIRST))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"text": "DELETE FROM orders"}, "text"),
        ({"parameters": (Parameter("$1", "int4", "1"),)}, "parameters"),
        ({"session_state": (("search_path", "evil"),)}, "session state"),
        ({"raw": b""}, "bytes"),
    ],
)
async def test_what_differs_in_anything_waits_for_people_and_the_log_says_in_what(
    session: World, changes: dict[str, object], why: str
) -> None:
    plan = await approved_plan(session, FIRST)
    answer = await hold(session, FIRST, **changes)
    assert isinstance(answer, PendingAnswer)
    told = json.loads((await session.audited("approval.not-planned"))[-1].data)
    assert told["plan"] == plan
    assert why in told["why"]
    assert await session.state(plan) == State.APPROVED


async def test_nobody_elses_plan_and_no_plan_for_another_target_counts(session: World) -> None:
    await approved_plan(session, FIRST)
    session.neighbours.targets["stock"] = session.neighbours.targets["orders"]
    await session.open_session("ses_2", target="stock")
    assert isinstance(await hold(session, FIRST, session="ses_2", target="stock"), PendingAnswer)
    await session.open_session("ses_3", requester_id="idn_eve")
    eve = session.request(operation=operation_of("ses_3", text=FIRST), requester_id="idn_eve")
    assert isinstance(await session.ask(eve), PendingAnswer)


@pytest.mark.parametrize("undecided", ["pending", "denied"])
async def test_a_plan_that_is_not_approved_lets_nothing_run(session: World, undecided: str) -> None:
    plan = await submit(session, FIRST)
    if undecided == "denied":
        await session.deny("ada", plan)
    assert isinstance(await hold(session, FIRST), PendingAnswer)


async def test_a_plan_is_over_when_its_time_to_execute_is(session: World) -> None:
    plan = await approved_plan(session, FIRST)
    session.clock.advance(301)
    assert isinstance(await hold(session, FIRST), PendingAnswer)
    session.clock.advance(60)
    await session.keeper.end_what_is_due()
    assert await session.state(plan) == State.LAPSED


async def test_a_grant_never_outlives_its_plan(session: World) -> None:
    plan = await approved_plan(session, FIRST)
    until = (await session.view(plan)).row.execute_by_ms
    session.clock.advance(200)
    grant = await grant_of(session, (await hold(session, FIRST)).approval_id)
    assert grant["execute_by_ms"] == until


def _revise(world: World) -> None:
    world.neighbours.revision += 1


def _lose_role(world: World) -> None:
    world.neighbours.change("ada", may_review=False)


def _become_owner(world: World) -> None:
    world.neighbours.credentials["crd_1"] = CredentialFacts("token", valid=True, owner_ids=("idn_ada",))


def _revoke_key(world: World) -> None:
    world.neighbours.credentials["key_1"] = CredentialFacts("service-account key", valid=False)


def _other_chain(world: World) -> None:
    world.neighbours.chains["dba"] = chain("dba", timeout=60)


@pytest.mark.parametrize("change", [_revise, _lose_role, _become_owner, _revoke_key, _other_chain])
async def test_what_has_changed_since_the_approval_makes_the_operation_wait(
    session: World, change: Callable[[World], None]
) -> None:
    await approved_plan(session, FIRST)
    change(session)
    assert isinstance(await hold(session, FIRST), PendingAnswer)


async def test_a_disabled_requester_gets_nothing_from_a_plan(session: World) -> None:
    plan = await approved_plan(session, FIRST)
    known = session.neighbours.subjects["idn_bot"]
    session.neighbours.subjects["idn_bot"] = msgspec.structs.replace(known, enabled=False)
    answer = await hold(session, FIRST)
    assert isinstance(answer, DecidedAnswer)
    assert answer.outcome is Outcome.REFUSED
    await session.upkeep.void_what_fell()
    assert await session.state(plan) == State.LAPSED


async def test_an_operation_that_is_held_for_another_chain_is_not_covered(session: World) -> None:
    await approved_plan(session, FIRST)
    session.neighbours.chains["security"] = chain("security", groups=("security",))
    report = session.request(operation=operation_of(text=FIRST), chain="security")
    assert isinstance(await session.ask(report), PendingAnswer)


async def test_glass_is_not_broken_for_a_plan_and_its_chain_covers_operations_all_the_same(session: World) -> None:
    session.neighbours.chains["dba"] = msgspec.structs.replace(chain("dba"), break_glass=True)
    plan = await approved_plan(session, FIRST)
    assert not (await session.view(plan)).shown.chain.break_glass
    assert granted(await hold(session, FIRST))


async def test_two_sessions_that_ask_at_once_get_one_use(session: World) -> None:
    await approved_plan(session, FIRST)
    await session.open_session("ses_2")
    other = session.on_another_replica()
    answers = await asyncio.gather(hold(session, FIRST), hold(other, FIRST, session="ses_2"))
    assert sorted(granted(answer) for answer in answers) == [False, True]
    await other.database.close()


async def test_a_use_runs_like_any_grant_and_stays_used_when_it_does_not(session: World) -> None:
    await approved_plan(session, FIRST, SECOND)
    first = (await hold(session, FIRST)).approval_id
    async with session.units() as uow:
        consumed = ConsumedReport(first, await nonce_of(session, first))
        await session.approvals.grant_consumed(uow, INSTANCE, consumed)
        await session.approvals.finished(uow, INSTANCE, FinishedReport(first, "done", "DELETE 1"))
    assert await session.state(first) == State.EXECUTED
    second = (await hold(session, SECOND)).approval_id
    async with session.units() as uow:
        await session.approvals.cancelled(uow, INSTANCE, CancelledReport(second, "client-gone"))
    assert await session.state(second) == State.LAPSED
    assert isinstance(await hold(session, SECOND), PendingAnswer)


async def test_upkeep_leaves_granted_uses_alone_while_those_who_agreed_may(session: World) -> None:
    await approved_plan(session, FIRST)
    use = (await hold(session, FIRST)).approval_id
    await session.upkeep.void_what_fell()
    assert await session.state(use) == State.APPROVED
    _lose_role(session)
    await session.upkeep.void_what_fell()
    assert await session.state(use) == State.LAPSED


async def test_a_plan_that_nobody_could_approve_is_refused(world: World) -> None:
    world.neighbours.chains["nobody"] = chain("nobody", groups=("ghosts",))
    with pytest.raises(NotAskableError, match="ghosts"):
        await submit(world, FIRST, chain="nobody")
