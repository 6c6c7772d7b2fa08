"""`assentry targets doctor` against a running agent: a superuser's account, the SQL it writes, and a proper account."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from control_plane.cli.config import client_environment
from control_plane.cli.demo.ports import free_port
from tests.support.postgres import PostgresServer
from tests.support.stack import Stack, document, policy, running_stack, target

SCHEMA = """
CREATE TABLE customers (id int PRIMARY KEY, name text, email text);
CREATE TABLE orders (id serial PRIMARY KEY, customer_id int, total numeric);
CREATE SCHEMA hr; CREATE TABLE hr.salaries (person text, amount numeric);
GRANT SELECT ON orders TO PUBLIC;
INSERT INTO customers VALUES (1, 'Ada', 'ada@canary.example'); INSERT INTO orders (customer_id, total) VALUES (1, 5);
"""
NAME = "examined"
RULES = (
    {"name": "reads", "match": {"action": "read", "tables": ["public.*"]}, "effect": "allow", "mask": ["mail"]},
    {"name": "writes", "match": {"action": "write", "tables": ["public.orders"]}, "effect": "hold", "approval": "dba"},
)
ROLES = {"read": ["examined_read"], "write": ["examined_write"]}
RUN = [sys.executable, "-c", "from control_plane.cli.main import main; main()"]
PASSWORD = "the-password-of-a-proper-account"


def documents(server: PostgresServer) -> list[dict[str, object]]:
    return [
        target(NAME, server, NAME),
        document("Mask", "mail", columns=[{"column": "public.customers.email"}]),
        policy(NAME, NAME, *RULES),
    ]


@pytest.fixture(scope="module")
def stack(postgres: PostgresServer) -> Iterator[Stack]:
    postgres.execute(f"CREATE DATABASE {NAME}")
    postgres.execute(SCHEMA, database=NAME)
    with running_stack(postgres, documents(postgres), {NAME: (postgres.superuser, postgres.password)}) as running:
        yield running


def doctor(stack: Stack, *words: str) -> subprocess.CompletedProcess[str]:
    profile = stack.control.admin
    environment = client_environment(ASSENTRY_URL=profile.url, ASSENTRY_TOKEN=profile.token)
    command = [*RUN, "targets", "doctor", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=90)


def codes(done: subprocess.CompletedProcess[str]) -> set[str]:
    return {one["code"] for one in json.loads(done.stdout)["findings"] if one["severity"] != "remark"}


def test_a_superuser_is_found_and_what_mends_it_leads_to_a_proper_account(stack: Stack) -> None:
    """The whole way: look, apply what it writes, name the roles, give the agent the new account, look again."""
    seen = doctor(stack, NAME)
    assert seen.returncode == 3
    assert "critical superuser postgres" in seen.stdout
    assert "credential: {session_roles: {roles: {read: [examined_read], write: [examined_write]}}}" in seen.stderr
    assert "assentry_examined" in seen.stderr

    written = doctor(stack, NAME, "--sql")
    assert written.returncode == 0
    stack.server.execute(written.stdout, f"ALTER ROLE assentry_examined PASSWORD '{PASSWORD}'", database=NAME)
    with_roles = target(NAME, stack.server, NAME, credential={"session_roles": {"roles": ROLES}})
    stack.control.apply([with_roles])
    _give_the_agent(stack, "assentry_examined", PASSWORD)

    again = doctor(stack, NAME, "--output", "json")
    before_16 = {"createrole-before-16"} & codes(again)
    assert codes(again) == before_16
    assert doctor(stack, NAME, *(word for code in before_16 for word in ("--accept", code))).returncode == 0
    assert PASSWORD not in again.stdout


def _give_the_agent(stack: Stack, username: str, password: str) -> None:
    stack.agent.stop()
    config = stack.agent.config_file.read_text()
    stack.agent.config_file.write_text(
        config.replace(f'username = "{stack.server.superuser}"', f'username = "{username}"')
    )
    (stack.agent.state / f"{NAME}.password").write_text(password)
    stack.agent.start()


def test_it_is_audited_and_says_what_it_cannot_do(stack: Stack) -> None:
    doctor(stack, NAME)
    told = [one for one in stack.audited("target.examined") if one["subject"] == NAME]
    assert told
    assert doctor(stack, "nothing").returncode == 1
    assert "no target named 'nothing'" in doctor(stack, "nothing").stderr
    wrong = doctor(stack, NAME, "--database", "elsewhere")
    assert wrong.returncode == 1
    assert "the target is the database 'examined' and no other" in wrong.stderr


def test_without_an_agent_nobody_can_look(stack: Stack) -> None:
    stack.control.apply([target("far", stack.server, "far", agent="nobody-here", address=f"127.0.0.1:{free_port()}")])
    done = doctor(stack, "far")
    assert done.returncode == 1
    assert "nobody-here" in done.stderr
    stack.remove("targets", "far")
