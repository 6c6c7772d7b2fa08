"""Recordings find no room: who cannot be recorded is ended and nobody new is let in, until there is room again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.e2e.faults.client import Client, connected, failure, refusal
from tests.e2e.faults.conftest import account, documents
from tests.e2e.faults.valve import Valve
from tests.support.stack import Stack, another_agent, eventually

ROOM = 100_000  # bytes
NOISE = "SELECT string_agg(md5(i::text || clock_timestamp()::text), '') FROM generate_series(1, {}) i"
READ = "SELECT amount FROM ledger WHERE id = 1"


@pytest.fixture(scope="module")
def outlet() -> Iterator[Valve]:
    with Valve() as valve:
        yield valve


@pytest.fixture(scope="module")
def cramped(calm: Stack, outlet: Valve) -> Iterator[Stack]:
    calm.control.apply(documents(calm.server, "cell", agent="cramped"))
    settings = {**outlet.settings(calm.control), "spool_bytes": ROOM}
    with another_agent(calm, "cramped", {"cell": account(calm.server)}, **settings) as running:
        yield running


def filled(client: Client, rows: int) -> Any:
    """The error that ends the session, after as many answers of this size as there is room for."""
    for _ in range(20_000):  # the smallest answers of a quick machine go into chunks by the thousand
        error = client.start(NOISE.format(rows)).exception(20)
        if error is not None:
            return error
    raise AssertionError("the spool was never full")


def fill_the_rest(stack: Stack) -> None:
    """Down to less than a session needs to begin, which may be so early."""
    with contextlib.suppress(psycopg.OperationalError):
        for rows in (100, 20, 4, 1):
            with connected(stack, "cell") as client:
                filled(client, rows)


def test_a_full_spool_ends_sessions_cleanly_and_recovers_when_there_is_room(
    calm: Stack, cramped: Stack, outlet: Valve
) -> None:
    outlet.shut()
    with connected(calm, "bank") as elsewhere, connected(cramped, "cell", name="loud") as client:
        error = filled(client, 500)
        assert "recorded" in str(error), error
        assert client.connection.closed or failure(client.start(READ))
        fill_the_rest(cramped)
        assert "cannot be recorded" in eventually(lambda: refused(cramped), "the refusal of new sessions")
        assert cramped.gauge("spool_bytes") <= ROOM + 4096
        assert elsewhere.ask(READ) == 0
    outlet.open()
    eventually(lambda: reads(cramped), "room for new sessions", 40)
    session = next(one for one in cramped.sessions() if one["application_name"] == "loud")
    page = eventually(lambda: ended(cramped, session["id"]), "the recording")
    assert page["status"] == "truncated"
    assert page["events"][0]["kind"] == "opened"
    verified = cramped.reviewer.get(f"/v1/sessions/{session['id']}/recording/verification")
    assert verified["verified"], verified


def reads(stack: Stack) -> bool:
    """A session takes room itself until its recording is away, so one that is refused is tried again."""
    try:
        with connected(stack, "cell") as client:
            return client.ask(READ) == 0
    except psycopg.OperationalError:
        return False


def refused(stack: Stack) -> str:
    try:
        return refusal(stack, "cell")
    except AssertionError:
        return ""


def ended(stack: Stack, session_id: str) -> Any:
    page = stack._timeline(session_id)
    return page if page and page["status"] != "receiving" else None
