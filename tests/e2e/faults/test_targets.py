"""The target is away, dies, or does not accept the agent: a clear end for that session, and nothing leaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from control_plane.cli.demo import postgres as server_process
from tests.e2e.faults.blocking import locked, value
from tests.e2e.faults.client import connected, failure, refusal
from tests.e2e.faults.conftest import MISTAKEN
from tests.support.postgres import PostgresServer
from tests.support.stack import Stack, eventually

WRITE = "UPDATE ledger SET amount = amount + 1 WHERE id = {}"


@pytest.fixture
def dying(frail: PostgresServer) -> Iterator[Callable[[], None]]:
    """Call it to end the server in the middle of everything; it is there again afterwards."""
    yield lambda: server_process.stop(frail.folder, frail.bin)
    server_process.start(frail.folder, frail.bin, frail.port)


def test_a_target_that_dies_in_a_statement_ends_that_session_and_no_other(
    calm: Stack, frail: PostgresServer, dying: Callable[[], None]
) -> None:
    with connected(calm, "frail") as client, connected(calm, "bank") as other:
        with pytest.raises(psycopg.OperationalError), locked(frail, "frail", "slow") as lock:
            asked = client.start("SELECT amount FROM slow WHERE id = 1")
            lock.somebody_waits()
            dying()
        error = failure(asked)
        assert isinstance(error, psycopg.OperationalError), error
        assert client.connection.closed
        assert other.ask("SELECT 1") == 1
    for word in (frail.password, frail.superuser):
        assert word not in str(error)


def test_a_target_that_dies_during_a_hold_ends_the_hold(
    calm: Stack, frail: PostgresServer, dying: Callable[[], None]
) -> None:
    with connected(calm, "frail") as client:
        asked = client.start(WRITE.format(1))
        pending = calm.pending(WRITE.format(1))
        dying()
        assert isinstance(failure(asked), psycopg.OperationalError)
        ended = eventually(lambda: over(calm, pending["id"]), "the end of the request")
        assert ended == "cancelled"
    reasons = [event["data"]["reason"] for event in calm.audited("approval.cancelled", pending["id"])]
    assert len(reasons) == 1
    assert "target" in reasons[0]


def over(stack: Stack, approval_id: str) -> str:
    state = str(stack.approval(approval_id)["state"])
    return "" if state == "pending" else state


def test_a_target_that_is_back_is_served_again(calm: Stack, frail: PostgresServer) -> None:
    with connected(calm, "frail") as client, calm.approving(WRITE.format(2)):
        assert client.ask(WRITE.format(2)) == "UPDATE 1"
    assert value(frail, "frail", "SELECT amount FROM ledger WHERE id = 2") == 1
    assert value(frail, "frail", "SELECT amount FROM ledger WHERE id = 1") == 0


def test_a_target_that_cannot_be_reached_is_told_plainly(calm: Stack) -> None:
    told = refusal(calm, "nowhere")
    assert "FATAL" in told
    assert "target" in told
    assert "Traceback" not in told


def test_a_wrong_password_for_the_target_is_the_operators_business_and_leaks_nothing(calm: Stack) -> None:
    told = refusal(calm, "mistaken")
    assert "the target refused the agent's own credential" in told
    log = calm.agent.plane.log.read_text()
    for secret in (MISTAKEN, calm.server.password):
        assert secret not in told
        assert secret not in log
    assert calm.server.superuser not in told
