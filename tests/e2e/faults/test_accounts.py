"""kill -9 of the agent, of the control plane and of the PostgreSQL server at every step of a session's account.

Whatever dies: nobody can sign in with a role of ours, and soon there is none. What is, the server itself says.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Self

import psycopg
import pytest

from control_plane.cli.demo import postgres as server_process
from control_plane.cli.demo.planes import LocalControlPlane, StartError
from tests.e2e.faults.steps import Relay, Step
from tests.e2e.faults.test_workers import shares, workers
from tests.support.postgres import PostgresServer, running_postgres
from tests.support.session_roles import KEEPER, PASSWORD, backends, found, ours, session_roles
from tests.support.stack import ALLOW_ALL, Stack, another_agent, eventually, policy, running_stack, target

READS: Final = {"name": "reads", "match": {"action": ["read", "session"]}, "effect": "allow"}
SIGN_IN_SECONDS: Final = 3
WITHIN: Final = 60.0  # seconds, after any of it
AT_THE_END: Final = {Step.CLEANING, Step.DROPPING, Step.DROPPED}


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with running_postgres() as running:
        yield running


@pytest.fixture(scope="module")
def relay(server: PostgresServer) -> Iterator[Relay]:
    with Relay(server.port) as relay:
        yield relay


@pytest.fixture(scope="module")
def stack(server: PostgresServer, relay: Relay) -> Iterator[Stack]:
    account = found(server, "roomy")
    credential = session_roles(sign_in_within=f"{SIGN_IN_SECONDS}s")
    documents = [
        target("roomy", server, "roomy", address=relay.address, credential=credential),
        policy("roomy", "roomy", ALLOW_ALL),
        target("reading", server, "roomy", credential=credential),
        policy("reading", "reading", READS),
    ]
    with running_stack(server, documents, {"roomy": account, "reading": account}, drain_seconds=2) as running:
        yield running


class Client:
    """psycopg in a thread: connects, stays until `leave`, and takes every end as it comes."""

    def __init__(self, stack: Stack, name: str = "roomy") -> None:
        self._dsn = stack.dsn(name).replace(f"dbname={name}", "dbname=roomy")
        self._leaving, self._connected = threading.Event(), threading.Event()
        self._refusal = ""
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            with psycopg.connect(self._dsn, autocommit=True) as connection:
                connection.execute("SELECT 1")
                self._connected.set()
                while not self._leaving.wait(0.2):
                    connection.execute("SELECT 1")
        except psycopg.Error as error:
            self._refusal = str(error)

    def connected(self) -> None:
        """Returns when it is."""
        eventually(lambda: self._connected.is_set() or self._refusal, "the session", 30)
        assert self._connected.is_set(), self._refusal

    @property
    def alive(self) -> bool:
        return not self._refusal

    def leave(self) -> None:
        self._leaving.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
        self._thread.join(30)
        assert not self._thread.is_alive()


def leases(stack: Stack) -> int:
    with contextlib.closing(sqlite3.connect(stack.agent.state / "leases.db")) as database:
        return int(database.execute("SELECT count(*) FROM leases").fetchone()[0])


def nobody_can_sign_in(server: PostgresServer) -> bool:
    return not any(ours(server).values())


def nothing_is_left(stack: Stack) -> None:
    server = stack.server
    eventually(lambda: nobody_can_sign_in(server), "the end of every way in", WITHIN)
    # What cannot be seen at one round of the janitor is seen at the next, and nobody can sign in meanwhile.
    eventually(lambda: not ours(server), "the end of every session role", 2 * WITHIN)
    eventually(lambda: not backends(server), "the end of every session's backend", WITHIN)
    eventually(lambda: not leases(stack), "the end of every lease", WITHIN)
    eventually(lambda: not stack.reviewer.get("/v1/accounts")["items"], "the report of every end", WITHIN)


@contextlib.contextmanager
def at(step: Step, stack: Stack, relay: Relay) -> Iterator[Callable[[bool], None]]:
    """A session whose account stands still at this step. What is given releases it: what stood still arrives, or not."""
    with relay.stopping() as stop:
        if step not in AT_THE_END:
            stop.at(step)
        with Client(stack) as client:
            if step in AT_THE_END:
                client.connected()
                stop.at(step)
                if step is Step.CLEANING:
                    (name,) = ours(stack.server)
                    stack.server.execute(f"GRANT SELECT ON notes TO {name}", database="roomy")
                client.leave()
            stop.reached()
            yield lambda delivers: stop.release(delivers=delivers)
            client.leave()


@pytest.mark.parametrize("step", Step, ids=lambda step: step.name.lower())
def test_an_agent_that_is_killed_leaves_nobody_a_way_in(step: Step, stack: Stack, relay: Relay) -> None:
    try:
        with at(step, stack, relay) as release:
            stack.agent.kill()
            release(False)
        eventually(lambda: nobody_can_sign_in(stack.server), "the end of the time to sign in", SIGN_IN_SECONDS + 5)
    finally:
        stack.agent.start()
    nothing_is_left(stack)


@pytest.mark.parametrize("step", [Step.LEASED, Step.SIGNING_IN, Step.DROPPING], ids=lambda step: step.name.lower())
def test_what_a_dead_agent_has_sent_and_arrives_late_leaves_nobody_a_way_in(
    step: Step, stack: Stack, relay: Relay
) -> None:
    try:
        with at(step, stack, relay) as release:
            stack.agent.kill()
            stack.agent.start()
            release(True)
        eventually(lambda: nobody_can_sign_in(stack.server), "the end of the time to sign in", SIGN_IN_SECONDS + 5)
    finally:
        stack.agent.stop()
        stack.agent.start()  # its janitor would look again within a minute
    nothing_is_left(stack)


@pytest.mark.parametrize("step", Step, ids=lambda step: step.name.lower())
def test_a_control_plane_that_is_killed_keeps_no_account_from_its_end(step: Step, stack: Stack, relay: Relay) -> None:
    try:
        with at(step, stack, relay) as release:
            stack.control.kill()
            release(True)
        eventually(lambda: not ours(stack.server), "the end of every session role without the control plane", WITHIN)
    finally:
        back(stack.control)
    stack.agent.ready()
    nothing_is_left(stack)


def back(control: LocalControlPlane) -> None:
    """Anybody may have its ports meanwhile, for a moment."""

    def started() -> bool:
        with contextlib.suppress(StartError):
            control.start()
            return True
        return False

    eventually(started, "the control plane", WITHIN)


@pytest.mark.parametrize("step", Step, ids=lambda step: step.name.lower())
def test_a_server_that_is_killed_lets_nobody_in_when_it_is_back(step: Step, stack: Stack, relay: Relay) -> None:
    with at(step, stack, relay) as release:
        killed(stack.server)
        release(False)
        started(stack.server)
    nothing_is_left(stack)
    assert stack.psql("roomy", "SELECT 1").stdout.strip() == "1"
    nothing_is_left(stack)


def test_an_agent_that_is_killed_in_a_statement_leaves_no_backend(stack: Stack) -> None:
    with Client(stack) as client:
        client.connected()
        running = stack.start_psql("roomy", "SELECT pg_sleep(100)")
        eventually(lambda: sleeping(stack.server), "the statement at the target")
        stack.agent.kill()
        stack.agent.start()
        nothing_is_left(stack)
        running.communicate()


def test_an_agent_that_never_comes_back_leaves_nobody_a_way_in_and_no_backend(stack: Stack) -> None:
    with Client(stack) as client:
        client.connected()
        running = stack.start_psql("roomy", "SELECT pg_sleep(100)")
        eventually(lambda: sleeping(stack.server), "the statement at the target")
        stack.agent.kill()
        try:
            assert nobody_can_sign_in(stack.server)
            eventually(lambda: not backends(stack.server), "the end of every session's backend", WITHIN)
            running.communicate()
        finally:
            stack.agent.start()
    nothing_is_left(stack)


def test_a_state_directory_that_is_lost_leaves_no_role_for_long(stack: Stack, relay: Relay) -> None:
    """Only the name of the role tells whose it was."""
    with Client(stack) as client:
        client.connected()
        stack.agent.kill()
        for file in stack.agent.state.glob("leases.db*"):
            file.unlink()
        eventually(lambda: not backends(stack.server), "the end of the session's backend")
        assert ours(stack.server)
        stack.agent.start()
    eventually(lambda: not ours(stack.server), "the end of every session role", WITHIN)
    nothing_is_left(stack)


def test_a_role_that_will_not_go_is_disabled_alarmed_shown_and_gone_when_it_can_be(stack: Stack) -> None:
    """It owns what policy would not have let it make: whoever made that behind its back, nobody else's it becomes."""
    with Client(stack, "reading") as client:
        client.connected()
        (name,) = ours(stack.server)
        stack.server.execute(
            "CREATE TABLE obstacle (id integer)", f"ALTER TABLE obstacle OWNER TO {name}", database="roomy"
        )

    def stuck() -> list[dict[str, object]]:
        return list(stack.reviewer.pages("/v1/accounts", 100, show="stuck"))

    (account,) = eventually(stuck, "the report of an account that will not go")
    assert (account["account"], account["state"]) == (name, "disabled")
    assert "obstacle" in str(account["detail"])
    assert ours(stack.server) == {name: False}
    assert stack.gauge("orphaned_accounts") == 1
    (alarm,) = [one for one in stack.audited("agent.notice") if one["data"]["kind"] == "orphaned-account"]
    assert name in alarm["data"]["text"]
    stack.server.execute("DROP TABLE obstacle", database="roomy")
    nothing_is_left(stack)
    assert stack.gauge("orphaned_accounts") == 0


