"""Tickets: a client that could not wait comes back with the identical operation, to any worker, and it runs once."""

from __future__ import annotations

import asyncio
import json

import pytest

from data_plane.gate.interface import Allowed, Code, Denied
from data_plane.gate.ports import Answer, Answered
from data_plane.identifiers import ApprovalId
from data_plane.policy.snapshot import NamedJson
from tests.data_plane.gate.test_held import soon
from tests.data_plane.gate.worlds import RULES, Listener, World, settled
from tests.support.policies import WRITES, hold, session

TICKET = soon(then="ticket")


async def test_a_ticket_stays_open_after_the_wait_and_the_same_operation_uses_it_once() -> None:
    world, first, second, third = World(TICKET), Listener(), Listener(), Listener()
    world.hold(first)
    await settled()
    world.approvals.is_pending()
    verdict = await first.verdict()
    assert isinstance(verdict, Denied)
    assert (verdict.code, verdict.ticket) == (Code.PENDING, "apr_1")
    assert "K7F3" in verdict.message, "the code that people decide by"
    assert "cancelled" not in world.logged()
    world.approve()
    later = world.open(session(id="ses_9"))
    world.hold(second, gate=later, session="ses_9")
    assert isinstance(await second.verdict(), Allowed)
    assert world.logged("requested") == ["requested"], "nobody was asked twice"
    world.hold(third, gate=later, session="ses_9")
    await settled()
    assert world.logged("requested") == ["requested", "requested"], "a ticket is used once"
    await third.verdict()


async def test_coming_back_before_the_decision_waits_on_the_same_request() -> None:
    world, first, second = World(TICKET), Listener(), Listener()
    world.hold(first)
    await settled()
    world.approvals.is_pending()
    await first.verdict()
    world.hold(second)
    await settled()
    assert [pending.approval_id for pending in second.pendings] == ["apr_1"]
    world.approve()
    assert isinstance(await second.verdict(), Allowed)


@pytest.mark.parametrize(
    "changed",
    [{"raw": b"another"}, {"state": (("role", "other"),)}, {"credential": "crd_2"}],
)
async def test_a_ticket_is_no_use_to_another_operation_or_credential(changed: dict) -> None:
    world, first, second = World(TICKET), Listener(), Listener()
    world.hold(first)
    await first.verdict()
    world.approve()
    credential = changed.pop("credential", None)
    gate = world.open(session(credential_id=credential)) if credential else world.gate
    world.hold(second, gate=gate, **changed)
    assert isinstance(await second.verdict(), Denied)
    assert world.logged("requested") == ["requested", "requested"]


@pytest.mark.parametrize("asked", [False, True])
async def test_what_people_could_see_undone_in_a_transaction_does_not_run_outside_one(asked: bool) -> None:
    """Whether it commits by itself is shown to them; the bytes are the same."""
    world, first, other, again = World(TICKET), Listener(), Listener(), Listener()
    world.hold(first, in_transaction=asked)
    await first.verdict()
    world.approve()
    world.hold(other, in_transaction=not asked)
    assert isinstance(await other.verdict(), Denied)
    assert world.logged("requested") == ["requested", "requested"]
    world.hold(again, in_transaction=asked)
    assert isinstance(await again.verdict(), Allowed)


async def test_a_refused_ticket_tells_the_client_when_it_comes_back_and_is_gone() -> None:
    world, first, second = World(TICKET), Listener(), Listener()
    world.hold(first)
    await first.verdict()
    world.approvals.answer(Answered(Answer.DENIED, "no"))
    world.hold(second)
    verdict = await second.verdict()
    assert isinstance(verdict, Denied)
    assert verdict.code is Code.DENIED
    await settled()
    assert world.ticket_disk.rows == {}


async def test_a_client_that_goes_away_before_it_has_a_ticket_leaves_none() -> None:
    world, listener = World([*RULES[:1], hold(match=WRITES, hold={"wait": "1m", "then": "ticket"})]), Listener()
    held = world.hold(listener)
    await settled()
    held.cancel("client-disconnected")
    await settled()
    assert world.log[-2] == ("cancelled", "apr_1", "client-disconnected")
    await settled()
    assert world.ticket_disk.rows == {}


async def test_a_ticket_that_nobody_decides_is_given_up_when_its_time_is_over() -> None:
    asked_next = {"escalate": {"groups": ["security"], "timeout": "30ms"}}
    chain = {"stages": [{"groups": ["dba"], "timeout": "20ms", "on_timeout": asked_next}]}
    document = {"apiVersion": "assentry.dev/v1", "kind": "ApprovalChain", "metadata": {"name": "dba"}, "spec": chain}
    world, listener = World(TICKET, chains=(NamedJson("dba", json.dumps(document)),)), Listener()
    world.hold(listener)
    await settled()
    assert world.approvals.requests[0].wait_seconds == 0.05
    await listener.verdict()
    while "cancelled" not in world.logged():
        await asyncio.sleep(0.005)
    assert world.log[-1] == ("cancelled", "apr_1", "wait-ended")
    await settled()
    assert world.ticket_disk.rows == {}


