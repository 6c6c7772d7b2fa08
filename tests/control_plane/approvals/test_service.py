"""Requests decided, used and ended; each with its audit event."""

from __future__ import annotations

import msgspec
import pytest

from control_plane.approvals.domain import Agreed, Counted, Denied, Outcome, Refusal, Refused, State
from control_plane.approvals.reports import (
    CancelledReport,
    ConsumedReport,
    DecidedAnswer,
    FinishedReport,
    PendingAnswer,
)
from control_plane.sessions.reports import ClosedReport
from tests.control_plane.approvals.grants import grant_of, nonce_of
from tests.control_plane.world import INSTANCE, REPORTER, World, chain, person


async def consume(
    world: World, approval_id: str, nonce: bytes | None = None, instance: str = INSTANCE, agent_name: str = ""
) -> None:
    spent = nonce if nonce is not None else await nonce_of(world, approval_id)
    async with world.units() as uow:
        await world.approvals.grant_consumed(uow, instance, ConsumedReport(approval_id, spent), agent_name)


async def finish(world: World, approval_id: str, outcome: str, detail: str = "") -> None:
    async with world.units() as uow:
        await world.approvals.finished(uow, INSTANCE, FinishedReport(approval_id, outcome, detail))


async def cancel(world: World, approval_id: str, reason: str = "client-disconnected") -> None:
    async with world.units() as uow:
        await world.approvals.cancelled(uow, INSTANCE, CancelledReport(approval_id, reason))


# ------------------------------------------------------------------ decided


async def test_a_denial_ends_it_with_the_reason_of_the_person(world: World) -> None:
    approval = await world.held()
    assert isinstance(await world.deny("ada", approval, "use the staging copy"), Denied)
    assert await world.answer(approval) == DecidedAnswer(approval, Outcome.DENIED, "use the staging copy")
    assert (await world.audited("approval.denied"))[0].actor_name == "ada"


async def test_two_of_a_group(world: World) -> None:
    world.neighbours.chains["dba"] = chain("dba", required=2)
    approval = await world.held()
    assert isinstance(await world.approve("ada", approval), Counted)
    assert isinstance(await world.answer(approval), PendingAnswer)
    assert isinstance(await world.approve("ada", approval), Refused)
    assert isinstance(await world.approve("bob", approval), Agreed)
    names = [one["name"] for one in (await grant_of(world, approval))["approvals"]]  # type: ignore[attr-defined]
    assert names == ["ada", "bob"]


@pytest.mark.parametrize("name", ["owner", "eve"])
async def test_the_owner_and_others_outside_do_not_decide(world: World, name: str) -> None:
    approval = await world.held()
    for ruling in (await world.approve(name, approval), await world.deny(name, approval)):
        assert isinstance(ruling, Refused)
        assert ruling.why is Refusal.NOT_ENTITLED
    assert await world.state(approval) == State.PENDING


async def test_a_person_does_not_decide_on_their_own_request(world: World) -> None:
    await world.open_session(requester_id="idn_ada")
    answer = await world.ask(world.request(requester_id="idn_ada"))
    ruling = await world.approve("ada", answer.approval_id)
    assert ruling == Refused(Refusal.NOT_ENTITLED, "nobody decides on their own request")


async def test_who_made_the_requesting_credential_does_not_decide(world: World) -> None:
    known = world.neighbours.credentials
    known["crd_1"] = msgspec.structs.replace(known["crd_1"], owner_ids=("idn_ada",))
    approval = await world.held()
    assert isinstance(await world.approve("ada", approval), Refused)


async def test_who_becomes_the_owner_while_it_waits_does_not_decide(world: World) -> None:
    approval = await world.held()
    bot = world.neighbours.subjects["idn_bot"]
    world.neighbours.subjects["idn_bot"] = msgspec.structs.replace(bot, owner_id="idn_ada")
    assert isinstance(await world.approve("ada", approval), Refused)
    assert isinstance(await world.approve("owner", approval), Refused)
    assert isinstance(await world.approve("bob", approval), Agreed)


async def test_a_machine_with_every_role_does_not_decide(world: World) -> None:
    """Invariant 5."""
    world.neighbours.persons["idn_robot"] = person("robot", "dba", kind="machine")
    approval = await world.held()
    ruling = await world.approve("robot", approval)
    assert isinstance(ruling, Refused)
    assert await world.state(approval) == State.PENDING


@pytest.mark.parametrize("lost", [{"may_review": False}, {"enabled": False}, {"groups": frozenset()}])
async def test_a_role_lost_since_signing_in_is_lost(world: World, lost: dict[str, object]) -> None:
    approval = await world.held()
    world.neighbours.change("ada", **lost)
    assert isinstance(await world.approve("ada", approval), Refused)
    assert await world.state(approval) == State.PENDING


# ------------------------------------------------------------------ used