def test_a_worker_that_is_killed_leaves_its_accounts_to_the_next_and_the_others_keep_theirs(stack: Stack) -> None:
    documents = [
        target("shared", stack.server, "roomy", agent="pair", credential=session_roles()),
        policy("shared", "shared", ALLOW_ALL),
    ]
    stack.control.apply(documents)
    account = {"shared": (KEEPER, PASSWORD)}
    with another_agent(stack, "pair", account, workers=2) as pair, contextlib.ExitStack() as clients:
        sessions: list[Client] = []
        while len(sessions) < 4 or not all(shares(pair)):
            sessions.append(clients.enter_context(Client(pair, "shared")))
            sessions[-1].connected()
        assert len(ours(stack.server)) == len(sessions)
        victim, *_ = workers(pair)
        os.kill(victim, signal.SIGKILL)
        left = eventually(lambda: living(sessions, pair), "the end of the sessions of one worker", WITHIN)
        assert left == len(ours(stack.server))
        assert nobody_can_sign_in(stack.server)
    nothing_is_left(pair)


def living(sessions: Sequence[Client], stack: Stack) -> int:
    """How many sessions still run, once there are no more accounts than those; 0: there are more yet."""
    alive = sum(one.alive for one in sessions)
    return alive if alive < len(sessions) and alive == len(ours(stack.server)) == leases(stack) else 0


def sleeping(server: PostgresServer) -> bool:
    question = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(100)%' AND usename LIKE 'gw\\_%'"
    with psycopg.connect(server.url(), autocommit=True) as admin:
        return admin.execute(question).fetchone() != (0,)


def killed(server: PostgresServer) -> None:
    """The postmaster by kill -9: its children notice by themselves."""
    first = (server.folder / "data" / "postmaster.pid").read_text().split("\n", 1)[0]
    children = subprocess.run(["pgrep", "-P", first], capture_output=True, text=True, check=False).stdout.split()
    for pid in (first, *children):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in (first, *children)), "the end of the server")


def started(server: PostgresServer) -> None:
    """As after any crash: it recovers from its log."""
    server_process.start(server.folder, server.bin, server.port)
