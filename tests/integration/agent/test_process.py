"""The agent as processes: two workers on one port, and a drain that loses nothing."""

from __future__ import annotations

import re
import urllib.request
from contextlib import ExitStack

import psycopg

from tests.support.postgres import PostgresServer
from tests.support.stack import HOST, Stack, policy, running_stack, target

RULES = (
    {"name": "reads", "match": {"action": ["read", "session"]}, "effect": "allow"},
    {"name": "ddl", "match": {"action": "ddl"}, "effect": "hold", "approval": "dba", "hold": {"wait": "30s"}},
)
CLIENTS = 16


def open_sessions(stack: Stack, worker: int) -> int:
    with urllib.request.urlopen(f"http://{HOST}:{stack.agent.metrics_port}/metrics", timeout=5) as answer:
        found = re.search(
            rf'^assentry_worker_open_sessions{{worker="{worker}"}} (\S+)$', answer.read().decode(), re.MULTILINE
        )
    assert found is not None
    return int(float(found[1]))


def test_workers_share_the_port_and_a_drain_ends_and_reports_every_session(postgres: PostgresServer) -> None:
    postgres.execute("CREATE DATABASE drained")
    documents = [target("drained", postgres, "drained"), policy("drained", "drained", *RULES)]
    account = {"drained": (postgres.superuser, postgres.password)}
    with running_stack(postgres, documents, account, workers=2, drain_seconds=1) as stack, ExitStack() as clients:
        for _ in range(CLIENTS):
            client = clients.enter_context(psycopg.connect(stack.dsn("drained"), autocommit=True))
            assert client.execute("SELECT 1").fetchone() == (1,)
        shares = [open_sessions(stack, worker) for worker in range(2)]
        assert sum(shares) == CLIENTS
        assert min(shares) > 0
        with stack.approving("CREATE TABLE held"):
            client.execute("CREATE TABLE held (a integer)")
        stack.agent.stop()
        sessions = stack.sessions()
        assert [one["open"] for one in sessions] == [False] * CLIENTS
        assert {one["close_reason"] for one in sessions} == {"drained"}
        assert {stack.reviewer.get(f"/v1/sessions/{one['id']}/timeline")["status"] for one in sessions} == {"complete"}
