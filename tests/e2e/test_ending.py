"""Somebody leaves while their machine works on two agents: measured from the answer to the admin to each client's end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.postgres import PostgresServer
from tests.support.stack import ALLOW_ALL, MACHINES_END, Stack, another_agent, document, eventually, policy, target

LEAVER, THEIR_BOT = "leaver", "leavers-bot"
AT_MOST_SECONDS = 1.0
WAIT = 30
HELD = "DELETE FROM orders WHERE id = 4711"


@pytest.fixture(scope="module")
def elsewhere(stack: Stack, postgres: PostgresServer) -> Iterator[Stack]:
    """The same control plane with a second agent, which serves another target."""
    there = target("there", postgres, "open", agent="elsewhere")
    stack.control.apply([there, policy("there", "there", ALLOW_ALL)])
    account = (postgres.superuser, postgres.password)
    with another_agent(stack, "elsewhere", {"there": account}) as beside:
        yield beside


@pytest.fixture
def password(stack: Stack) -> Iterator[str]:
    """Of the machine, which its owner gives up with everything else."""
    people = [
        document("Identity", LEAVER, kind="person"),
        document("Identity", THEIR_BOT, kind="machine", owner=LEAVER, purpose="works", ends_at=MACHINES_END),
        document("Group", "leavers-bots", members=[THEIR_BOT], roles=["requester"]),
    ]
    stack.control.apply(people)
    yield stack.control.machine_token(THEIR_BOT)
    for name in (THEIR_BOT, LEAVER):
        stack.admin.delete(f"/v1/identities/{name}")


class Client:
    """A psql, and when it ended."""

    def __init__(self, stack: Stack, name: str, password: str, application: str, statement: str) -> None:
        account = {"PGUSER": THEIR_BOT, "PGPASSWORD": password, "PGAPPNAME": application}
        self.application = application
        self.process = stack.start_psql(
            name, statement, **{"PGDATABASE": "open", **account} if name != "shop" else account
        )
        self.ended_at, self.said = 0.0, ""
        self._waiting = threading.Thread(target=self._wait)
        self._waiting.start()

    def _wait(self) -> None:
        _, self.said = self.process.communicate()
        self.ended_at = time.monotonic()

    def seconds_since(self, began: float) -> float:
        self._waiting.join(WAIT)
        return self.ended_at - began


def leave(stack: Stack) -> None:
    profile = stack.control.admin
    headers = {"Authorization": f"Bearer {profile.token}", "If-Match": "*"}
    done = httpx.patch(f"{profile.url}/v1/identities/{LEAVER}", json={"disabled": True}, headers=headers)
    done.raise_for_status()


def test_within_a_second_no_session_and_no_hold_of_theirs_is_left_on_any_agent(
    stack: Stack, elsewhere: Stack, password: str
) -> None:
    clients = [
        Client(stack, "shop", password, "leaving-held", HELD),
        Client(stack, "open", password, "leaving-busy", "SELECT pg_sleep(60)"),
        Client(elsewhere, "there", password, "leaving-elsewhere", "SELECT pg_sleep(60)"),
    ]
    pending = stack.pending(HELD)
    names = {one.application for one in clients}
    eventually(lambda: names <= {one["application_name"] for one in stack.sessions(open=True)}, "three sessions")

    asked = time.monotonic()
    leave(stack)
    began = time.monotonic()  # it is so from here on: agents hear of it while the admin is answered
    lasted = {one.application: one.seconds_since(began) for one in clients}

    print(
        f"answered after {1000 * (began - asked):.0f} ms, ended after {', '.join(f'{name} {1000 * seconds:.0f} ms' for name, seconds in lasted.items())}"
    )
    assert max(lasted.values()) < AT_MOST_SECONDS, lasted
    assert all(one.process.returncode for one in clients), [one.said for one in clients]
    assert stack.approval(pending["id"])["state"] == "voided"
    _nothing_ran(stack, pending["id"])
    _one_event_tells_it(stack, pending["id"], names)
    again = stack.psql("open", "SELECT 1", PGUSER=THEIR_BOT, PGPASSWORD=password)
    assert again.returncode != 0


def _nothing_ran(stack: Stack, approval_id: str) -> None:
    kinds = [one["kind"] for one in stack.reviewer.pages("/v1/audit", 100, subject=approval_id)]
    assert kinds == ["approval.voided", "approval.requested"]


def _one_event_tells_it(stack: Stack, approval_id: str, names: set[str]) -> None:
    (event,) = stack.audited("identity.ended", subject=LEAVER)
    told: dict[str, Any] = event["data"]
    assert (told["reason"], told["machines"], told["holds"]) == ("disabled by admin", [THEIR_BOT], [approval_id])
    sessions = {one["id"]: one for one in stack.sessions() if one["application_name"] in names}
    assert set(told["sessions"]) == set(sessions)
    eventually(lambda: not [one for one in stack.sessions(open=True) if one["id"] in sessions], "all are closed")
