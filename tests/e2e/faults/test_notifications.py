"""Channels fail, hang and come back while the control plane is killed: nobody's notice is lost, no decision waits for them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec
import pytest
from aiohttp import web

from control_plane.cli.client import Api
from control_plane.notifications.signing import Genuine, verified
from tests.e2e.faults.client import connected
from tests.e2e.faults.conftest import account, documents
from tests.support.postgres import PostgresServer
from tests.support.sinks import Got, HttpSink, http_sink_in_a_thread
from tests.support.stack import Stack, document, eventually, running_stack

KEY = "a secret of the channel, thirty bytes and more"
WRITE = "UPDATE ledger SET amount = amount + 1 WHERE id = {}"


@dataclass
class Receiver:
    """Takes webhooks when `status` is 200; keeps those that it took."""

    status: int = 200
    taken: list[Got] = field(default_factory=list)
    refused: list[Got] = field(default_factory=list)

    def __call__(self, got: Got) -> web.Response:
        (self.taken if self.status == 200 else self.refused).append(got)
        return web.Response(status=self.status)

    def kinds(self, key: str) -> list[str]:
        return _kinds(self.taken, key)

    def refused_kinds(self, key: str) -> list[str]:
        return _kinds(self.refused, key)


def _kinds(posts: list[Got], key: str) -> list[str]:
    told = [msgspec.json.decode(got.body) for got in posts]
    return [one["type"] for one in told if one["data"]["key"] == key]


@pytest.fixture(scope="module")
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture(scope="module")
def sink(receiver: Receiver) -> Iterator[HttpSink]:
    with http_sink_in_a_thread(receiver) as sink:
        yield sink


@pytest.fixture(scope="module")
def posted(postgres: PostgresServer, sink: HttpSink) -> Iterator[Stack]:
    hook = document(
        "NotificationChannel",
        "hook",
        type="webhook",
        url=f"{sink.url}/hook",
        secret_from={"env": "ASSENTRY_SECRET_HOOK"},
    )
    settings = {"secret_hook": KEY, "notify_networks": "127.0.0.0/8"}
    wanted = [*documents(postgres, "posted"), hook]
    with running_stack(postgres, wanted, {"posted": account(postgres)}, control_settings=settings) as running:
        yield running


def ask(stack: Stack, number: int) -> dict[str, str]:
    return stack.pending(WRITE.format(number))


def test_a_control_plane_that_is_killed_delivers_after_its_restart(posted: Stack, receiver: Receiver) -> None:
    receiver.status = 503
    with connected(posted, "posted", name="killed") as client:
        client.start(WRITE.format(1))
        pending = ask(posted, 1)
        eventually(lambda: receiver.refused, "a first attempt")
        posted.control.kill()
        receiver.status = 200
        posted.control.start()
        eventually(lambda: receiver.kinds(pending["id"]), "the notice after the restart", 20)
    assert receiver.kinds(pending["id"])[0] == "approval.pending"
    assert receiver.taken[0].headers["webhook-id"] == receiver.refused[0].headers["webhook-id"]
    for got in receiver.taken:
        assert isinstance(verified([KEY.encode()], got.headers, got.body, int(time.time())), Genuine)


def test_a_dead_channel_delays_no_decision_and_hears_all_of_it_in_order_when_it_is_back(
    posted: Stack, receiver: Receiver
) -> None:
    receiver.status = 500
    eventually(lambda: posted.gauge("link_connected"), "the return of the link", 40)
    with connected(posted, "posted", name="dead") as client:
        before = time.monotonic()
        with posted.approving(WRITE.format(2)):
            assert client.ask(WRITE.format(2)) == "UPDATE 1"
        assert time.monotonic() - before < 5
    found = next(
        one for one in posted.reviewer.pages("/v1/approvals", 100, show="decided") if "id = 2" in one["headline"]
    )
    eventually(lambda: receiver.refused_kinds(found["id"]), "a first attempt")
    receiver.status = 200
    told = ["approval.pending", "approval.agreed", "approval.approved", "approval.executing", "approval.executed"]
    eventually(lambda: "approval.executed" in receiver.kinds(found["id"]), "all of its notices", 30)
    kinds = receiver.kinds(found["id"])
    assert [kind for kind in told if kind in kinds] == kinds
    assert {"approval.pending", "approval.approved", "approval.executed"} <= set(kinds)
    with Api(posted.control.admin) as admin:
        log = list(admin.pages("/v1/notifications/deliveries", 100, key=found["id"]))
    assert {one["state"] for one in log} == {"delivered"}
    assert log[-1]["attempts"] > 1


def test_the_reviewer_is_told_when_no_channel_could_tell_anybody(posted: Stack, receiver: Receiver) -> None:
    receiver.status = 500
    with connected(posted, "posted", name="untold") as client:
        client.start(WRITE.format(3))
        pending = ask(posted, 3)
        eventually(lambda: posted.approval(pending["id"])["nobody_told"], "the warning on the request", 20)
        receiver.status = 200
        eventually(lambda: not posted.approval(pending["id"])["nobody_told"], "the end of the warning", 30)
        posted.deny(WRITE.format(3), "not today")
    assert [event["subject"] for event in posted.audited("approval.undeliverable")].count(pending["id"]) == 1
