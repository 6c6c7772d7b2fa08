"""The control plane goes away or is cut off, and comes back: nothing runs unapproved, nothing is lost or told twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.e2e.faults.client import connected, failure, refusal
from tests.e2e.faults.conftest import account, documents
from tests.e2e.faults.valve import Valve
from tests.support.postgres import PostgresServer
from tests.support.stack import Stack, eventually, running_stack

LEASE_SECONDS = 6
READ = "SELECT amount FROM ledger WHERE id = {}"
WRITE = "UPDATE ledger SET amount = amount + 1 WHERE id = {}"


@pytest.fixture(scope="module")
def cut_off() -> Iterator[Valve]:
    with Valve() as valve:
        yield valve


@pytest.fixture(scope="module")
def outage(postgres: PostgresServer, cut_off: Valve) -> Iterator[Stack]:
    """A control plane of its own with a short lease."""
    with running_stack(
        postgres,
        documents(postgres, "vault"),
        {"vault": account(postgres)},
        control_settings={"lease_seconds": str(LEASE_SECONDS)},
        dialling=cut_off.settings,
    ) as running:
        yield running


def test_without_control_plane_reads_go_on_for_the_lease_and_nothing_runs_unapproved(outage: Stack) -> None:
    with connected(outage, "vault", name="reading") as reading, connected(outage, "vault", name="waiting") as waiting:
        asked = waiting.start(WRITE.format(1))
        pending = outage.pending(WRITE.format(1))
        outage.control.kill()
        gone_at = time.monotonic()
        eventually(lambda: not outage.gauge("link_connected"), "the loss of the link")
        assert reading.ask(READ.format(1)) == 0
        unavailable = failure(reading.start(WRITE.format(2)))
        assert "the control plane is out of reach" in str(unavailable)
        assert "denied" not in str(unavailable)
        assert reading.ask(READ.format(2)) == 0
        ends = [failure(asked), failure(reading.start("SELECT 'late'")) if reading.hears() else None]
        assert time.monotonic() - gone_at < LEASE_SECONDS + 3
        for end in ends:
            assert end is not None
            assert end.sqlstate == "57P01"
            assert "lost its control plane" in str(end)
    assert "the control plane is out of reach" in refusal(outage, "vault")
    outage.control.start()
    works_again(outage)
    settled(outage, pending["id"])
    for name, decided in (("reading", 3), ("waiting", 1)):
        reported_once(outage, name, decided)


def works_again(stack: Stack) -> None:
    """Without a restart of the agent."""
    eventually(lambda: stack.gauge("link_connected"), "the return of the link", 40)
    with connected(stack, "vault", name="after") as client:
        assert [client.ask(READ.format(number)) for number in (1, 2)] == [0, 0]
        with stack.approving(WRITE.format(3)):
            before = client.ask(READ.format(3))
            assert client.ask(WRITE.format(3)) == "UPDATE 1"
        assert client.ask(READ.format(3)) == before + 1


def settled(stack: Stack, approval_id: str) -> None:
    eventually(lambda: stack.approval(approval_id)["state"] == "cancelled", "the end of the request")
    kinds = [event["kind"] for event in stack.audited("approval.", approval_id)]
    assert kinds == ["approval.requested", "approval.cancelled"]


def reported_once(stack: Stack, application: str, decided: int) -> None:
    """Every operation of the newest session of this name has one decision in the audit log, and the session one end."""
    session = next(one for one in stack.sessions() if one["application_name"] == application)
    closed = eventually(lambda: stack.audited("session.closed", session["id"]), "the end of the session")
    batches = stack.audited("operation.decided", session["id"])
    counted = Counter(decision["operation"] for batch in batches for decision in batch["decisions"])
    assert counted == dict.fromkeys(range(1, decided + 1), 1)
    assert len(stack.audited("session.opened", session["id"])) == len(closed) == 1


def test_a_link_that_swallows_everything_ends_the_hold_with_the_lease(outage: Stack, cut_off: Valve) -> None:
    """Nobody says that the network is gone: the request waits, unheard, and nobody may approve it later."""
    with connected(outage, "vault") as client:
        cut_off.shut()
        end = failure(client.start(WRITE.format(4)))
        assert end.sqlstate == "57P01"
        assert "lost its control plane" in str(end)
    cut_off.open()
    eventually(lambda: outage.gauge("link_connected"), "the return of the link", 40)
    with connected(outage, "vault") as client:
        assert client.ask(READ.format(4)) == 0


@pytest.fixture
def restarted(calm: Stack, valve: Valve) -> Iterator[list[str]]:
    """One hold is approved, but the answer is lost with the control plane; the other is approved after its return."""
    with connected(calm, "bank", name="lost") as first, connected(calm, "bank", name="kept") as second:
        asked = [first.start(WRITE.format(11)), second.start(WRITE.format(12))]
        requests = [calm.pending(WRITE.format(number))["id"] for number in (11, 12)]
        valve.shut()
        calm.approve(WRITE.format(11))
        calm.control.kill()
        calm.control.start()
        valve.open()
        assert asked[0].result(60) == "UPDATE 1"
        calm.approve(WRITE.format(12))
        assert asked[1].result(60) == "UPDATE 1"
        eventually(lambda: {calm.approval(one)["state"] for one in requests} == {"executed"}, "the outcomes")
        yield requests


def test_a_restart_of_the_control_plane_neither_loses_nor_repeats_what_waits(calm: Stack, restarted: list[str]) -> None:
    with connected(calm, "bank") as client:
        assert [client.ask(READ.format(number)) for number in (11, 12)] == [1, 1]
    for request in restarted:
        kinds = [event["kind"] for event in calm.audited("approval.", request)]
        for once in ("approval.requested", "approval.approved", "approval.grant-consumed", "approval.executed"):
            assert kinds.count(once) == 1, kinds
