"""The agent is killed, told to end, or started with its control plane away."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.e2e.faults.blocking import locked, value
from tests.e2e.faults.client import connected, failure, refusal
from tests.e2e.faults.conftest import account, documents
from tests.e2e.faults.valve import Valve
from tests.support.folders import files_in
from tests.support.stack import Stack, another_agent, eventually

READ = "SELECT amount FROM ledger WHERE id = {}"
WRITE = "UPDATE ledger SET amount = amount + 1 WHERE id = {}"
MOST = 50_000  # statements, before something of them is in a file
SLOW = "UPDATE slow SET amount = amount + 1 WHERE id = 1"


@pytest.fixture(scope="module")
def link() -> Iterator[Valve]:
    with Valve() as valve:
        yield valve


@pytest.fixture(scope="module")
def mortal(calm: Stack, link: Valve) -> Iterator[Stack]:
    """An agent of its own at the calm control plane."""
    calm.control.apply(documents(calm.server, "crypt", agent="mortal"))
    settings = {**link.settings(calm.control), "drain_seconds": 2}
    with another_agent(calm, "mortal", {"crypt": account(calm.server)}, **settings) as running:
        yield running


@dataclass
class Crash:
    """What was open when the agent was killed: a hold that waits for people, and an approved statement that runs."""

    held: dict[str, Any]
    running: dict[str, Any]
    held_session: str
    busy_session: str
    asked: int  # by it
    ends: list[psycopg.Error]


@pytest.fixture(scope="module")
def crash(mortal: Stack) -> Crash:
    with connected(mortal, "crypt", name="held") as first, connected(mortal, "crypt", name="running") as second:
        assert first.ask(READ.format(1)) == 0
        waiting = first.start(WRITE.format(1))
        held = mortal.pending(WRITE.format(1))
        with locked(mortal.server, "crypt", "slow") as lock:
            executing = second.start(SLOW)
            running = mortal.approve(SLOW)
            lock.somebody_waits()
            eventually(lambda: mortal.approval(running["id"])["state"] == "executing", "the use of the grant")
            eventually(lambda: session_of(mortal, "held")["allowed"] == 1, "the record of the read on disk")
            session = session_of(mortal, "held")
            busy, asked = killed_while_busy(mortal)
            ends = [failure(waiting), failure(executing)]
    mortal.agent.start()
    return Crash(held, running, session["id"], busy, asked, ends)


def killed_while_busy(stack: Stack) -> tuple[str, int]:
    """As soon as something of what it asked is in a file; the session, and how many statements it asked."""
    with connected(stack, "crypt", name="busiest") as client:
        client.connection.prepare_threshold = None  # a statement that psycopg prepares of itself would be one more
        eventually(lambda: any(one["application_name"] == "busiest" for one in stack.sessions()), "its report")
        session = str(session_of(stack, "busiest")["id"])
        folder = stack.agent.state / "worker-0" / "spool" / session
        opened, asked = recorded_bytes(folder), 0
        while recorded_bytes(folder) == opened:
            asked += 1
            assert asked <= MOST, "nothing is written"
            assert client.ask(READ.format(asked % 10 + 1)) == 0
        stack.agent.kill()
    return session, asked


def recorded_bytes(folder: Path) -> int:
    return sum(found.st_size for _, found in files_in(folder))


def session_of(stack: Stack, application: str) -> dict[str, Any]:
    return next(one for one in stack.sessions() if one["application_name"] == application)


def test_clients_of_a_killed_agent_lose_their_connections(crash: Crash) -> None:
    for end in crash.ends:
        assert isinstance(end, psycopg.OperationalError)


def test_what_was_held_when_the_agent_was_killed_has_not_run_and_is_cancelled(mortal: Stack, crash: Crash) -> None:
    assert value(mortal.server, "crypt", READ.format(1)) == 0
    eventually(lambda: mortal.approval(crash.held["id"])["state"] == "cancelled", "the end of the request")
    closed = mortal.audited("session.closed", crash.held_session)
    assert {event["data"]["reason"] for event in closed} <= {"agent-restarted", "agent-crashed"}
    assert closed


def test_the_recording_of_a_killed_agent_is_uploaded_and_marked_truncated(mortal: Stack, crash: Crash) -> None:
    events = eventually(lambda: truncated(mortal, crash.held_session), "the recording")
    asked = [event["text"] for event in events if event["kind"] == "input"]
    assert READ.format(1) in asked
    assert events[0]["kind"] == "opened"


def test_every_decision_that_a_killed_agent_recorded_is_in_the_audit_log_once(mortal: Stack, crash: Crash) -> None:
    """Those that it had not reported yet are reported at its next start; both say after which operation it ended."""
    said = eventually(lambda: end_by_crash(mortal, crash.busy_session), "the agent's word on the end")
    recorded = eventually(lambda: truncated(mortal, crash.busy_session), "the recording")
    decided = [event["operation"] for event in recorded if event["kind"] == "decision"]
    batches = mortal.audited("operation.decided", crash.busy_session)
    assert [one["operation"] for batch in batches for one in batch["decisions"]] == decided
    assert decided == list(range(1, said["data"]["operations"] + 1))
    assert 0 < len(decided) <= crash.asked
    assert (recorded[-1]["kind"], recorded[-1]["reason"]) == ("closed", "agent-crashed")
    assert recorded[-1]["operations"] == len(decided)


def truncated(stack: Stack, session: str) -> list[dict[str, Any]]:
    """The whole timeline, once all of it has arrived; empty before."""
    page = stack._timeline(session)
    if not page or page["status"] != "truncated":
        return []
    events = list(page["events"])
    while page["next_cursor"] is not None:
        page = stack.reviewer.get(f"/v1/sessions/{session}/timeline", cursor=page["next_cursor"])
        events += page["events"]
    return events


def end_by_crash(stack: Stack, session: str) -> dict[str, Any] | None:
    ends = stack.audited("session.closed", session)
    return next((end for end in ends if end["data"]["reason"] == "agent-crashed"), None)


def test_an_approved_statement_never_runs_again_after_a_crash_and_its_outcome_is_unknown(
    mortal: Stack, crash: Crash
) -> None:
    """Invariant 6."""
    eventually(lambda: mortal.approval(crash.running["id"])["state"] == "outcome-unknown", "the outcome")
    assert value(mortal.server, "crypt", "SELECT amount FROM slow WHERE id = 1") == 1  # the target had it already
    with connected(mortal, "crypt") as client:
        again = client.start(SLOW)
        assert mortal.pending(SLOW)["id"] != crash.running["id"]
        mortal.deny(SLOW, "it has run")
        assert "it has run" in str(failure(again))
    kinds = [event["kind"] for event in mortal.audited("approval.", crash.running["id"])]
    assert kinds.count("approval.grant-consumed") == 1
    assert kinds[-1] == "approval.outcome-unknown"


def test_sigterm_lets_a_statement_finish_and_tells_those_at_rest(mortal: Stack, crash: Crash) -> None:
    """Those that are idle at once, those that wait for people when the time of the drain is over."""
    with ExitStack() as clients:
        busy, resting, waiting = (
            clients.enter_context(connected(mortal, "crypt", name=name)) for name in ("busy", "resting", "waiting")
        )
        assert resting.ask("SELECT 1") == 1
        held = waiting.start(WRITE.format(9))
        request = mortal.pending(WRITE.format(9))
        with locked(mortal.server, "crypt", "slow") as lock:
            asked = busy.start("SELECT amount FROM slow WHERE id = 2")
            lock.somebody_waits()
            process = mortal.agent.plane.process
            process.send_signal(signal.SIGTERM)
            goodbye = resting.farewell() if resting.hears() else None
            assert not asked.done()
            eventually(lambda: "refused" in refusal(mortal, "crypt"), "the end of listening")
            lock.release()
            assert asked.result(10) == 0
        unheard = failure(held)
        for end in (goodbye, unheard):
            assert end is not None
            assert end.sqlstate == "57P01"
            assert "shutting down" in str(end)
        assert "was not run" in str(unheard)
        assert process.wait(20) == 0
    assert mortal.approval(request["id"])["state"] == "cancelled"
    for name in ("busy", "resting", "waiting"):
        session = session_of(mortal, name)
        closed = mortal.audited("session.closed", session["id"])
        assert [event["data"]["reason"] for event in closed] == ["drained"]
        assert mortal._timeline(session["id"])["status"] == "complete"
    mortal.agent.start()


def test_a_second_agent_on_the_same_state_is_refused(mortal: Stack) -> None:
    command = [sys.executable, "-m", "data_plane", "--config", str(mortal.agent.config_file)]
    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert second.returncode == 2
    assert "another agent works here" in second.stderr


def test_an_agent_that_starts_with_its_control_plane_away_serves_from_its_disk(mortal: Stack, link: Valve) -> None:
    mortal.agent.stop()
    link.shut()
    mortal.agent.start()
    with connected(mortal, "crypt") as client:
        assert client.ask(READ.format(5)) == 0
        unavailable = failure(client.start(WRITE.format(5)))
        assert "out of reach" in str(unavailable)
        link.open()
        eventually(lambda: mortal.gauge("link_connected"), "the return of the link", 40)
        with mortal.approving(WRITE.format(5)):
            assert client.ask(WRITE.format(5)) == "UPDATE 1"
