"""psql, unmodified, in a window that a reviewer opened; and what it says its statements are for."""

from __future__ import annotations

import json
import select
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.support.postgres import PostgresServer
from tests.support.stack import Stack, document, eventually, policy, running_stack, target

WAIT = 30
READS = {"name": "reads", "match": {"action": "read"}, "effect": "allow"}
WRITES = {
    "name": "writes", "match": {"action": "write"}, "effect": "hold", "approval": "often",
    "hold": {"wait": "60s", "in_transaction": "60s"},
}  # fmt: skip
BOUND = document(
    "ApprovalChain", "bound", stages=[{"groups": ["dba"]}], window={"longest": "30m", "most": 5},
    row_guard={"margin_percent": 0, "required": True},
)  # fmt: skip
COUNTED = {**WRITES, "approval": "bound", "hold": {"wait": "60s", "preview": ["count"]}}
APP, LOOKER = ("often_app", "app-password"), ("often_looker", "looker-password")
OFTEN = document("ApprovalChain", "often", stages=[{"groups": ["dba"]}], window={"longest": "30m", "most": 5})


@pytest.fixture(scope="module")
def often(postgres: PostgresServer) -> Iterator[Stack]:
    postgres.execute("CREATE DATABASE often")
    postgres.execute("CREATE TABLE rows AS SELECT generate_series(1, 100) AS id", database="often")
    postgres.execute(
        *(f"CREATE ROLE {name} LOGIN PASSWORD '{word}'" for name, word in (APP, LOOKER)),
        "GRANT ALL ON rows TO often_app",
        "GRANT SELECT ON rows TO often_looker",
        database="often",
    )
    documents = [
        OFTEN, BOUND,
        target("often", postgres, "often"), policy("often", "often", READS, WRITES),
        target("bound", postgres, "often"), policy("bound", "bound", READS, COUNTED),
    ]  # fmt: skip
    accounts = {"often": (postgres.superuser, postgres.password), "bound": (*APP, *LOOKER)}
    with running_stack(postgres, documents, accounts) as running:
        yield running


