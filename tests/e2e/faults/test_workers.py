"""Two processes share one port: each serves, a cancel request finds its session, one that dies is started again."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from tests.e2e.faults.blocking import locked
from tests.e2e.faults.client import Client, connected, failure
from tests.e2e.faults.conftest import account, documents
from tests.support.stack import Stack, another_agent, eventually

MANY = 12
BLOCKED = "SELECT amount FROM slow WHERE id = 1"


@pytest.fixture(scope="module")
def pair(calm: Stack) -> Iterator[Stack]:
    calm.control.apply(documents(calm.server, "twins", agent="pair"))
    with another_agent(calm, "pair", {"twins": account(calm.server)}, workers=2, drain_seconds=1) as running:
        yield running


def workers(stack: Stack) -> list[int]:
    """Their process ids, in order."""
    boss = stack.agent.plane.process.pid
    return [int(pid) for pid in Path(f"/proc/{boss}/task/{boss}/children").read_text().split()]


def shares(stack: Stack) -> list[float]:
    """The open sessions of each."""
    return [stack.gauge(f'worker_open_sessions{{worker="{index}"}}') for index in (0, 1)]


def test_both_workers_serve_and_a_cancel_request_always_finds_its_session(pair: Stack) -> None:
    with ExitStack() as stack, locked(pair.server, "twins", "slow") as lock:
        clients = [stack.enter_context(connected(pair, "twins")) for _ in range(MANY)]
        assert all(shares(pair))
        assert pair.gauge("open_sessions") == sum(shares(pair)) == MANY
        assert (pair.gauge("workers"), pair.gauge("link_connected")) == (2, 1)
        asked = [client.start(BLOCKED) for client in clients]
        lock.somebody_waits(MANY)
        for client, one in zip(clients, asked, strict=True):
            client.connection.cancel()
            assert isinstance(failure(one), psycopg.errors.QueryCanceled)
        lock.release()
        assert all(client.ask("SELECT 1") == 1 for client in clients)


def test_ctrl_c_in_psql_cancels_holds_and_running_statements_whichever_worker_hears_it(pair: Stack) -> None:
    statement = "UPDATE ledger SET amount = 1 WHERE id = {}"
    with locked(pair.server, "twins", "slow") as lock:
        running = [pair.start_psql("twins", BLOCKED) for _ in range(4)]
        lock.somebody_waits(len(running))
        holding = [pair.start_psql("twins", statement.format(number)) for number in range(1, 5)]
        for number in range(1, 5):
            pair.pending(statement.format(number))
        for process in (*running, *holding):
            process.send_signal(signal.SIGINT)
        for process in (*running, *holding):
            _, notices = process.communicate(timeout=30)
            assert "canceling statement due to user request" in notices


def test_a_worker_that_dies_is_started_again_and_the_other_serves_on(pair: Stack) -> None:
    with ExitStack() as stack:
        first, second = workers(pair)
        clients = spread(pair, stack)
        os.kill(first, signal.SIGKILL)
        lost = [client for client in clients if dead(client)]
        assert 0 < len(lost) < len(clients)
        assert all(client.ask("SELECT 1") == 1 for client in clients if client not in lost)
        eventually(lambda: len(workers(pair)) == 2 and first not in workers(pair), "another worker")
        assert second in workers(pair)
        pair.agent.ready()


def spread(stack: Stack, exits: ExitStack) -> list[Client]:
    """Sessions at both workers."""
    clients: list[Client] = []
    while len(clients) < MANY or not all(shares(stack)):
        clients.append(exits.enter_context(connected(stack, "twins")))
    return clients


def dead(client: Client) -> bool:
    asked = client.start("SELECT 1")
    return isinstance(asked.exception(10), psycopg.OperationalError)


def test_a_ticket_serves_its_client_once_at_whichever_worker_it_comes_back_to(pair: Stack) -> None:
    """Also after a restart of all of them. The kernel chooses the worker, so several clients try at the same time."""
    statement = "UPDATE ticketed SET amount = amount + 1 WHERE id = {}"
    for number, restarts in ((1, False), (2, True)):
        with connected(pair, "twins") as client:
            assert "again later" in str(failure(client.start(statement.format(number))))
        if restarts:
            pair.agent.stop()
            pair.agent.start()
        request = pair.approve(statement.format(number))["id"]
        with ExitStack() as stack:
            asked = [client.start(statement.format(number)) for client in spread(pair, stack)]
            ends = [one.exception(30) for one in asked]
            assert ends.count(None) == 1, "an approval runs one statement"
            look = stack.enter_context(connected(pair, "twins"))
            assert look.ask(f"SELECT amount FROM ticketed WHERE id = {number}") == 1
        eventually(lambda one=request: pair.approval(one)["state"] == "executed", "the outcome")
        kinds = [event["kind"] for event in pair.audited("approval.", request)]
        assert kinds.count("approval.grant-consumed") == 1
        assert not pair.audited("approval.unknown-reported")
        for waiting in pair.reviewer.pages("/v1/approvals", 100, show="mine"):
            if waiting["headline"].startswith(statement.format(number)):
                pair.deny(statement.format(number), "one is enough")


def test_a_ticket_is_served_while_the_worker_that_asked_for_it_is_dead(pair: Stack) -> None:
    """Its answer is on disk for the other one."""
    statement = "UPDATE ticketed SET amount = amount + 1 WHERE id = 3"
    with connected(pair, "twins") as client:
        failure(client.start(statement))
    request = pair.approve(statement)["id"]
    store = sqlite3.connect(pair.agent.state / "nonces.db")
    kept = "SELECT owner FROM tickets WHERE approval = ? AND answered IS NOT NULL"
    [owner] = eventually(lambda: store.execute(kept, (request,)).fetchone(), "the answer on disk")
    store.close()
    index = next(index for index in (0, 1) if instance(pair, index) == owner)
    killed = workers(pair)[index]
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: not alive(killed), "the end of the worker")
    with connected(pair, "twins") as client:
        assert client.ask(statement) == "UPDATE 1"
        assert client.ask("SELECT amount FROM ticketed WHERE id = 3") == 1
    eventually(lambda: pair.approval(request)["state"] == "executed", "the outcome")
    eventually(lambda: len(workers(pair)) == 2, "another worker")
    pair.agent.ready()


def instance(stack: Stack, worker: int) -> str:
    with contextlib.closing(sqlite3.connect(stack.agent.state / f"worker-{worker}" / "journal.db")) as journal:
        return str(journal.execute("SELECT value FROM facts WHERE name = 'instance'").fetchone()[0])


def test_workers_do_not_outlive_the_process_that_watches_them(pair: Stack) -> None:
    """Else a second agent would write into the same journal."""
    left = workers(pair)
    pair.agent.kill()
    eventually(lambda: not any(alive(pid) for pid in left), "the end of the workers")
    pair.agent.start()
    with connected(pair, "twins") as client:
        assert client.ask("SELECT 1") == 1


def alive(pid: int) -> bool:
    """Whether any thread of it is: while one is, its sockets are open, and take connections that nobody serves."""
    try:
        states = [stat.read_text().rsplit(")", 1)[1].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:
        return Path(f"/proc/{pid}").exists()
    return any(state not in "ZX" for state in states)
