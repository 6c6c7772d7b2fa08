"""What the tests of faults run on: one calm control plane with an agent, and a target that any rule of holding fits.

Each target has an environment of its own, so that its policy is its own. Faults that would disturb others have agents
or a control plane of their own, in their modules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.support.postgres import PostgresServer
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
BOTS = {"groups": ["bots"]}


def policy(name: str, *rules: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    """For the target of this name and the members of `bots` only."""
    document = policy_document(name, name, *rules)
    document["spec"] |= {"requesters": BOTS, **spec}
    return document


def documents(server: PostgresServer, name: str, *rules: Mapping[str, Any], **spec: Any) -> list[dict[str, Any]]:
    """A target in a database of its own, which is made, with its policy."""
    server.execute(f"CREATE DATABASE {name}")
    server.execute(SCHEMA, database=name)
    return [target(name, server, name, **spec), policy(name, *(rules or RULES))]


def account(server: PostgresServer) -> tuple[str, str]:
    return server.superuser, server.password


@pytest.fixture(scope="package")
def calm(postgres: PostgresServer) -> Iterator[Stack]:
    served = ("bank", "doomed")
    wanted = [document for name in served for document in documents(postgres, name)]
    with running_stack(postgres, wanted, dict.fromkeys(served, account(postgres))) as running:
        yield running
