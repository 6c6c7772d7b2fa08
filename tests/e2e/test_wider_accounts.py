"""Sessions whose account may only read: what people approve is done, by tickets, windows, plans and row guards too, and
the next one of the same kind is not; each time in a session whose account has another name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from control_plane.cli.client import Api
from control_plane.cli.config import Profile
from tests.e2e.test_cli import Cli
from tests.e2e.test_windows import approve, shell, state
from tests.support.postgres import PostgresServer
from tests.support.session_roles import READER, WRITER, found, ours, session_roles
from tests.support.stack import REQUESTER, REVIEWER, Stack, document, eventually, running_stack, target

NAME = "wider"
LOOKER = ("wider_looker", "looker-password")
READS = {"name": "reads", "match": {"action": ["read", "session"]}, "effect": "allow"}
WRITES = {"name": "writes", "match": {"action": "write"}, "effect": "hold", "approval": "wide", "hold": {"wait": "60s"}}
LATER = {
    "name": "later", "match": {"verbs": ["INSERT"]}, "effect": "hold", "approval": "wide",
    "hold": {"wait": "1s", "then": "ticket"},
}  # fmt: skip
MINDFUL = {**WRITES, "approval": "counted", "hold": {"wait": "60s", "preview": ["count"]}}
CHAINS = [
    document("ApprovalChain", "wide", stages=[{"groups": ["dba"]}], window={"longest": "30m", "most": 5}),
    document("ApprovalChain", "counted", stages=[{"groups": ["dba"]}], row_guard={"required": True}),
]
MEMBER = "SELECT count(*) FROM pg_auth_members WHERE roleid = '{}'::regrole AND member::regrole::text LIKE 'gw\\_%'"


def rules(*written: dict[str, Any], name: str = NAME) -> dict[str, Any]:
    return document("Policy", name, targets={"environment": name}, rules=list(written), plans={"approval": "wide"})


@pytest.fixture(scope="module")
def stack(postgres: PostgresServer) -> Iterator[Stack]:
    account = found(postgres, NAME)
    postgres.execute(
        f"CREATE ROLE {LOOKER[0]} LOGIN PASSWORD '{LOOKER[1]}'",
        f"GRANT SELECT ON notes TO {LOOKER[0]}",
        database=NAME,
    )
    documents = [
        *CHAINS,
        target(NAME, postgres, NAME, credential=session_roles()),
        target("mindful", postgres, NAME, credential=session_roles()),
        rules(READS, {**WRITES, "match": {"action": "write", "verbs": ["UPDATE", "DELETE"]}}, LATER),
        document("Policy", "mindful", targets={"environment": "mindful"}, rules=[READS, MINDFUL]),
    ]
    with running_stack(postgres, documents, {NAME: account, "mindful": (*account, *LOOKER)}) as running:
        yield running


def members(stack: Stack, role: str) -> int:
    with psycopg.connect(stack.server.url(), autocommit=True) as admin:
        row = admin.execute(MEMBER.format(role)).fetchone()
        assert row is not None
        return int(row[0])


def test_an_approved_change_is_done_in_a_session_that_may_only_read(stack: Stack) -> None:
    with psycopg.connect(stack.dsn(NAME), autocommit=True) as client:
        assert (members(stack, READER), members(stack, WRITER)) == (1, 0)
        with stack.approving("DELETE FROM notes WHERE id = 1"):
            assert client.execute("DELETE FROM notes WHERE id = 1").rowcount == 1
        assert client.execute("SELECT count(*) FROM notes").fetchone() == (19,)
        assert members(stack, WRITER) == 0, "what was given is taken back"
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="no rule allows"):
            client.execute("CREATE TABLE made (id integer)")
    eventually(lambda: not ours(stack.server), "the end of the role")


def test_a_ticket_is_used_in_another_session_with_another_account(stack: Stack) -> None:
    insert = "INSERT INTO notes VALUES (100, 'later')"
    first = stack.psql(NAME, insert)
    assert "still waiting for approval" in first.stderr
    stack.approve(insert)
    done = eventually(lambda: (again := stack.psql(NAME, insert)).returncode == 0 and again, "its run")
    assert done.stdout.strip() == "INSERT 0 1"


def test_a_window_covers_operations_of_its_shape_and_the_account_is_widened_for_each(stack: Stack) -> None:
    with shell(stack, NAME, PGDATABASE=NAME) as psql:
        psql.feed("DELETE FROM notes WHERE id = 2")
        asked = approve(stack, "DELETE FROM notes WHERE id = 2", uses=3, minutes=5)
        psql.until("DELETE 1")
        psql.feed("DELETE FROM notes WHERE id = 3", "DELETE FROM notes WHERE id = 4", "SELECT 'behind', 'them'")
        psql.until("behind|them")
        uses = lambda: [one["result"] for one in state(stack, asked["id"])["window"]["each"]] == ["DELETE 1"] * 3  # noqa: E731
        eventually(uses, "all its uses are reported")
        assert members(stack, WRITER) == 0


def test_a_plan_runs_in_a_session_with_an_account_of_its_own(
    stack: Stack, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Api(stack.control.admin) as admin:
        key = admin.post("/v1/service-account-keys", {"identity": REQUESTER, "ttl_days": 1})["key"]
    bot = Cli(tmp_path_factory.mktemp("bot"), Profile(stack.control.url, key))
    first, second = "DELETE FROM notes WHERE id = 5", "UPDATE notes SET note = 'planned' WHERE id = 6"
    (tmp_path / "plan.sql").write_text(f"{first};\n{second};\n")
    plan = bot.json("plans", "submit", str(tmp_path / "plan.sql"), "--target", NAME, "--reason", "r")
    rosa = Cli(tmp_path_factory.mktemp("rosa"), stack.control.sign_in(REVIEWER, stack.reviewer_password))
    rosa.said("approvals", "approve", str(plan["short_code"]), "--yes")
    ran = stack.psql(NAME, first, second)
    assert ran.stdout.split() == ["DELETE", "1", "UPDATE", "1"], ran.stderr
    eventually(
        lambda: (
            [one["state"] for one in bot.json("plans", "show", plan["short_code"])["operations"]] == ["executed"] * 2
        ),
        "both are executed",
    )


def test_a_row_guard_holds_with_the_wider_account(stack: Stack) -> None:
    statement = "DELETE FROM notes WHERE note LIKE 'more%'"
    with psycopg.connect(stack.dsn("mindful").replace("dbname=mindful", f"dbname={NAME}"), autocommit=True) as client:
        stack.server.execute("INSERT INTO notes VALUES (201, 'more 1'), (202, 'more 2')", database=NAME)
        with stack.approving("DELETE FROM notes WHERE note LIKE"):
            assert client.execute(statement).rowcount == 2
        stack.server.execute("INSERT INTO notes VALUES (203, 'more 3')", database=NAME)
        held = stack.start_psql("mindful", statement, PGDATABASE=NAME)
        assert stack.pending("DELETE FROM notes WHERE note LIKE")
        stack.server.execute("INSERT INTO notes VALUES (204, 'more 4')", database=NAME)
        stack.approve("DELETE FROM notes WHERE note LIKE")
        assert "at most 1 were approved" in held.communicate(timeout=60)[1]
        assert client.execute("SELECT count(*) FROM notes WHERE id > 202").fetchone() == (2,)


def test_a_session_whose_policy_takes_something_away_ends_and_the_next_has_less(stack: Stack) -> None:
    free = {"name": "free", "match": {"action": "write", "tables": ["public.notes"]}, "effect": "allow"}
    try:
        stack.control.apply([rules(READS, free, LATER)])
        eventually(lambda: _may_write(stack), "a session that may write")
        with psycopg.connect(stack.dsn(NAME), autocommit=True) as client:
            client.execute("UPDATE notes SET note = 'free' WHERE id = 7")
            stack.control.apply([rules(READS, WRITES)])
            with pytest.raises(psycopg.OperationalError):
                eventually(lambda: client.execute("SELECT pg_sleep(0.05)") and None, "its end")
    finally:
        stack.control.apply([rules(READS, WRITES, LATER)])
    assert members(stack, WRITER) == 0


def _may_write(stack: Stack) -> bool:
    with psycopg.connect(stack.dsn(NAME)):
        return members(stack, WRITER) == 1