async def test_from_grant_to_result(world: World) -> None:
    approval = await world.held()
    await world.approve("ada", approval)
    await consume(world, approval)
    assert await world.state(approval) == State.EXECUTING
    await finish(world, approval, "done", "DELETE 1")
    row = (await world.view(approval)).row
    assert (row.state, row.result) == (State.EXECUTED, "DELETE 1")
    assert await world.audited_kinds() == [
        "approval.requested",
        "approval.agreed",
        "approval.approved",
        "approval.grant-consumed",
        "approval.executed",
    ]


@pytest.mark.parametrize(
    ("outcome", "state"),
    [("failed", State.FAILED), ("outcome-unknown", State.OUTCOME_UNKNOWN), ("?", State.OUTCOME_UNKNOWN)],
)
async def test_an_outcome_is_never_guessed(world: World, outcome: str, state: State) -> None:
    approval = await world.held()
    await world.approve("ada", approval)
    await consume(world, approval)
    await finish(world, approval, outcome)
    assert await world.state(approval) == state


async def test_another_nonce_and_a_second_use_are_alarms_and_change_nothing(world: World) -> None:
    approval = await world.held()
    await world.approve("ada", approval)
    await consume(world, approval, b"n" * 16)
    assert await world.state(approval) == State.APPROVED
    await consume(world, approval)
    await consume(world, approval)
    assert await world.state(approval) == State.EXECUTING
    assert (await world.audited_kinds())[-3:] == [
        "approval.nonce-mismatch",
        "approval.grant-consumed",
        "approval.nonce-reused",
    ]


async def test_another_agent_learns_and_changes_nothing(world: World) -> None:
    approval = await world.held()
    await world.approve("ada", approval)
    await consume(world, approval, instance="ins_other")
    async with world.units() as uow:
        await world.approvals.cancelled(uow, "ins_other", CancelledReport(approval, "x"))
        assert await world.approvals.decision_for(uow, "ins_other", approval) is None
    assert await world.state(approval) == State.APPROVED
    assert (await world.audited_kinds())[-2:] == ["approval.unknown-reported"] * 2


async def test_another_worker_of_the_agent_may_use_a_ticket_and_nothing_else(world: World) -> None:
    """Its client came back there."""
    ticket, session_bound = await world.held(ticket=True), (await world.ask()).approval_id
    for approval in (ticket, session_bound):
        await world.approve("ada", approval)
    for approval, name in ((ticket, "stranger"), (ticket, ""), (session_bound, REPORTER.agent_name)):
        await consume(world, approval, instance="ins_other", agent_name=name)
        assert await world.state(approval) == State.APPROVED
    await consume(world, ticket, instance="ins_other", agent_name=REPORTER.agent_name)
    assert await world.state(ticket) == State.EXECUTING


# ------------------------------------------------------------------ ended without a decision


async def test_a_client_that_goes_away_cancels(world: World) -> None:
    approval = await world.held()
    await cancel(world, approval)
    assert await world.answer(approval) == DecidedAnswer(approval, Outcome.CANCELLED, "client-disconnected")
    assert isinstance(await world.approve("ada", approval), Refused)


async def test_the_end_of_the_client_s_wait_is_an_expiry_and_nobody_s_refusal(world: World) -> None:
    """Invariant 8."""
    approval = await world.held()
    await cancel(world, approval, "wait-ended")
    answer = await world.answer(approval)
    assert isinstance(answer, DecidedAnswer)
    assert answer.outcome is Outcome.EXPIRED
    assert (await world.view(approval)).votes == []
    assert await world.audited("approval.denied") == []


async def test_a_grant_whose_client_is_gone_lapses_and_a_late_use_is_still_told(world: World) -> None:
    approval = await world.held()
    await world.approve("ada", approval)
    await cancel(world, approval)
    assert await world.state(approval) == State.LAPSED
    await consume(world, approval)
    assert await world.state(approval) == State.EXECUTING


async def test_a_session_takes_its_holds_and_grants_with_it_but_not_its_tickets(world: World) -> None:
    pending = await world.held()
    approved, executing, ticket = [(await world.ask(world.request(ticket=t))).approval_id for t in (False, False, True)]
    for one in (approved, executing):
        await world.approve("ada", one)
    await consume(world, executing)
    async with world.units() as uow:
        await world.sessions.closed(uow, REPORTER, ClosedReport("ses_1", world.clock.ms, "client-closed", 3))
    states = [await world.state(one) for one in (pending, approved, executing, ticket)]
    assert states == [State.CANCELLED, State.LAPSED, State.OUTCOME_UNKNOWN, State.PENDING]


async def test_a_report_after_the_session_s_end_corrects_the_unknown_outcome(world: World) -> None:
    approval = await world.held()
    await world.approve("ada", approval)
    await consume(world, approval)
    async with world.units() as uow:
        await world.sessions.reconcile(uow, REPORTER, [])
    assert await world.state(approval) == State.OUTCOME_UNKNOWN
    await finish(world, approval, "done", "DELETE 1")
    assert await world.state(approval) == State.EXECUTED
