"""What is asked beforehand, with a plain psql: a plan that is approved as one, and a target for a limited time."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from control_plane.cli.client import Api
from control_plane.cli.config import Profile
from tests.e2e.test_cli import Cli
from tests.support.postgres import PostgresServer
from tests.support.stack import ALLOW_ALL, REQUESTER, REVIEWER, Stack, document, eventually, running_stack, target

FIRST, SECOND = "DELETE FROM orders WHERE id = 1", "UPDATE orders SET total = 0 WHERE id = 2"
RULES = [
    {"name": "reads", "match": {"action": "read"}, "effect": "allow"},
    {"name": "writes", "match": {"action": "write"}, "effect": "hold", "approval": "dba"},
    {"name": "ddl", "match": {"action": "ddl"}, "effect": "deny", "message": "no schema changes here"},
]
DOCUMENTS = [
    document("Policy", "planned", targets={"environment": "planned"}, rules=RULES, plans={"approval": "dba"}),
    document("Group", "lent-window"),
    document(
        "Policy", "lent", targets={"environment": "lent"}, requesters={"groups": ["lent-window"]}, rules=[ALLOW_ALL]
    ),
    document("AccessOffer", "tonight", target="lent", group="lent-window", ask=["bots"], approval="dba", longest="1h"),
]  # fmt: skip


@pytest.fixture(scope="module")
def stack(postgres: PostgresServer) -> Iterator[Stack]:
    databases = ("planned", "lent")
    for database in databases:
        postgres.execute(f"CREATE DATABASE {database}")
        postgres.execute(
            "CREATE TABLE orders AS SELECT i AS id, i AS total FROM generate_series(1, 9) i", database=database
        )
    account = (postgres.superuser, postgres.password)
    targets = [target(name, postgres, name) for name in databases]
    with running_stack(postgres, [*targets, *DOCUMENTS], dict.fromkeys(databases, account)) as running:
        yield running


@pytest.fixture(scope="module")
def bot(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    with Api(stack.control.admin) as admin:
        key = admin.post("/v1/service-account-keys", {"identity": REQUESTER, "ttl_days": 1})["key"]
    return Cli(tmp_path_factory.mktemp("bot"), Profile(stack.control.url, key))


@pytest.fixture(scope="module")
def rosa(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    return Cli(tmp_path_factory.mktemp("rosa"), stack.control.sign_in(REVIEWER, stack.reviewer_password))


def submitted(bot: Cli, folder: Path, *statements: str) -> str:
    """Its short code."""
    file = folder / "plan.sql"
    file.write_text(";\n".join(statements) + ";\n")
    plan = bot.json("plans", "submit", str(file), "--target", "planned", "--reason", "ticket 4711")
    return str(plan["short_code"])


# -------------------------------------------------------------- a plan


def test_psql_runs_an_approved_plan_without_waiting_and_everything_else_waits(
    stack: Stack, bot: Cli, rosa: Cli, tmp_path: Path
) -> None:
    code = submitted(bot, tmp_path, FIRST, SECOND)
    shown = rosa.said("approvals", "approve", code, "--yes")
    assert FIRST in shown
    assert SECOND in shown
    ran = stack.psql("planned", FIRST, "SELECT count(*) FROM orders", SECOND)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["DELETE", "1", "8", "UPDATE", "1"]
    assert "approv" not in ran.stderr, "nobody was asked again"
    plan = bot.json("plans", "show", code)
    assert plan["state"] == "ended"
    executed = lambda: [one["state"] for one in bot.json("plans", "show", code)["operations"]] == ["executed"] * 2  # noqa: E731
    eventually(executed, "both are executed")
    used = stack.approval(plan["operations"][0]["used_by"])
    assert used["operation"]["text"] == FIRST
    assert [(one["name"], one["verb"]) for one in used["decisions"]] == [(REVIEWER, "approve")]
    assert len(stack.audited("approval.plan-used", plan["id"])) == 2
    again = stack.start_psql("planned", FIRST)
    stack.deny(FIRST, "once was enough")
    _, problem = again.communicate(timeout=30)
    assert "once was enough" in problem


def test_a_session_in_another_state_or_order_is_held_and_ddl_stays_denied(
    stack: Stack, bot: Cli, rosa: Cli, tmp_path: Path
) -> None:
    code = submitted(bot, tmp_path, "DELETE FROM orders WHERE id = 3", "DELETE FROM orders WHERE id = 4",
                     "DROP TABLE orders")  # fmt: skip
    rosa.said("approvals", "approve", code, "--yes")
    for statement in (
        "DELETE FROM orders WHERE id = 4",
        "SET search_path = pg_temp, public; DELETE FROM orders WHERE id = 3",
    ):
        held = stack.start_psql("planned", *statement.split("; "))
        stack.deny(statement.split("; ")[-1], "not like this")
        assert "not like this" in held.communicate(timeout=30)[1]
    done = stack.psql(
        "planned", "DELETE FROM orders WHERE id = 3", "DELETE FROM orders WHERE id = 4", "DROP TABLE orders"
    )
    assert done.stdout.split() == ["DELETE", "1", "DELETE", "1"]
    assert "no schema changes here" in done.stderr
    assert bot.json("plans", "withdraw", code)["state"] == "lapsed"
    whys = [one["data"]["why"] for one in stack.audited("approval.not-planned")]
    assert any("comes first" in why for why in whys)
    assert any("search_path" in why for why in whys)


def test_submit_waits_for_people_when_it_is_told_to(stack: Stack, bot: Cli, tmp_path: Path) -> None:
    file = tmp_path / "plan.sql"
    file.write_text("DELETE FROM orders WHERE id = 5")
    words = ("plans", "submit", str(file), "--target", "planned", "--reason", "r", "--wait", "--output", "json")
    waiting = bot.start(*words)
    stack.deny("-- 1 of 1", "not tonight")
    assert '"outcome": "not tonight"' in waiting.communicate(timeout=60)[0]
    assert waiting.returncode == 1


def test_plans_are_listed_and_a_requester_that_is_not_locked_is_not_unlocked(
    stack: Stack, bot: Cli, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    code = submitted(bot, tmp_path, FIRST)
    assert code in bot.said("plans", "list")
    assert "is not NAME=VALUE" in bot.refused("plans", "submit", str(tmp_path / "plan.sql"), "--target", "planned",
                                              "--reason", "r", "--state", "search_path")  # fmt: skip
    admin = Cli(tmp_path_factory.mktemp("admin"), stack.control.sign_in())
    assert admin.json("identities", "locks") == []
    assert "'bot' is not locked" in admin.refused("identities", "unlock", REQUESTER)


# -------------------------------------------------------------- access


def window(bot: Cli, rosa: Cli, length: str) -> str:
    asked = bot.json("access", "request", "tonight", "--for", length, "--reason", "ticket 4711")
    assert "lent-window" in rosa.said("approvals", "approve", asked["short_code"], "--yes")
    return str(asked["short_code"])


def connects(stack: Stack) -> bool:
    return stack.psql("lent", "SELECT 'in'").stdout.strip() == "in"


def sleeping(stack: Stack, mark: str) -> subprocess.Popen[str]:
    """A session that would stay for a minute, once it is in the middle of that."""
    psql = stack.start_psql("lent", f"SELECT pg_sleep(60) -- {mark}")
    running = "SELECT count(*) FROM pg_stat_activity WHERE query = %s AND state = 'active'"
    with psycopg.connect(stack.server.url("lent"), autocommit=True) as watching:
        asked = lambda: watching.execute(running, [f"SELECT pg_sleep(60) -- {mark}"]).fetchone() == (1,)  # noqa: E731
        eventually(asked, "the session sleeps")
    return psql


def test_access_is_there_from_its_approval_until_its_time_is_over(stack: Stack, bot: Cli, rosa: Cli) -> None:
    """Invariant 7: what is gone ends live sessions, and psql hears of it."""
    assert bot.json("access", "offers")[0]["name"] == "tonight"
    assert not connects(stack)
    window(bot, rosa, "8s")
    eventually(lambda: connects(stack), "the window opens")
    psql = sleeping(stack, "until its end")
    _, problem = psql.communicate(timeout=20)
    assert psql.returncode != 0
    assert "access to this target has ended" in problem
    assert not connects(stack)
    assert bot.json("access", "list")[0]["state"] == "ended"


def test_access_that_is_given_back_ends_what_rests_on_it(stack: Stack, bot: Cli, rosa: Cli) -> None:
    code = window(bot, rosa, "10m")
    eventually(lambda: connects(stack), "the window opens")
    psql = sleeping(stack, "given back")
    assert rosa.json("access", "end", code, "--reason", "done")["outcome"] == f"ended by {REVIEWER}: done"
    _, problem = psql.communicate(timeout=20)
    assert "access to this target has ended" in problem
    eventually(lambda: not connects(stack), "the window is closed")
