"""How a hold ends when nobody decides in time, and how a client that cannot wait comes back with its ticket."""

from __future__ import annotations

import time

import psycopg

from tests.e2e.faults.client import connected, failure
from tests.support.stack import Stack, eventually


def test_a_wait_that_ends_is_told_as_expired_and_not_as_denied(calm: Stack) -> None:
    with connected(calm, "bank") as client:
        asked = client.start("UPDATE brief SET amount = 1 WHERE id = 1")
        pending = calm.pending("UPDATE brief SET amount = 1 WHERE id = 1")
        error = failure(asked)
        assert "nobody decided in time" in str(error)
        assert "denied" not in str(error)
        assert client.ask("SELECT amount FROM brief WHERE id = 1") == 0
    ended = eventually(lambda: calm.audited("approval.expired", pending["id"]), "the end in the audit log")
    [said] = [(event["actor"]["kind"], event["data"]["reason"]) for event in ended]
    assert said in {("agent", "wait-ended"), ("system", "nobody decided in time")}, "whose clock was first"
    assert not calm.audited("approval.denied", pending["id"])
    assert calm.approval(pending["id"])["state"] == "expired"


def test_a_hold_in_a_transaction_ends_sooner_and_fails_the_transaction(calm: Stack) -> None:
    with connected(calm, "bank") as client:
        client.ask("BEGIN")
        began = time.monotonic()
        error = failure(client.start("UPDATE slow SET amount = 1 WHERE id = 1"))
        assert time.monotonic() - began < 10
        assert "nobody decided in time" in str(error)
        assert isinstance(failure(client.start("SELECT 1")), psycopg.errors.InFailedSqlTransaction)
        assert client.ask("ROLLBACK") == "ROLLBACK"
        assert client.ask("SELECT amount FROM slow WHERE id = 1") == 0


def test_a_client_with_a_ticket_repeats_its_statement_after_approval_and_it_runs_once(calm: Stack) -> None:
    statement = "UPDATE ticketed SET amount = amount + 1 WHERE id = 1"
    with connected(calm, "bank") as client:
        error = failure(client.start(statement))
        pending = calm.pending(statement)
        assert pending["id"] in str(error.diag.message_detail)
        assert "again later" in str(error)
        assert calm.approval(pending["id"])["state"] == "pending"
        calm.approve(statement)
        assert client.ask(statement) == "UPDATE 1"
        again = client.start(statement)
        other = calm.pending(statement)
        assert other["id"] != pending["id"]
        assert other["id"] in str(failure(again).diag.message_detail)
        assert client.ask("SELECT amount FROM ticketed WHERE id = 1") == 1
    eventually(lambda: calm.approval(pending["id"])["state"] == "executed", "the outcome of the first")
    calm.deny(statement, "the test is over")


def test_a_ticket_outlives_the_connection_that_got_it(calm: Stack) -> None:
    statement = "UPDATE ticketed SET amount = amount + 1 WHERE id = 2"
    with connected(calm, "bank") as client:
        failure(client.start(statement))
    calm.approve(statement)
    with connected(calm, "bank") as client:
        assert client.ask(statement) == "UPDATE 1"
        assert client.ask("SELECT amount FROM ticketed WHERE id = 2") == 1