async def test_a_ticket_is_held_by_one_client_at_a_time() -> None:
    world = World([*RULES[:1], hold(match=WRITES, hold={"wait": "1m", "then": "ticket"})])
    first, second = Listener(), Listener()
    world.hold(first)
    await settled()
    world.hold(second)
    verdict = await second.verdict()
    assert isinstance(verdict, Denied)
    assert verdict.code is Code.PENDING
    world.approve()
    assert isinstance(await first.verdict(), Allowed)


SLOWLY = [*RULES[:1], hold(match=WRITES, hold={"wait": "1m", "then": "ticket"})]


async def test_a_client_that_goes_away_while_its_ticket_is_written_asks_nobody() -> None:
    world, listener = World(SLOWLY), Listener()
    world.hold(listener).cancel("client-disconnected")
    await settled()
    assert world.ticket_disk.rows == {}
    assert world.logged("requested", "cancelled") in ([], ["requested", "cancelled"])


async def test_a_ticket_that_cannot_be_kept_is_no_hold() -> None:
    world, listener = World(TICKET), Listener()
    world.ticket_disk.broken = True
    world.hold(listener)
    verdict = await listener.verdict()
    assert isinstance(verdict, Denied)
    assert verdict.code is Code.UNAVAILABLE
    assert "requested" not in world.logged()


async def issued() -> World:
    """A worker at which a client got a ticket and left."""
    world, listener = World(TICKET), Listener()
    world.hold(listener)
    await settled()
    world.approvals.is_pending()
    await listener.verdict()
    await settled()
    return world


async def test_a_client_that_comes_back_to_another_worker_finds_the_answer_that_was_given_meanwhile() -> None:
    first, listener = await issued(), Listener()
    first.approve()
    await settled()
    second = World(SLOWLY, beside=first)
    second.hold(listener)
    assert isinstance(await listener.verdict(), Allowed)
    await settled()
    assert "requested" not in second.logged(), "nobody was asked twice"
    assert second.log.index(("spent", b"n" * 16)) < second.log.index(("consumed", "apr_1", b"n" * 16))
    assert first.log[-1] == ("forgotten", "apr_1"), "the other worker reports what becomes of it"
    assert first.ticket_disk.rows == {}


async def test_a_client_that_waits_at_another_worker_hears_the_answer_at_once() -> None:
    first, listener = await issued(), Listener()
    second = World(SLOWLY, beside=first)
    second.hold(listener)
    await settled()
    assert [pending.approval_id for pending in listener.pendings] == ["apr_1"]
    assert listener.verdicts == []
    first.approve()
    assert isinstance(await listener.verdict(), Allowed)


async def test_a_ticket_is_held_by_one_client_at_a_time_over_workers() -> None:
    first, one, other = await issued(), Listener(), Listener()
    second = World(SLOWLY, beside=first)
    second.hold(one)
    await settled()
    first.hold(other)
    verdict = await other.verdict()
    assert isinstance(verdict, Denied)
    assert verdict.code is Code.PENDING
    first.approve()
    assert isinstance(await one.verdict(), Allowed)


async def test_a_grant_is_spent_once_whatever_the_tickets_say() -> None:
    """Invariant 6: the nonces decide."""
    first, one, other = await issued(), Listener(), Listener()
    second = World(SLOWLY, beside=first)
    first.approve()
    await settled()
    left = dict(first.ticket_disk.rows)
    first.hold(one)
    assert isinstance(await one.verdict(), Allowed)
    await settled()
    second.ticket_disk.rows.update(left)
    second.hold(other)
    verdict = await other.verdict()
    assert isinstance(verdict, Denied)
    assert verdict.code is Code.INVALID_GRANT


async def test_the_ticket_of_another_worker_ends_for_whoever_waits_when_its_time_is_over() -> None:
    first, listener = await issued(), Listener()
    second = World(SLOWLY, beside=first)
    second.hold(listener)
    await settled()
    tickets = first.services.tickets
    await tickets._give_up(tickets._known[ApprovalId("apr_1")])
    verdict = await listener.verdict()
    assert isinstance(verdict, Denied)
    assert verdict.code is Code.EXPIRED


async def test_a_ticket_of_an_earlier_run_is_answered_after_the_restart() -> None:
    first, listener = await issued(), Listener()
    again = World(SLOWLY)
    again.ticket_disk.rows |= first.ticket_disk.rows
    again.services.tickets.resume(first.ticket_disk.rows.values())
    again.approvals.requests = first.approvals.requests
    again.approve()
    await settled()
    again.hold(listener)
    assert isinstance(await listener.verdict(), Allowed)
