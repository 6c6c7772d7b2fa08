"""What the tests of faults run on: one calm control plane with an agent, and a target that any rule of holding fits.

Each target has an environment of its own, so that its policy is its own. Faults that would disturb others have agents
or a control plane of their own, in their modules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from control_plane.cli.demo.ports import free_port
from tests.e2e.faults.valve import Valve
from tests.support.postgres import PostgresServer, running_postgres
from tests.support.stack import Stack, running_stack, target
from tests.support.stack import policy as policy_document

SCHEMA = """
CREATE TABLE ledger (id integer PRIMARY KEY, amount integer NOT NULL);
CREATE TABLE brief (id integer PRIMARY KEY, amount integer NOT NULL);
CREATE TABLE ticketed (id integer PRIMARY KEY, amount integer NOT NULL);
CREATE TABLE slow (id integer PRIMARY KEY, amount integer NOT NULL);
INSERT INTO ledger SELECT i, 0 FROM generate_series(1, 200) i;
INSERT INTO brief SELECT i, 0 FROM generate_series(1, 20) i;
INSERT INTO ticketed SELECT i, 0 FROM generate_series(1, 20) i;
INSERT INTO slow SELECT i, 0 FROM generate_series(1, 20) i;
"""
READS = {"name": "reads", "match": {"action": "read"}, "effect": "allow"}
DDL = {"name": "ddl", "match": {"action": "ddl"}, "effect": "deny", "message": "no schema changes here"}


def held(table: str, **limits: str) -> dict[str, Any]:
    return {
        "name": f"writes-{table}",
        "match": {"action": "write", "tables": [f"public.{table}"]},
        "effect": "hold",
        "approval": "dba",
        "hold": {"wait": "60s", "in_transaction": "30s", **limits},
    }


RULES: tuple[Mapping[str, Any], ...] = (
    READS,
    DDL,
    held("ledger"),
    held("slow", in_transaction="1s"),
    held("brief", wait="1s"),
    held("ticketed", wait="1s", then="ticket"),
)
MISTAKEN = "canary-that-is-not-the-password"
BOTS = {"groups": ["bots"]}


def policy(name: str, *rules: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    """For the target of this name and the members of `bots` only."""
    document = policy_document(name, name, *rules)
    document["spec"] |= {"requesters": BOTS, **spec}
    return document


def documents(server: PostgresServer, name: str, *rules: Mapping[str, Any], **spec: Any) -> list[dict[str, Any]]:
    """A target in a database of its own, which is made, with its policy. A package's fixtures may be made again."""
    server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}")
    server.execute(SCHEMA, database=name)
    return [target(name, server, name, **spec), policy(name, *(rules or RULES))]


def account(server: PostgresServer) -> tuple[str, str]:
    return server.superuser, server.password


@pytest.fixture(scope="package")
def frail() -> Iterator[PostgresServer]:
    """A server that may die."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="package")
def valve() -> Iterator[Valve]:
    """On the link of the calm agent."""
    with Valve() as valve:
        yield valve


@pytest.fixture(scope="package")
def calm(postgres: PostgresServer, frail: PostgresServer, valve: Valve) -> Iterator[Stack]:
    """A lease that outlasts every test. `nowhere` has no server; the password for `mistaken` is wrong."""
    nowhere = target("nowhere", postgres, "nowhere", address=f"127.0.0.1:{free_port()}")
    wanted = [
        *documents(postgres, "bank"),
        *documents(postgres, "doomed"),
        *documents(frail, "frail"),
        *(nowhere, policy("nowhere", READS)),
        *(target("mistaken", postgres, "mistaken"), policy("mistaken", READS)),
    ]
    own = account(postgres)
    accounts = {"bank": own, "doomed": own, "nowhere": own, "frail": account(frail), "mistaken": (own[0], MISTAKEN)}
    with running_stack(postgres, wanted, accounts, dialling=valve.settings) as running:
        yield running
