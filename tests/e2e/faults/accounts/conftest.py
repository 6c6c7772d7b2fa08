"""Agents that make a role for each session, on a server that may die. Each module has its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.faults.accounts.scene import SIGN_IN_SECONDS
from tests.e2e.faults.steps import Relay
from tests.support.postgres import PostgresServer, running_postgres
from tests.support.session_roles import found, session_roles
from tests.support.stack import ALLOW_ALL, Stack, policy, running_stack, target

READS = {"name": "reads", "match": {"action": ["read", "session"]}, "effect": "allow"}


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
