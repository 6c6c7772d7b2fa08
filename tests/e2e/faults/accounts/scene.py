"""kill -9 of the agent, of the control plane and of the PostgreSQL server at every step of a session's account.

Whatever dies: nobody can sign in with a role of ours, and soon there is none. What is, the server itself says.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from typing import Final, Self

import psycopg

from tests.e2e.faults.steps import Relay, Step
from tests.support.postgres import PostgresServer
from tests.support.session_roles import backends, ours
from tests.support.stack import Stack, eventually

SIGN_IN_SECONDS: Final = 3
WITHIN: Final = 60.0  # seconds, after any of it
AT_THE_END: Final = {Step.CLEANING, Step.DROPPING, Step.DROPPED}


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
