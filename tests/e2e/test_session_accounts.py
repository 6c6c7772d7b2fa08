"""Through both planes: each session has a role of its own at the target, which is gone after it, and is reported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from control_plane.cli.demo.planes import LocalControlPlane
from tests.e2e.test_cli import Cli
from tests.support.postgres import PostgresServer
from tests.support.session_roles import KEEPER, OWNER, PASSWORD, found, ours, session_roles
from tests.support.stack import ALLOW_ALL, Stack, eventually, policy, running_stack, target

READS = {"name": "reads", "match": {"action": ["read", "session"]}, "effect": "allow"}
HELD = {"name": "writes", "match": {"action": "write"}, "effect": "hold", "approval": "dba", "hold": {"wait": "60s"}}


@pytest.fixture(scope="module")
def stack(postgres: PostgresServer) -> Iterator[Stack]:
    """`plain` has one account for everybody; on `reading` policy lets nobody write without people."""
    account = found(postgres, "roomy")
    documents: list[dict[str, Any]] = [
        target("roomy", postgres, "roomy", credential=session_roles()),
        policy("roomy", "roomy", ALLOW_ALL),
        target("reading", postgres, "roomy", credential=session_roles()),
        policy("reading", "reading", READS, HELD),
        target("plain", postgres, "roomy"),
        policy("plain", "plain", ALLOW_ALL),
    ]
    with running_stack(postgres, documents, {"roomy": account, "reading": account, "plain": account}) as running:
        yield running


def no_role_is_left(server: PostgresServer) -> None:
    eventually(lambda: not ours(server), "the end of every session role")


def accounts(stack: Stack, **query: str) -> list[dict[str, Any]]:
    return list(stack.reviewer.pages("/v1/accounts", 100, **query))


def test_current_user_is_a_role_of_the_session_that_is_gone_afterwards(stack: Stack) -> None:
    first = stack.psql("roomy", "SELECT session_user")
    second = stack.psql("roomy", "SELECT session_user")
    names = {first.stdout.strip(), second.stdout.strip()}
    assert len(names) == 2, first.stderr + second.stderr
    assert all(name.startswith("gw_") for name in names)
    no_role_is_left(stack.server)

    reading = stack.psql("reading", "SELECT current_user", PGDATABASE="roomy")
    assert reading.stdout.startswith("gw_"), reading.stderr
    no_role_is_left(stack.server)


def test_what_a_session_makes_belongs_to_the_owner(stack: Stack) -> None:
    made = stack.psql("roomy", "CREATE TABLE made_here (id integer)", "INSERT INTO made_here VALUES (1)")
    assert made.returncode == 0, made.stderr
    no_role_is_left(stack.server)
    owner = stack.psql("roomy", "SELECT tableowner FROM pg_tables WHERE tablename = 'made_here'")
    assert owner.stdout.strip() == OWNER
    no_role_is_left(stack.server)


def test_a_target_without_session_roles_is_used_as_the_agent_itself(stack: Stack) -> None:
    assert stack.psql("plain", "SELECT current_user", PGDATABASE="roomy").stdout.strip() == KEEPER


def test_nobody_can_sign_in_with_the_role_of_a_running_session(stack: Stack) -> None:
    with psycopg.connect(stack.dsn("roomy")) as client:
        assert client.execute("SELECT 1").fetchone() == (1,)
        ((name, can_sign_in),) = ours(stack.server).items()
        assert name.startswith("gw_")
        assert not can_sign_in
    no_role_is_left(stack.server)


def test_accounts_are_reported_before_they_are_made_and_when_they_are_gone(stack: Stack) -> None:
    with psycopg.connect(stack.dsn("roomy"), application_name="reported") as client:
        client.execute("SELECT 1")
        (name,) = ours(stack.server)
        (account,) = eventually(
            lambda: [one for one in accounts(stack) if one["account"] == name], "the report of the account"
        )  # that of the session before may not be told gone yet
        assert (account["state"], account["target"]) == ("open", "roomy")
        session = next(one for one in stack.sessions() if one["application_name"] == "reported")
        assert account["session_id"] == session["id"]
    eventually(lambda: not accounts(stack), "the report of its end")
    (gone,) = accounts(stack, show="all", session=session["id"])
    assert gone["state"] == "gone"
    assert stack.audited("account.leased", gone["id"])
    assert stack.audited("account.gone", gone["id"])
    assert stack.gauge("orphaned_accounts") == 0


def test_sessions_end_with_an_agent_that_drains_and_their_roles_with_them(stack: Stack) -> None:
    with psycopg.connect(stack.dsn("roomy"), autocommit=True) as client:
        client.execute("SELECT 1")
        stack.agent.stop()
        assert not ours(stack.server)
    stack.agent.start()
    assert stack.psql("roomy", "SELECT 1").stdout.strip() == "1"


def test_without_its_control_plane_an_agent_makes_and_removes_accounts_and_reports_later(stack: Stack) -> None:
    control: LocalControlPlane = stack.control
    control.kill()
    try:
        name = stack.psql("roomy", "SELECT session_user").stdout.strip()
        assert name.startswith("gw_")
        no_role_is_left(stack.server)
    finally:
        control.start()
    eventually(
        lambda: any(one["account"] == name and one["state"] == "gone" for one in accounts(stack, show="all")),
        "the report of its end",
    )


def test_the_command_line_lists_what_is_there(stack: Stack, tmp_path: Path) -> None:
    cli = Cli(tmp_path, stack.control.admin)
    with psycopg.connect(stack.dsn("roomy")) as client:
        client.execute("SELECT 1")
        (name,) = ours(stack.server)
        eventually(lambda: accounts(stack, show="open"), "the report of the account")
        assert [one["account"] for one in cli.json("accounts", "list")] == [name]
    assert cli.json("accounts", "list", "--stuck") == []
    assert name in {one["account"] for one in cli.json("accounts", "list", "--all", "--limit", "100")}
    assert "exclude each other" in cli.refused("accounts", "list", "--all", "--stuck")
    no_role_is_left(stack.server)


def test_an_account_of_the_agent_that_may_make_no_roles_is_told_to_the_operator_alone(
    stack: Stack, postgres: PostgresServer
) -> None:
    postgres.execute(f"ALTER ROLE {KEEPER} NOCREATEROLE")
    try:
        refused = stack.psql("roomy", "SELECT 1")
    finally:
        postgres.execute(f"ALTER ROLE {KEEPER} CREATEROLE")
    assert "could not get an account for this session" in refused.stderr
    assert "assentry targets doctor" in refused.stderr
    assert PASSWORD not in refused.stderr
    log = stack.agent.plane.log.read_text()
    assert "CREATEROLE" in log
    assert PASSWORD not in log
    no_role_is_left(postgres)
