"""Whoever loses the right to be connected is disconnected within a second, holds included. Invariant 7."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.faults.client import Client, connected, failure, refusal
from tests.e2e.faults.conftest import DDL, READS, RULES, held, policy
from tests.support.stack import MACHINES_END, REQUESTER, Stack, document, eventually

SECOND = 1.0
ENDED = "access to this target has ended"
STATEMENT = "UPDATE ledger SET amount = 1 WHERE id = 1"


@pytest.fixture
def guest(calm: Stack) -> Iterator[Guest]:
    """A machine of its own, beside the one that other tests use."""
    name = f"guest-{uuid.uuid4().hex[:8]}"
    lasting = {"purpose": "is tested with", "ends_at": MACHINES_END}
    calm.control.apply([document("Identity", name, kind="machine", owner="admin", **lasting), bots(name)])
    yield Guest(name, calm.control.machine_token(name))
    calm.control.apply([bots()])


class Guest:
    def __init__(self, name: str, token: str) -> None:
        self.name, self.token = name, token

    @property
    def credential(self) -> str:
        claims = self.token.split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["jti"])


def bots(*guests: str) -> dict[str, Any]:
    return document("Group", "bots", members=[REQUESTER, *guests], roles=["requester"])


class Ended:
    """What became of a session at rest and of one that waits for people when `change` was made."""

    def __init__(self, stack: Stack, target: str, token: str, change: Callable[[], object]) -> None:
        with connected(stack, target, token) as idle, connected(stack, target, token) as waiting:
            assert idle.ask("SELECT 1") == 1
            asked = waiting.start(STATEMENT)
            self.pending = stack.pending(STATEMENT)
            change()
            changed_at = time.monotonic()
            self.idle_seconds = idle.hears() - changed_at
            self.held = failure(asked)
            self.held_seconds = time.monotonic() - changed_at
            if "the request was withdrawn" in str(self.held):  # the control plane was quicker than the session's end
                self.held_seconds = waiting.hears() - changed_at
                self.held = waiting.farewell()
            self.idle = idle.farewell()
        self.state = eventually(lambda: over(stack, self.pending["id"]), "the end of the request")


def over(stack: Stack, approval_id: str) -> str:
    state = str(stack.approval(approval_id)["state"])
    return "" if state == "pending" else state


@contextmanager
def told_within_a_second(ended: Ended, *also: str) -> Iterator[None]:
    """`also`: what an order of the control plane says, which may be quicker than the snapshot."""
    assert ended.idle_seconds < SECOND
    assert ended.held_seconds < SECOND
    for goodbye in (ended.idle, ended.held):
        assert goodbye.sqlstate == "57P01", goodbye
        assert any(words in str(goodbye) for words in (ENDED, *also)), goodbye
    assert ended.state in {"cancelled", "voided"}
    yield


def unchanged(stack: Stack, target: str) -> None:
    with connected(stack, target) as client:
        assert client.ask("SELECT amount FROM ledger WHERE id = 1") == 0


def test_sessions_and_holds_of_a_disabled_identity_end(calm: Stack, guest: Guest) -> None:
    disabled = document("Identity", guest.name, kind="machine", owner="admin", disabled=True)
    ended = Ended(calm, "bank", guest.token, lambda: calm.control.apply([disabled]))
    with told_within_a_second(ended, "its identity does nothing any more"):
        refused = refusal(calm, "bank", guest.token, within=SECOND)
        if ENDED in refused:  # let in just before the snapshot, which ended it while it was opened
            refused = refusal(calm, "bank", guest.token)
        assert "not accepted" in refused
    unchanged(calm, "bank")


def test_sessions_and_holds_of_a_revoked_credential_end_and_others_of_the_identity_go_on(
    calm: Stack, guest: Guest
) -> None:
    other = calm.control.machine_token(guest.name)
    with connected(calm, "bank", other) as unconcerned:
        revoke = lambda: calm.admin.delete(f"/v1/credentials/{guest.credential}")  # noqa: E731 - done at a given moment
        with told_within_a_second(Ended(calm, "bank", guest.token, revoke)):
            assert "not accepted" in refusal(calm, "bank", guest.token)
        assert unconcerned.ask("SELECT amount FROM ledger WHERE id = 1") == 0


def test_sessions_and_holds_end_when_no_policy_selects_them_any_more(calm: Stack, guest: Guest) -> None:
    with told_within_a_second(Ended(calm, "bank", guest.token, lambda: calm.control.apply([bots()]))):
        assert "no policy lets you connect" in refusal(calm, "bank", guest.token)
    unchanged(calm, "bank")


def test_sessions_and_holds_end_when_their_target_is_deleted(calm: Stack) -> None:
    with told_within_a_second(Ended(calm, "doomed", calm.token, lambda: calm.remove("targets", "doomed"))):
        assert "not served any more" in refusal(calm, "doomed")


@pytest.fixture
def as_before(calm: Stack) -> Iterator[None]:
    yield
    calm.control.apply([policy("bank", *RULES)])


@pytest.mark.usefixtures("as_before")
def test_a_changed_policy_holds_for_the_next_statement_of_an_open_session(calm: Stack) -> None:
    no_reads = {**READS, "effect": "deny", "message": "closed for stocktaking"}
    with connected(calm, "bank") as client:
        assert client.ask("SELECT amount FROM ledger WHERE id = 1") == 0
        calm.control.apply([policy("bank", no_reads, DDL, held("ledger"))])
        changed_at = time.monotonic()
        error = eventually(lambda: denied(client), "the new policy")
        assert time.monotonic() - changed_at < SECOND
        assert "closed for stocktaking" in error


def denied(client: Client) -> str:
    asked = client.start("SELECT amount FROM ledger WHERE id = 1")
    error = asked.exception(10)
    return "" if error is None else str(error)