class Shell:
    """A psql that is fed line by line."""

    def __init__(self, stack: Stack, name: str, **environment: str) -> None:
        command = [*stack.psql_command(), "-v", "ON_ERROR_STOP=0"]
        self._psql = subprocess.Popen(
            command, env=stack.environment(name, "often", **environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, bufsize=0,
        )  # fmt: skip
        self._said = b""

    def feed(self, *statements: str) -> None:
        assert self._psql.stdin is not None
        for statement in statements:
            self._psql.stdin.write(f"{statement};\n".encode())
        self._psql.stdin.flush()

    def until(self, word: str, seconds: float = WAIT) -> str:
        """What it has printed up to this word, and forgets it."""
        assert self._psql.stdout is not None
        deadline = time.monotonic() + seconds
        while word.encode() not in self._said:
            assert time.monotonic() < deadline, f"{word!r} did not come: {self._said!r}"
            if select.select([self._psql.stdout], [], [], 0.1)[0]:
                self._said += self._psql.stdout.read(4096)
        before, _, self._said = self._said.partition(word.encode())
        return before.decode() + word

    def close(self) -> None:
        assert self._psql.stdin is not None
        assert self._psql.stdout is not None
        self._psql.stdin.close()
        self._psql.wait(timeout=WAIT)
        self._psql.stdout.close()


@contextmanager
def shell(stack: Stack, name: str = "often", **environment: str) -> Iterator[Shell]:
    opened = Shell(stack, name, **environment)
    try:
        yield opened
    finally:
        opened.close()


def approve(stack: Stack, text: str, **window: Any) -> dict[str, Any]:
    """The request as it was before."""
    found = stack.approval(stack.pending(text)["id"])
    body = {"digest": found["digest"], "channel": "cli", **({"window": window} if window else {})}
    stack.reviewer.post(f"/v1/approvals/{found['id']}/approve", body)
    return found


def state(stack: Stack, approval: str) -> dict[str, Any]:
    return dict(stack.approval(approval))


def waiting(stack: Stack) -> list[str]:
    return [one["headline"] for one in stack.reviewer.pages("/v1/approvals", 100, show="all")]


def test_operations_of_the_shape_run_without_asking_until_its_uses_are_over(often: Stack) -> None:
    with shell(often) as psql:
        psql.feed("DELETE FROM rows WHERE id = 1")
        found = approve(often, "DELETE FROM rows WHERE id = 1", uses=3, minutes=5)
        assert found["window_offered"]["shape"] == "DELETE FROM rows WHERE id = ‹value›;"
        assert (found["window_offered"]["longest_seconds"], found["window_offered"]["most"]) == (1800, 5)
        psql.until("DELETE 1")
        psql.feed("DELETE FROM rows WHERE id = 2", "delete from rows where id=3")
        psql.until("DELETE 1")
        psql.until("DELETE 1")
        window = eventually(lambda: (one := state(often, found["id"]))["state"] == "ended" and one["window"], "its end")
        assert (window["used"], window["uses"], window["open"]) == (3, 3, False)
        assert [(use["number"], use["outcome"], use["result"]) for use in window["each"]] == [
            (number, "done", "DELETE 1") for number in (1, 2, 3)
        ]
        psql.feed("DELETE FROM rows WHERE id = 4")
        assert often.pending("DELETE FROM rows WHERE id = 4")
        often.deny("DELETE FROM rows WHERE id = 4", "that was enough")
        psql.until("that was enough")
    kinds = [(one["kind"], one["data"].get("use")) for one in often.audited("approval.window-used", found["id"])]
    assert kinds == [("approval.window-used", number) for number in (1, 2, 3)]


@pytest.mark.parametrize(
    "other",
    [
        "DELETE FROM rows WHERE id > 10",
        "DELETE FROM rows WHERE id IN (11, 12)",
        "UPDATE rows SET id = 1000 WHERE id = 13",
        "DELETE FROM rows WHERE id = 14 OR true",
    ],
)
def test_whatever_differs_is_held_again(often: Stack, other: str) -> None:
    with shell(often) as psql:
        psql.feed("DELETE FROM rows WHERE id = 10")
        approve(often, "DELETE FROM rows WHERE id = 10", uses=5, minutes=5)
        psql.until("DELETE")
        psql.feed(other)
        often.deny(other, "not this one")
        psql.until("not this one")


def test_in_another_state_and_in_another_session_it_is_held_again(often: Stack) -> None:
    with shell(often) as psql, shell(often) as second:
        psql.feed("DELETE FROM rows WHERE id = 20")
        approve(often, "DELETE FROM rows WHERE id = 20", uses=5, minutes=5)
        psql.until("DELETE 1")
        second.feed("DELETE FROM rows WHERE id = 21")
        often.deny("DELETE FROM rows WHERE id = 21", "another session")
        second.until("another session")
        psql.feed("SET search_path = pg_catalog, public", "DELETE FROM rows WHERE id = 22")
        often.deny("DELETE FROM rows WHERE id = 22", "another path")
        psql.until("another path")
        psql.feed("RESET search_path", "BEGIN", "DELETE FROM rows WHERE id = 23")
        often.deny("DELETE FROM rows WHERE id = 23", "a transaction")
        psql.until("a transaction")
        psql.feed("ROLLBACK", "DELETE FROM rows WHERE id = 24")
        psql.until("DELETE 1")


def test_a_reviewer_ends_it_and_within_a_second_everything_is_held_again(often: Stack) -> None:
    with shell(often) as psql:
        psql.feed("DELETE FROM rows WHERE id = 30")
        found = approve(often, "DELETE FROM rows WHERE id = 30", uses=5, minutes=5)
        psql.until("DELETE 1")
        eventually(lambda: state(often, found["id"])["state"] == "window", "its first use")
        ended = often.reviewer.post(f"/v1/approvals/{found['id']}/end-window", {"reason": "lunch"})
        assert (ended["state"], ended["window"]["open"]) == ("ended", False)
        time.sleep(1)
        psql.feed("DELETE FROM rows WHERE id = 31")
        often.deny("DELETE FROM rows WHERE id = 31", "ask again after lunch")
        psql.until("ask again after lunch")
    assert "lunch" in state(often, found["id"])["reason"]


def test_an_approver_who_loses_the_role_ends_it(often: Stack) -> None:
    with shell(often) as psql:
        psql.feed("DELETE FROM rows WHERE id = 40")
        found = approve(often, "DELETE FROM rows WHERE id = 40", uses=5, minutes=5)
        psql.until("DELETE 1")
        eventually(lambda: state(often, found["id"])["state"] == "window", "its first use")
        try:
            often.control.apply([document("Group", "dba", members=["rosa"], roles=["auditor"])])
            eventually(lambda: state(often, found["id"])["state"] == "ended", "its end")
        finally:
            often.control.apply([document("Group", "dba", members=["rosa"], roles=["reviewer", "auditor"])])
        psql.feed("DELETE FROM rows WHERE id = 41")
        often.deny("DELETE FROM rows WHERE id = 41", "nobody stands for it now")
        psql.until("nobody stands for it now")


def test_its_end_is_its_time(often: Stack) -> None:
    with shell(often) as psql:
        psql.feed("DELETE FROM rows WHERE id = 50")
        until = datetime.now(UTC) + timedelta(seconds=3)
        found = approve(often, "DELETE FROM rows WHERE id = 50", uses=5, until=until.isoformat())
        psql.until("DELETE 1")
        eventually(lambda: state(often, found["id"])["state"] == "ended", "its end")
        assert datetime.now(UTC) >= until
        psql.feed("DELETE FROM rows WHERE id = 51")
        often.deny("DELETE FROM rows WHERE id = 51", "too late")
        psql.until("too late")


def test_with_the_session_it_is_over(often: Stack) -> None:
    with shell(often) as psql:
        psql.feed("DELETE FROM rows WHERE id = 60")
        found = approve(often, "DELETE FROM rows WHERE id = 60", uses=5, minutes=5)
        psql.until("DELETE 1")
    eventually(lambda: state(often, found["id"])["state"] == "ended", "its end")
    with shell(often) as psql:
        psql.feed("DELETE FROM rows WHERE id = 61")
        often.deny("DELETE FROM rows WHERE id = 61", "a new session")
        psql.until("a new session")


def test_what_is_given_without_a_window_is_for_once(often: Stack) -> None:
    with shell(often) as psql:
        psql.feed("DELETE FROM rows WHERE id = 70")
        approve(often, "DELETE FROM rows WHERE id = 70")
        psql.until("DELETE 1")
        psql.feed("DELETE FROM rows WHERE id = 71")
        often.deny("DELETE FROM rows WHERE id = 71", "asked once more")
        psql.until("asked once more")


def test_the_replay_says_by_which_approval_each_ran(often: Stack) -> None:
    with shell(often, PGAPPNAME="replayed-window") as psql:
        psql.feed("DELETE FROM rows WHERE id = 80")
        found = approve(often, "DELETE FROM rows WHERE id = 80", uses=2, minutes=5)
        psql.until("DELETE 1")
        psql.feed("DELETE FROM rows WHERE id = 81")
        psql.until("DELETE 1")
    events = [one for one in often.recorded("replayed-window") if one["kind"] == "approval"]
    assert [(one["approval_id"], one["outcome"], one["reason"], one["approvers"]) for one in events] == [
        (found["id"], "approved", "", ["rosa"]),
        (found["id"], "approved", "use 2 of 2 of a window", ["rosa"]),
    ]


def test_a_row_guard_binds_every_operation_of_a_window(often: Stack) -> None:
    """So a value with which the statement would touch more than people were told of does no harm."""
    with shell(often, "bound") as psql:
        psql.feed("UPDATE rows SET id = id + 1000 WHERE id > 99")
        approve(often, "UPDATE rows SET id = id + 1000 WHERE id > 99", uses=5, minutes=5)
        psql.until("UPDATE 1")
        psql.feed("UPDATE rows SET id = id + 1000 WHERE id > 0")
        psql.until("undone")
        psql.feed(
            "UPDATE rows SET id = id + 1000 WHERE id > 5000", "SELECT 'moved', count(*) FROM rows WHERE id > 1000"
        )
        psql.until("UPDATE 0")
        psql.until("moved|1")


# ------------------------------------------------------------------ what it is for


@pytest.mark.parametrize(
    ("options", "before", "said"),
    [
        ("", ["SET assentry.reason = 'ticket 4711'"], "ticket 4711"),
        (r"-c assentry.reason=nightly\ clean-up", [], "nightly clean-up"),
        ("", ["SELECT set_config('assentry.reason', U&'\\202Eevil', false)"], "⟨U+202E RIGHT-TO-LEFT OVERRIDE⟩evil"),
        ("", [], ""),
    ],
)
def test_the_client_says_why(often: Stack, options: str, before: list[str], said: str) -> None:
    statement = "DELETE FROM rows WHERE id = 90"
    client = subprocess.Popen(
        often.psql_command(*before, statement), env=often.environment("often", PGOPTIONS=options), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    found = often.approval(often.pending(statement)["id"])
    assert found["said"] == said
    assert "assentry.reason" not in json.dumps(found["operation"]["session_state"])
    often.deny(statement, "no reason is good enough")
    out, _ = client.communicate(timeout=WAIT)
    assert "no reason is good enough" in out


def test_the_card_says_what_can_be_undone(often: Stack) -> None:
    with shell(often) as psql:
        psql.feed("DELETE FROM rows WHERE id = 91")
        found = often.approval(often.pending("DELETE FROM rows WHERE id = 91")["id"])
        assert (found["undo"]["kind"], found["undo"]["possible"]) == ("changes data", False)
        often.deny("DELETE FROM rows WHERE id = 91", "first")
        psql.until("first")
        psql.feed("BEGIN", "DELETE FROM rows WHERE id = 92")
        found = often.approval(often.pending("DELETE FROM rows WHERE id = 92")["id"])
        assert found["undo"]["possible"] is True
        often.deny("DELETE FROM rows WHERE id = 92", "second")
        psql.until("second")


# ------------------------------------------------------------------ drivers, and an agent that dies


def test_bound_values_of_a_driver_may_differ(often: Stack) -> None:
    with psycopg.connect(often.dsn("often"), autocommit=True) as client:
        asked = threading.Thread(target=client.execute, args=("DELETE FROM rows WHERE id = %s", (95,)))
        asked.start()
        found = approve(often, "DELETE FROM rows WHERE id = $1", uses=3, minutes=5)
        asked.join()
        assert found["window_offered"]["shape"] == "DELETE FROM rows WHERE id = ‹value›"
        assert client.execute("DELETE FROM rows WHERE id = %s", (96,)).rowcount == 1
    window = eventually(lambda: (one := state(often, found["id"]))["state"] == "ended" and one["window"], "its end")
    assert [use["result"] for use in window["each"]] == ["DELETE 1", "DELETE 1"]


def test_an_agent_that_was_killed_goes_on_with_no_window(often: Stack) -> None:
    with shell(often) as psql:
        psql.feed("DELETE FROM rows WHERE id = 97")
        found = approve(often, "DELETE FROM rows WHERE id = 97", uses=5, minutes=5)
        psql.until("DELETE 1")
        psql.feed("DELETE FROM rows WHERE id = 98")
        psql.until("DELETE 1")
        often.agent.kill()
        often.agent.start()
    ended = eventually(lambda: (one := state(often, found["id"]))["state"] == "ended" and one, "its end")
    assert [(use["number"], use["outcome"]) for use in ended["window"]["each"]] in (
        [(1, "done"), (2, "done")],
        [(1, "done"), (2, "outcome-unknown")],
    )
    with shell(often) as psql:
        psql.feed("DELETE FROM rows WHERE id = 99")
        often.deny("DELETE FROM rows WHERE id = 99", "the agent is another")
        psql.until("the agent is another")
