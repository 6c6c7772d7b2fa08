"""Rotation of the accounts that make the accounts of sessions, where neither may alter the other (PostgreSQL 16 and newer)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from control_plane.cli.demo.postgres import bundled_binaries
from tests.e2e.test_rotation import kept, lets_in, rotated
from tests.support.postgres import PostgresServer, running_postgres
from tests.support.session_roles import KEEPER, OWNER, PASSWORD, READER, WRITER, found, ours, session_roles
from tests.support.stack import ALLOW_ALL, Stack, eventually, policy, running_stack, target

OTHER = "other_keeper"
NAME = "roomy"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with running_postgres(bin_folder=bundled_binaries(), tls=False) as running:
        yield running


@pytest.fixture(scope="module")
def stack(server: PostgresServer) -> Iterator[Stack]:
    found(server, NAME)
    server.execute(
        f"CREATE ROLE {OTHER} LOGIN CREATEROLE PASSWORD 'asleep'",
        f"GRANT {READER}, {WRITER}, {OWNER} TO {OTHER} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE",
    )
    credential = {**session_roles(), "rotate": {"accounts": [KEEPER, OTHER]}}
    waiting = {"stage": "asleep", "username": OTHER, "passwords": ["asleep"]}
    secret = json.dumps({"username": KEEPER, "password": PASSWORD, "waiting": waiting})
    documents = [target(NAME, server, NAME, credential=credential), policy(NAME, NAME, ALLOW_ALL)]
    with running_stack(server, documents, {NAME: (KEEPER, secret)}) as running:
        yield running


def test_sessions_go_on_and_their_accounts_are_removed_by_the_account_that_took_over(stack: Stack) -> None:
    with psycopg.connect(stack.dsn(NAME), autocommit=True) as session:
        (before,) = ours(stack.server)
        done = rotated(stack, NAME)
        assert (done["state"], done["account"], done["disabled"]) == ("done", OTHER, "asleep"), done
        assert session.execute("SELECT current_user").fetchone() is not None
        with psycopg.connect(stack.dsn(NAME), autocommit=True) as later:
            assert later.execute("SELECT 1").fetchone() == (1,)
            assert set(ours(stack.server)) > {before}
    eventually(lambda: not ours(stack.server), "the end of every session role")
    assert not lets_in(stack.server, KEEPER, PASSWORD)
    assert not lets_in(stack.server, OTHER, "asleep")
    assert kept(stack, NAME)["waiting"]["username"] == KEEPER


def test_it_turns_back(stack: Stack) -> None:
    done = rotated(stack, NAME)
    assert (done["account"], done["previous"], done["problem"]) == (KEEPER, OTHER, "")
    assert stack.psql(NAME, "SELECT 1").stdout.strip() == "1"
    eventually(lambda: not ours(stack.server), "the end of every session role")
    assert Path(stack.agent.state, f"{NAME}.password").stat().st_mode & 0o077 == 0
