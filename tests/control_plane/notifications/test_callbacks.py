"""Decisions by a signed callback: a person's, once, for exactly what was shown; and every way in which it is no decision."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from control_plane.approvals.domain import Outcome
from control_plane.approvals.reports import DecidedAnswer, PendingAnswer
from control_plane.assembly import ControlPlane
from control_plane.config import Settings
from control_plane.identities.domain import Identity
from control_plane.kit.clock import milliseconds
from control_plane.kit.unit_of_work import SYSTEM
from control_plane.notifications.signing import signed
from tests.control_plane.approvals.test_endpoints import WHATEVER, Held, hold
from tests.control_plane.conftest import ManualClock

API = "assentry.dev/v1"
KEY = b"the-secret-of-the-ticketing-system"
OLD_KEY = b"the-secret-that-it-had-before-this"
URL = "/v1/webhooks/tickets/decisions"


def channel(**spec: Any) -> dict[str, Any]:
    fixed = {
        "type": "webhook",
        "url": "https://tickets.example.org/hook",
        "secret_from": {"file": "tickets"},
        "decisions": {"map": "email"},
    }
    given = {name: value for name, value in {**fixed, **spec}.items() if value is not None}
    return {"apiVersion": API, "kind": "NotificationChannel", "metadata": {"name": "tickets"}, "spec": given}


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "tickets").write_bytes(KEY)
    (folder / "tickets-old").write_bytes(OLD_KEY)
    return settings.model_copy(update={"secrets_dir": folder})


@pytest.fixture
async def configured(held: Held, admin: httpx.AsyncClient) -> Held:
    await apply(admin, channel())
    return held


async def apply(admin: httpx.AsyncClient, *documents: dict[str, Any]) -> None:
    answer = await admin.post("/v1/documents/apply", json={"documents": documents})
    assert answer.is_success, answer.text


@pytest.fixture
async def held(
    control_plane: ControlPlane,
    admin: httpx.AsyncClient,
    reviewer: httpx.AsyncClient,
    client_of: Callable[[str], Awaitable[httpx.AsyncClient]],
    machine: httpx.AsyncClient,
) -> Held:
    return await hold(control_plane, admin, await client_of("policy-editor"), reviewer, machine)


class Caller:
    """The ticketing system, or whoever plays it."""

    def __init__(self, held: Held, client: httpx.AsyncClient) -> None:
        self.held = held
        self.client = client
        self.number = 0

    async def body(self, **changes: Any) -> dict[str, Any]:
        fixed = {
            "type": "approval.decision",
            "approval_id": self.held.id,
            "digest": (await self.held.shown())["digest"],
            "verb": "approve",
            "person": "reviewer@example.org",
        }
        return {**fixed, **changes}

    def headers(self, body: bytes, *, key: bytes = KEY, call_id: str = "", late: int = 0) -> dict[str, str]:
        self.number += 1
        now = milliseconds(self.held.control_plane.clock.now()) // 1000
        return signed([key], call_id or f"msg_{self.number}", now - late, body)

    async def call(
        self, *, url: str = URL, key: bytes = KEY, call_id: str = "", late: int = 0, **changes: Any
    ) -> httpx.Response:
        body = msgspec.json.encode(await self.body(**changes))
        return await self.client.post(
            url, content=body, headers=self.headers(body, key=key, call_id=call_id, late=late)
        )

    async def send(self, body: dict[str, Any]) -> httpx.Response:
        content = msgspec.json.encode(body)
        return await self.client.post(URL, content=content, headers=self.headers(content))

    async def is_approved(self) -> bool:
        told = await self.held.told()
        return isinstance(told, DecidedAnswer) and told.outcome is Outcome.APPROVED

    async def is_pending(self) -> bool:
        return isinstance(await self.held.told(), PendingAnswer)


@pytest.fixture
def caller(configured: Held, anonymous: httpx.AsyncClient) -> Caller:
    return Caller(configured, anonymous)


async def test_a_person_approves_through_the_system_that_knows_them(caller: Caller) -> None:
    answer = await caller.call()
    assert (answer.status_code, answer.json()) == (
        200,
        {"approval_id": caller.held.id, "state": "approved", "person": "reviewer"},
    )
    told = await caller.held.told()
    assert isinstance(told, DecidedAnswer)
    assert told.outcome is Outcome.APPROVED
    (decision,) = (await caller.held.shown())["decisions"]
    assert (decision["name"], decision["channel"]) == ("reviewer", "webhook")


async def test_a_denial_needs_a_reason_and_carries_it(caller: Caller) -> None:
    assert (await caller.call(verb="deny")).status_code == 422
    assert await caller.is_pending()
    assert (await caller.call(verb="deny", reason="use the archive")).json()["state"] == "denied"
    assert (await caller.held.shown())["reason"] == "use the archive"


async def test_the_decision_is_audited_with_person_and_channel(caller: Caller, auditor: httpx.AsyncClient) -> None:
    await caller.call()
    (entry,) = (await auditor.get("/v1/audit", params={"kind": "approval.agreed"})).json()["items"]
    assert entry["actor"]["name"] == "reviewer"
    assert entry["data"]["channel"] == "webhook"
    assert entry["data"]["sign_in"] == "webhook:tickets"


# ------------------------------------------------------------------ who is not believed


async def test_without_the_secret_nothing_happens(caller: Caller) -> None:
    refused = await caller.call(key=b"another-secret-of-the-same-length")
    assert refused.status_code == 401
    assert refused.json()["detail"].startswith("the channel takes no decisions, or")
    assert await caller.is_pending()


async def test_a_call_is_taken_once_even_when_two_arrive_together(caller: Caller) -> None:
    body = msgspec.json.encode(await caller.body())
    headers = caller.headers(body, call_id="msg_once")
    answers = await asyncio.gather(*(caller.client.post(URL, content=body, headers=headers) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    assert {answer.json()["type"] for answer in answers if answer.status_code == 409} == {
        "urn:assentry:problem:call-taken"
    }


async def test_a_refused_call_is_taken_too(caller: Caller) -> None:
    """Else it could be tried until it fits."""
    assert (await caller.call(call_id="msg_once", digest="00" * 32)).status_code == 412
    assert (await caller.call(call_id="msg_once")).status_code == 409
    assert await caller.is_pending()


@pytest.mark.parametrize("late", [301, -301])
async def test_an_old_call_is_not_believed(caller: Caller, late: int) -> None:
    assert (await caller.call(late=late)).status_code == 401
    assert await caller.is_pending()


async def test_a_changed_body_is_not_believed(caller: Caller) -> None:
    body = msgspec.json.encode(await caller.body(verb="deny", reason="no"))
    headers = caller.headers(body)
    changed = msgspec.json.encode(await caller.body())
    assert (await caller.client.post(URL, content=changed, headers=headers)).status_code == 401


async def test_while_the_secret_is_replaced_both_are_believed(caller: Caller, admin: httpx.AsyncClient) -> None:
    assert (await caller.call(key=OLD_KEY)).status_code == 401
    await apply(admin, channel(old_secret_from={"file": "tickets-old"}))
    assert (await caller.call(key=OLD_KEY)).status_code == 200


async def test_it_is_off_unless_the_channel_turns_it_on(caller: Caller, admin: httpx.AsyncClient) -> None:
    await apply(admin, channel(decisions=None))
    assert (await caller.call()).status_code == 401
    assert await caller.is_pending()


async def test_another_or_no_channel_is_the_same_refusal(caller: Caller) -> None:
    other = await caller.call(url="/v1/webhooks/other/decisions")
    wrong = await caller.call(key=b"x" * 32)
    assert (other.status_code, other.json()) == (wrong.status_code, wrong.json())


async def test_what_we_signed_ourselves_is_no_decision(caller: Caller) -> None:
    assert (await caller.call(type="approval.pending")).status_code == 422
    assert (await caller.call(more="fields")).status_code == 422
    assert await caller.is_pending()


async def test_a_secret_that_is_missing_is_our_fault(caller: Caller, settings: Settings) -> None:
    (settings.secrets_dir / "tickets").unlink()
    assert (await caller.call()).status_code == 503
    assert await caller.is_pending()


# ------------------------------------------------------------------ whose word does not count


async def test_a_machine_s_credential_is_of_no_use_here(caller: Caller, machine: httpx.AsyncClient) -> None:
    """Invariant 5: with every role there is."""
    body = await caller.body()
    assert (await machine.post(URL, json=body)).status_code == 401
    assert await caller.is_pending()


async def test_a_machine_cannot_be_spoken_for(caller: Caller, admin: httpx.AsyncClient) -> None:
    """Invariant 5: not by name either."""
    await apply(admin, channel(decisions={"map": "name"}))
    refused = await caller.call(person="bot")
    assert (refused.status_code, refused.json()["type"]) == (422, "urn:assentry:problem:person-unknown")
    assert await caller.is_pending()


async def test_the_owner_of_the_requester_cannot_approve(caller: Caller, admin: httpx.AsyncClient) -> None:
    """Invariant 5."""
    group = {"roles": ["reviewer"], "members": ["reviewer", "admin"]}
    assert (await admin.put("/v1/groups/reviewers", json=group, headers=WHATEVER)).is_success
    refused = await caller.call(person="admin@example.org")
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:assentry:problem:not-entitled")
    assert await caller.is_pending()


async def test_a_person_who_lost_the_role_cannot(caller: Caller, admin: httpx.AsyncClient) -> None:
    body = await caller.body()
    group = {"roles": [], "members": ["reviewer"]}
    assert (await admin.put("/v1/groups/reviewers", json=group, headers=WHATEVER)).is_success
    assert (await caller.send(body)).status_code in {403, 409}
    assert not await caller.is_approved()


async def test_a_disabled_person_cannot(caller: Caller, admin: httpx.AsyncClient) -> None:
    body = await caller.body()
    assert (await admin.patch("/v1/identities/reviewer", json={"disabled": True}, headers=WHATEVER)).is_success
    assert (await caller.send(body)).status_code in {403, 409}
    assert not await caller.is_approved()


async def test_only_the_configured_mapping_counts(caller: Caller, admin: httpx.AsyncClient) -> None:
    assert (await caller.call(person="reviewer")).status_code == 422
    await apply(admin, channel(decisions={"map": "name"}))
    assert (await caller.call(person="reviewer@example.org")).status_code == 422
    assert await caller.is_pending()
    assert (await caller.call(person="reviewer")).status_code == 200


async def test_an_external_id_is_one_person(caller: Caller, admin: httpx.AsyncClient) -> None:
    await apply(admin, channel(decisions={"map": "external-id"}))
    assert (await caller.call(person="")).status_code == 422
    assert (await caller.call(person="e1042")).status_code == 422
    path = "/v1/identities/{}"
    given = {"external_id": "e1042"}
    assert (await admin.patch(path.format("reviewer"), json=given, headers=WHATEVER)).is_success
    assert (await admin.patch(path.format("admin"), json=given, headers=WHATEVER)).status_code == 409
    assert (await admin.patch(path.format("bot"), json={"external_id": "x"}, headers=WHATEVER)).status_code == 422
    assert (await admin.get(path.format("reviewer"))).json()["external_id"] == "e1042"
    assert (await caller.call(person="e1042")).json()["person"] == "reviewer"


async def test_an_address_of_two_people_is_nobody_s(
    caller: Caller, control_plane: ControlPlane, person: Callable[..., Awaitable[Identity]], auditor: httpx.AsyncClient
) -> None:
    await person("twin", "reviewer")
    async with control_plane.units() as uow:
        twin = await control_plane.identities.named(uow, "twin")
        await control_plane.identities.change(uow, twin.actor, "twin", email="Reviewer@example.org")
    assert (await caller.call()).status_code == 422
    assert await caller.is_pending()
    (entry,) = (await auditor.get("/v1/audit", params={"kind": "webhook.person-unknown"})).json()["items"]
    assert entry["data"]["person"] == "reviewer@example.org"


async def test_an_address_that_somebody_chose_at_another_provider_stays_whose_it_is(
    caller: Caller, control_plane: ControlPlane
) -> None:
    async with control_plane.units() as uow:
        await control_plane.who.sourced.make_person(uow, SYSTEM, "scim:partner", "mallory", "Reviewer@example.org")
    assert (await caller.call()).json()["person"] == "reviewer"


async def test_what_was_not_shown_is_not_decided(caller: Caller) -> None:
    """Invariant 2."""
    assert (await caller.call(digest="00" * 32)).status_code == 412
    assert await caller.is_pending()


async def test_there_is_no_second_decision_and_no_other_request(caller: Caller) -> None:
    assert (await caller.call(approval_id="apr_zzzzzzzzzzzzzzzzzzzz")).status_code == 404
    assert (await caller.call()).status_code == 200
    assert (await caller.call()).status_code == 409


@pytest.mark.parametrize("spec", [{"channels": ["console", "cli"]}, {"reauthenticate": "5m"}])
async def test_a_chain_that_wants_another_channel_takes_none_from_here(
    control_plane: ControlPlane,
    admin: httpx.AsyncClient,
    reviewer: httpx.AsyncClient,
    client_of: Callable[[str], Awaitable[httpx.AsyncClient]],
    machine: httpx.AsyncClient,
    anonymous: httpx.AsyncClient,
    spec: dict[str, Any],
) -> None:
    held = await hold(control_plane, admin, await client_of("policy-editor"), reviewer, machine, **spec)
    await apply(admin, channel())
    refused = await Caller(held, anonymous).call()
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:assentry:problem:channel-not-allowed")
    assert isinstance(await held.told(), PendingAnswer)


async def test_taken_calls_are_forgotten_when_their_time_is_over(caller: Caller, clock: ManualClock) -> None:
    assert (await caller.call(call_id="msg_once", digest="00" * 32)).status_code == 412
    clock.advance(seconds=601)
    async with caller.held.control_plane.units() as uow:
        await caller.held.control_plane.notifications.service.forget(uow)
    body = msgspec.json.encode(await caller.body())
    old = caller.headers(body, call_id="msg_once", late=601)
    assert (await caller.client.post(URL, content=body, headers=old)).status_code == 401
