"""What a dead agent or worker leaves behind, and a role that will not go."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence

import psycopg

from tests.e2e.faults.accounts.scene import WITHIN, Client, leases, nobody_can_sign_in, nothing_is_left
from tests.e2e.faults.steps import Relay
from tests.e2e.faults.test_workers import shares, workers
from tests.support.postgres import PostgresServer
from tests.support.session_roles import KEEPER, PASSWORD, backends, ours, session_roles
from tests.support.stack import ALLOW_ALL, Stack, another_agent, eventually, policy, target


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
