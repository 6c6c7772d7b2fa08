"""What a reviewer is told before deciding, and the row guard that holds what runs to it: both planes, real clients."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.support.postgres import PostgresServer
from tests.support.stack import Stack, document, eventually, policy, running_stack, target

WAIT = 60
APP, LOOKER = ("impact_app", "app-password"), ("impact_looker", "looker-password")
SCHEMA = """
CREATE TABLE orders (id integer PRIMARY KEY, region integer, tariff integer, note text);
INSERT INTO orders SELECT i, i % 10, i % 10, 'as it was' FROM generate_series(1, 500000) i;
CREATE TABLE customers (email text PRIMARY KEY, city text);
INSERT INTO customers SELECT 'c' || i || '@canary.example', 'Ulm' FROM generate_series(1, 9) i;
ANALYZE;
GRANT ALL ON orders, customers TO impact_app;
GRANT SELECT ON orders, customers TO impact_looker;
"""
MASK = document("Mask", "mails", columns=[{"column": "public.customers.email"}])
GUARDED = document(
    "ApprovalChain", "guarded", stages=[{"groups": ["dba"]}], row_guard={"margin_percent": 10, "required": True}
)
HELD = {
    "name": "writes", "match": {"action": "write"}, "effect": "hold", "approval": "guarded",
    "hold": {"wait": "60s", "in_transaction": "60s", "preview": ["facts", "estimate", "count"]},
}  # fmt: skip
READS = {"name": "reads", "match": {"action": "read"}, "effect": "allow"}
DRY = {**HELD, "hold": {**HELD["hold"], "preview": ["facts", "dry-run"]}, "match": {"tables": ["public.customers"]}}


@pytest.fixture(scope="module")
def stack(postgres: PostgresServer) -> Iterator[Stack]:
    postgres.execute(
        "CREATE DATABASE impact", *(f"CREATE ROLE {name} LOGIN PASSWORD '{word}'" for name, word in (APP, LOOKER))
    )
    postgres.execute(SCHEMA, database="impact")
    documents = [
        target("impact", postgres, "impact"),
        target("dry", postgres, "impact", preview={"dry_run": True}),
        target("blind", postgres, "impact"),
        MASK, GUARDED,
        policy("impact", "impact", READS, HELD),
        policy("dry", "dry", READS, DRY),
        policy("blind", "blind", READS, HELD),
    ]  # fmt: skip
    accounts = {"impact": (*APP, *LOOKER), "dry": (*APP, "impact_app2", "app-password"), "blind": APP}
    postgres.execute("CREATE ROLE impact_app2 LOGIN PASSWORD 'app-password' IN ROLE impact_app")
    with running_stack(postgres, documents, accounts) as running:
        yield running


def direct(stack: Stack, query: str) -> Any:
    """Past the gateway, committed at once."""
    with psycopg.connect(stack.server.url("impact"), autocommit=True) as connection:
        done = connection.execute(query)
        return done.fetchone()[0] if done.description else None


def changed(stack: Stack, region: int) -> int:
    return int(direct(stack, f"SELECT count(*) FROM orders WHERE region = {region} AND note <> 'as it was'"))


def grow(stack: Stack, region: int, rows: int) -> None:
    """Between a count and its approval."""
    first = int(direct(stack, "SELECT max(id) FROM orders")) + 1
    numbers = f"generate_series({first}, {first + rows - 1}) i"
    direct(stack, f"INSERT INTO orders SELECT i, {region}, {region}, 'as it was' FROM {numbers}")


def card(stack: Stack, text: str) -> dict[str, Any]:
    return stack.approval(stack.pending(text)["id"])


def ended(stack: Stack, approval: str) -> dict[str, Any]:
    def over() -> Any:
        found = stack.approval(approval)
        return found if found["finished_at"] else None

    return dict(eventually(over, "the end of the operation"))


def test_a_card_counts_50_000_rows_where_the_planner_says_5_000_and_binds_what_runs_to_them(stack: Stack) -> None:
    text = "UPDATE orders SET note = 'a' WHERE region = 0 AND tariff = 0"
    client = stack.start_psql("impact", text)
    shown = card(stack, text)
    impact = shown["impact"]
    assert impact["count"]["rows"] == 50_000
    assert 4_000 < impact["estimate"]["rows"] < 6_000
    assert "orders of magnitude" in impact["estimate"]["label"]
    assert {"name": "changes", "value": "public.orders"} in impact["facts"]
    assert shown["row_guard"] == {"most_rows": 55_000, "says": "Undone if it touches more than 55,000 rows."}
    stack.approve(text)
    out, _ = client.communicate(timeout=WAIT)
    assert out.strip() == "UPDATE 50000"
    assert changed(stack, 0) == 50_000
    assert ended(stack, shown["id"])["state"] == "executed"


def test_rows_that_came_after_the_count_are_undone_and_psql_goes_on(stack: Stack) -> None:
    text = "UPDATE orders SET note = 'b' WHERE region = 1"
    client = stack.start_psql("impact", text, "SELECT 'alive'")
    shown = card(stack, text)
    grow(stack, 1, 6_000)
    stack.approve(text)
    out, notices = client.communicate(timeout=WAIT)
    assert "ERROR:  undone: the statement touched 56000 rows, and at most 55000 were approved" in notices
    assert "alive" in out
    assert changed(stack, 1) == 0
    over = ended(stack, shown["id"])
    assert over["state"] == "failed"
    assert "row guard" in over["result"]


@pytest.mark.parametrize("autocommit", [True, False])
def test_psycopg_with_parameters_is_held_to_the_guard(stack: Stack, autocommit: bool) -> None:
    """The extended protocol; inside a transaction the transaction is failed, and what came before is rolled back."""
    region = 2 if autocommit else 3
    text = "UPDATE orders SET note = $1 WHERE region = $2"
    with psycopg.connect(stack.dsn("impact"), autocommit=autocommit) as connection:
        few = "UPDATE orders SET note = note WHERE region = $1 AND id < $2"
        with stack.approving(few):
            done = connection.execute("UPDATE orders SET note = note WHERE region = %s AND id < %s", (region, 100))
            assert done.rowcount == 10
        connection.commit()
        thread = _growing(stack, text, region)
        with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="56000 rows"):
            connection.execute("UPDATE orders SET note = %s WHERE region = %s", ("c", region), prepare=True)
        thread.join()
        failed = psycopg.pq.TransactionStatus.IDLE if autocommit else psycopg.pq.TransactionStatus.INERROR
        assert connection.info.transaction_status == failed
        connection.rollback()
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert changed(stack, region) == 0


def _growing(stack: Stack, text: str, region: int) -> threading.Thread:
    """Lets the table grow once the request is there, then approves it."""

    def work() -> None:
        stack.pending(text)
        grow(stack, region, 6_000)
        stack.approve(text)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_returned_rows_come_when_the_guard_has_held(stack: Stack) -> None:
    with psycopg.connect(stack.dsn("impact"), autocommit=True) as connection:
        with stack.approving("UPDATE orders SET note = 'as it was' WHERE id < $1"):
            rows = connection.execute(
                "UPDATE orders SET note = 'as it was' WHERE id < %s RETURNING id", (4,)
            ).fetchall()
        assert sorted(rows) == [(1,), (2,), (3,)]


def test_a_statement_whose_rows_cannot_be_counted_is_refused_where_the_chain_demands_a_guard(stack: Stack) -> None:
    done = stack.psql(
        "impact", "INSERT INTO orders SELECT id + 9000000, 1, 1, 'x' FROM orders WHERE id < 3", "SELECT 'alive'"
    )
    assert "demands a row guard" in done.stderr
    assert "alive" in done.stdout


def test_without_a_preview_role_nothing_is_counted_and_the_sessions_account_is_not_used_for_it(stack: Stack) -> None:
    done = stack.psql("blind", "UPDATE orders SET note = 'as it was' WHERE id = 1", database="impact")
    assert "no preview role for the target" in done.stderr


def test_a_dry_run_shows_masked_keys_and_binds_what_runs(stack: Stack) -> None:
    text = "UPDATE customers SET city = 'Bonn' WHERE city = 'Ulm'"
    client = stack.start_psql("dry", text, database="impact")
    shown = card(stack, text)
    run = shown["impact"]["dry_run"]
    assert run["rows"] == 9
    assert run["tables"] == [{"table": "public.customers", "inserted": 0, "updated": 9, "deleted": 0}]
    assert run["keys"]["columns"] == ["email"]
    assert len(run["keys"]["rows"]) == 5
    assert "canary" not in str(shown), "masked columns are never shown in clear"
    assert shown["row_guard"]["most_rows"] == 10
    assert direct(stack, "SELECT count(*) FROM customers WHERE city = 'Ulm'") == 9, "it was rolled back"
    stack.approve(text)
    assert client.communicate(timeout=WAIT)[0].strip() == "UPDATE 9"


def test_a_lock_that_is_held_elsewhere_does_not_stop_the_hold(stack: Stack) -> None:
    """The count times out, and with a guard that is demanded the request is refused; the session lives on."""
    with psycopg.connect(stack.server.url("impact")) as locker:
        locker.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        done = stack.psql("impact", "UPDATE orders SET note = 'x' WHERE id = 1", "SELECT 'alive'")
    assert "a lock was not free within 200ms" in done.stderr
    assert "alive" in done.stdout
