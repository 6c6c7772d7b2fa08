"""What people do with a request besides deciding, over REST on a whole control plane: real people, real sign-ins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from control_plane.approvals.domain import Outcome
from control_plane.approvals.reports import DecidedAnswer
from control_plane.assembly import ControlPlane
from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import SYSTEM
from tests.control_plane.approvals.test_endpoints import Held, hold
from tests.control_plane.conftest import ManualClock

HIDDEN = "is this \u202e fine?\x1b[2J"
SHOWN = "is this ⟨U+202E RIGHT-TO-LEFT OVERRIDE⟩ fine?⟨U+001B⟩[2J"
PASSWORD = "correct horse battery"
ClientOf = Callable[[str], Awaitable[httpx.AsyncClient]]
Hold = Callable[..., Awaitable[Held]]


@pytest.fixture
def holding(
    control_plane: ControlPlane,
    admin: httpx.AsyncClient,
    reviewer: httpx.AsyncClient,
    client_of: ClientOf,
    machine: httpx.AsyncClient,
) -> Hold:
    async def make(**spec: Any) -> Held:
        return await hold(control_plane, admin, await client_of("policy-editor"), reviewer, machine, **spec)

    return make


def kind_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("urn:assentry:problem:")


# ------------------------------------------------------------------ comments and withdrawal


async def test_a_conversation_is_shown_safe_to_print(holding: Hold, machine: httpx.AsyncClient) -> None:
    held = await holding()
    path = f"/v1/approvals/{held.id}/comments"
    made = await held.reviewer.post(path, json={"text": HIDDEN})
    assert (made.status_code, made.json()["text"]) == (201, SHOWN)
    answered = await machine.post(path, json={"text": "yes"})
    assert (answered.status_code, answered.json()["kind"]) == (201, "machine")
    assert {one["text"] for one in (await machine.get(path)).json()} == {SHOWN, "yes"}
    assert len((await held.shown())["comments"]) == 2


async def test_a_comment_that_is_sent_again_is_said_once(holding: Hold) -> None:
    held = await holding()
    path, once = f"/v1/approvals/{held.id}/comments", {"idempotency-key": "one"}
    first = await held.reviewer.post(path, json={"text": "hello"}, headers=once)
    again = await held.reviewer.post(path, json={"text": "hello"}, headers=once)
    assert first.json() == again.json()
    assert len((await held.reviewer.get(path)).json()) == 1


@pytest.mark.parametrize("text", ["", "  ", "x" * 2001, "nul\0"])
async def test_a_comment_says_something_and_not_too_much(holding: Hold, text: str) -> None:
    held = await holding()
    answer = await held.reviewer.post(f"/v1/approvals/{held.id}/comments", json={"text": text})
    assert answer.status_code == 422


async def test_a_machine_takes_its_own_request_back(holding: Hold, machine: httpx.AsyncClient) -> None:
    held = await holding()
    assert (await machine.get(f"/v1/approvals/{held.id}")).json()["you_may"]["withdraw"] is True
    assert (await held.shown())["you_may"]["withdraw"] is False
    assert kind_of(await held.reviewer.post(f"/v1/approvals/{held.id}/withdraw", json={})) == (403, "not-yours")
    answer = await machine.post(f"/v1/approvals/{held.id}/withdraw", json={"reason": "wrong table"})
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    told = await held.told()
    assert isinstance(told, DecidedAnswer)
    assert (told.outcome, told.reason) == (Outcome.CANCELLED, "taken back by bot: wrong table")
    assert kind_of(await machine.post(f"/v1/approvals/{held.id}/withdraw", json={})) == (409, "approval-over")


# ------------------------------------------------------------------ how decisions are given


async def test_a_channel_that_the_chain_does_not_take_is_named_with_those_it_takes(holding: Hold) -> None:
    held = await holding(channels=["console"])
    assert (await held.shown())["how"]["channels"] == ["console"]
    for claimed in ("cli", "rest", "console"):  # a bearer token is no console, whatever it says of itself
        refused = await held.say("approve", channel=claimed)
        assert kind_of(refused) == (403, "channel-not-allowed")
        assert "through console only" in refused.json()["detail"]
    assert (await held.shown())["state"] == "pending"


async def test_an_old_sign_in_proves_itself_again_and_decides(
    holding: Hold, control_plane: ControlPlane, clock: ManualClock
) -> None:
    held = await holding(reauthenticate="5m")
    await control_plane.sign_ins.reset_password(SYSTEM, "reviewer", Secret(PASSWORD))
    signed_in = await held.reviewer.post("/v1/session", json={"name": "reviewer", "password": PASSWORD})
    held.reviewer.headers["authorization"] = f"Bearer {signed_in.json()['token']}"
    assert (await held.shown())["how"]["reauthenticate_seconds"] == 300
    clock.advance(minutes=5, seconds=1)
    refused = await held.say("approve", channel="cli")
    assert kind_of(refused) == (403, "reauthentication-required")
    assert "POST /v1/session/reauthenticate" in refused.json()["detail"]
    assert (await held.reviewer.post("/v1/session/reauthenticate", json={"password": PASSWORD})).status_code == 200
    assert (await held.say("approve", channel="cli")).json()["state"] == "approved"


# ------------------------------------------------------------------ delegations


async def test_a_delegation_from_giving_it_to_taking_it_back(
    holding: Hold, control_plane: ControlPlane, client_of: ClientOf, clock: ManualClock
) -> None:
    held = await holding()
    other = await client_of("auditor")
    async with control_plane.units() as uow:
        await control_plane.identities.put_group(uow, SYSTEM, "second", roles=["reviewer"], members=["auditor"])
    assert (await held.say("approve", other)).status_code == 403
    until = (clock.now() + timedelta(days=2)).isoformat()
    body = {"delegate": "auditor", "until": until, "environments": ["production"], "note": "away"}
    made = await held.reviewer.post("/v1/delegations", json=body)
    assert made.status_code == 201, made.text
    delegation = made.json()
    assert (delegation["delegator"], delegation["delegate"], delegation["holds"]) == ("reviewer", "auditor", True)
    card = (await other.get(f"/v1/approvals/{held.id}")).json()
    assert card["you"]["in_place_of"]["delegator"] == "reviewer"
    assert card["stand_ins"] == [card["you"]["in_place_of"]]
    decided = (await held.say("approve", other)).json()
    assert [(one["name"], one["in_place_of"]) for one in decided["decisions"]] == [("auditor", "reviewer")]
    assert (await other.delete(f"/v1/delegations/{delegation['id']}")).status_code == 204
    await control_plane.approvals.upkeep.void_what_fell()
    assert (await held.shown())["state"] == "lapsed"
    assert (await other.get("/v1/delegations")).json()["items"] == []
    (over,) = (await other.get("/v1/delegations", params={"over": True})).json()["items"]
    assert (over["revoked_by"], over["holds"]) == ("auditor", False)
    shown = (await other.get(f"/v1/delegations/{delegation['id']}")).json()
    assert shown == over


async def test_what_cannot_be_delegated_says_why(holding: Hold, machine: httpx.AsyncClient, clock: ManualClock) -> None:
    held = await holding()
    until = (clock.now() + timedelta(days=2)).isoformat()
    refusals = {"bot": "not a person", "admin": "is no reviewer", "reviewer": "yourself", "nobody": "not a person"}
    for delegate, why in refusals.items():
        answer = await held.reviewer.post("/v1/delegations", json={"delegate": delegate, "until": until})
        assert kind_of(answer) == (422, "delegation-refused")
        assert why in answer.json()["detail"]
    assert (await machine.get("/v1/delegations")).status_code == 403


# ------------------------------------------------------------------ broken glass


async def test_glass_is_broken_by_a_colleague_and_reviewed_by_a_third_person(
    holding: Hold, admin: httpx.AsyncClient, client_of: ClientOf, clock: ManualClock
) -> None:
    held = await holding(break_glass=True)
    breaker = await client_of("break-glass")
    card = (await breaker.get(f"/v1/approvals/{held.id}")).json()
    assert (card["you"]["may_decide"], card["you_may"]["break_glass"]) == (False, True)
    body = {"digest": card["digest"], "reason": "the shop is down"}
    assert (await held.reviewer.post(f"/v1/approvals/{held.id}/break-glass", json=body)).status_code == 403
    broken = await breaker.post(f"/v1/approvals/{held.id}/break-glass", json=body)
    assert broken.json()["state"] == "approved", broken.text
    assert broken.json()["broken_glass"]["skipped"][0]["name"] == "reviewer"
    told = await held.told()
    assert isinstance(told, DecidedAnswer)
    assert told.grant is not None
    path = f"/v1/break-glass-reviews/{held.id}"
    verdict = {"verdict": "not-justified", "comment": "nobody was asked"}
    for who, why in ((breaker, "whoever broke the glass"), (admin, "owner of the requesting credential")):
        refused = await who.post(f"{path}/close", json=verdict)
        assert kind_of(refused) == (403, "not-yours")
        assert why in refused.json()["detail"]
    clock.advance(days=3)
    auditor = await client_of("auditor")
    (listed,) = (await auditor.get("/v1/break-glass-reviews?show=overdue")).json()["items"]
    assert (listed["by"], listed["overdue"], listed["may_close"]) == ("break-glass", True, True)
    done = await auditor.post(f"{path}/close", json=verdict)
    assert (done.json()["verdict"], done.json()["closed_by"], done.json()["overdue"]) == (
        "not-justified",
        "auditor",
        False,
    )
    assert kind_of(await auditor.post(f"{path}/close", json=verdict)) == (409, "review-closed")


async def test_breaking_glass_needs_a_fresh_sign_in(holding: Hold, client_of: ClientOf, clock: ManualClock) -> None:
    held = await holding(break_glass=True)
    breaker = await client_of("break-glass")
    clock.advance(minutes=6)
    body = {"digest": (await held.shown())["digest"], "reason": "down"}
    answer = await breaker.post(f"/v1/approvals/{held.id}/break-glass", json=body)
    assert kind_of(answer) == (403, "reauthentication-required")


async def test_a_machine_with_every_role_breaks_no_glass(holding: Hold, machine: httpx.AsyncClient) -> None:
    held = await holding(break_glass=True)
    body = {"digest": (await held.shown())["digest"], "reason": "down"}
    assert (await machine.post(f"/v1/approvals/{held.id}/break-glass", json=body)).status_code == 403
    assert (await machine.get("/v1/break-glass-reviews")).status_code == 403


# ------------------------------------------------------------------ statistics


async def test_statistics_are_for_admins_and_auditors(
    holding: Hold, admin: httpx.AsyncClient, client_of: ClientOf, clock: ManualClock
) -> None:
    held = await holding()
    clock.advance(seconds=42)
    await held.say("deny", reason="not like this")
    clock.advance(seconds=1)
    for who in (admin, await client_of("auditor")):
        (one,) = (await who.get("/v1/approvals/statistics")).json()["reviewers"]
        assert (one["name"], one["decisions"], one["denied"], one["median_seconds"]) == ("reviewer", 1, 1, 42.0)
    assert (await held.reviewer.get("/v1/approvals/statistics")).status_code == 403
    begin = {"from": "2026-03-02T00:00:00Z", "until": "2026-03-01T00:00:00Z"}
    assert (await admin.get("/v1/approvals/statistics", params=begin)).status_code == 422
    earlier = {"from": "2026-02-01T00:00:00Z", "until": "2026-03-01T00:00:00Z"}
    assert (await admin.get("/v1/approvals/statistics", params=earlier)).json()["reviewers"] == []
