"""psql, unmodified, through the agent: reads flow masked, writes wait for a person, refusals leave the session alive."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest

from tests.support.stack import Stack, eventually

WAIT = 30


def orders(stack: Stack, where: str = "true") -> str:
    return stack.psql("shop", f"SELECT count(*) FROM orders WHERE {where}").stdout.strip()


def test_a_read_flows_with_protected_columns_masked(stack: Stack) -> None:
    done = stack.psql("shop", "SELECT * FROM customers ORDER BY id")
    assert done.returncode == 0, done.stderr
    assert "Ada" in done.stdout
    assert "likes tea" in done.stdout
    for secret in ("ada@canary", "4111111111111111"):
        assert secret not in done.stdout


def test_a_held_delete_runs_after_approval_and_psql_saw_why_it_waited(stack: Stack) -> None:
    """Invariant 1: nothing of it reached the target before."""
    client = stack.start_psql("shop", "DELETE FROM orders WHERE id = 1")
    pending = stack.pending("DELETE FROM orders WHERE id = 1")
    assert orders(stack, "id = 1") == "1"
    stack.approve("DELETE FROM orders WHERE id = 1")
    out, notices = client.communicate(timeout=WAIT)
    assert "DELETE 1" in out
    assert pending["short_code"] in notices
    assert "group dba" in notices
    assert f"/approvals/{pending['id']}" in notices
    assert orders(stack, "id = 1") == "0"


def test_a_denial_reaches_the_client_with_its_reason(stack: Stack) -> None:
    client = stack.start_psql("shop", "DELETE FROM orders WHERE id = 2", "SELECT 'alive'")
    stack.deny("DELETE FROM orders WHERE id = 2", "ask finance first")
    out, notices = client.communicate(timeout=WAIT)
    assert "ask finance first" in notices
    assert "alive" in out
    assert orders(stack, "id = 2") == "1"


def test_refusals_say_what_to_fix_and_the_session_lives_on(stack: Stack) -> None:
    """Invariant 14."""
    done = stack.psql("shop", "DELETE FROM orders", "DROP TABLE orders", "SELECT 'alive'")
    assert "add a WHERE clause" in done.stderr
    assert "no schema changes here" in done.stderr
    assert "alive" in done.stdout


@pytest.mark.parametrize(
    ("options", "before"),
    [("", ["SET statement_timeout = '1s'"]), ("-c statement_timeout=1s", [])],
    ids=["set", "start"],
)
def test_a_statement_timeout_of_the_client_bounds_a_hold(stack: Stack, options: str, before: list[str]) -> None:
    statement = "DELETE FROM orders WHERE id = 20"
    done = stack.psql("shop", *before, statement, "SELECT 'alive'", PGOPTIONS=options)
    assert "canceling statement due to statement timeout" in done.stderr
    assert "waits up to 1 s" in done.stderr
    assert "alive" in done.stdout

    def states() -> set[str]:
        asked = stack.reviewer.pages("/v1/approvals", 100, show="decided")
        return {one["state"] for one in asked if one["headline"].startswith(statement)}

    eventually(lambda: states() == {"cancelled"}, "the end of the request")
    assert orders(stack, "id = 20") == "1"


def test_ctrl_c_during_a_hold_cancels_it(stack: Stack) -> None:
    client = stack.start_psql("shop", "DELETE FROM orders WHERE id = 3")
    pending = stack.pending("DELETE FROM orders WHERE id = 3")
    client.send_signal(signal.SIGINT)
    _, notices = client.communicate(timeout=WAIT)
    assert "cancel" in notices.lower()
    ended = eventually(lambda: over(stack, pending["id"]), "the end of the request")
    assert ended == "cancelled"
    assert orders(stack, "id = 3") == "1"


def test_a_client_that_goes_away_cancels_its_hold(stack: Stack) -> None:
    client = stack.start_psql("shop", "DELETE FROM orders WHERE id = 4")
    pending = stack.pending("DELETE FROM orders WHERE id = 4")
    client.kill()
    client.communicate()
    assert eventually(lambda: over(stack, pending["id"]), "the end of the request") == "cancelled"
    assert orders(stack, "id = 4") == "1"


def over(stack: Stack, approval_id: str) -> str:
    state = str(stack.reviewer.get(f"/v1/approvals/{approval_id}")["state"])
    return "" if state == "pending" else state


def test_a_denied_statement_fails_its_transaction(stack: Stack) -> None:
    done = stack.psql("shop", "BEGIN; SELECT 1; ", "DROP TABLE orders", "SELECT 'after'", "COMMIT")
    assert "no schema changes here" in done.stderr
    assert "current transaction is aborted" in done.stderr
    assert "ROLLBACK" in done.stdout


def test_a_held_statement_in_a_transaction_keeps_it_open(stack: Stack) -> None:
    with stack.approving("DELETE FROM orders WHERE id = 5"):
        done = stack.psql("shop", "BEGIN", "DELETE FROM orders WHERE id = 5", "ROLLBACK")
    assert "DELETE 1" in done.stdout, done.stderr
    assert orders(stack, "id = 5") == "1"


def test_a_bad_token_is_refused_like_a_bad_password(stack: Stack) -> None:
    environment = {**stack.environment("shop"), "PGPASSWORD": "not-a-token"}
    done = subprocess.run(stack.psql_command("SELECT 1"), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "FATAL" in done.stderr


def test_a_session_is_replayed_with_what_was_asked_decided_and_answered(stack: Stack) -> None:
    done = stack.psql("shop", "SELECT name, email FROM customers WHERE id = 1", PGAPPNAME="replayed")
    assert done.returncode == 0
    events = stack.recorded("replayed")
    kinds = [event["kind"] for event in events]
    assert kinds[0] == "opened"
    assert kinds[-1] == "closed"
    assert {"input", "decision", "result", "completed"} <= set(kinds)
    text = json.dumps(events)
    assert "Ada" in text
    assert "ada@canary" not in text
