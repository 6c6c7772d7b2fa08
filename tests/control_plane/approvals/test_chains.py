"""Chains, on-call schedules and reviewer scopes on a whole control plane: real people, groups and documents."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from control_plane.approvals.reports import DecidedAnswer, PendingAnswer
from control_plane.assembly import ControlPlane
from tests.control_plane.approvals.test_endpoints import API, WHATEVER, Held, hold

Clients = Callable[[str], Awaitable[httpx.AsyncClient]]
SCHEDULE = {
    "apiVersion": API,
    "kind": "OnCallSchedule",
    "metadata": {"name": "web"},
    "spec": {
        "rotation": {
            "people": ["auditor", "reviewer"],
            "start": "2026-02-23T09:00:00",
            "every": "7d",
            "timezone": "Europe/Berlin",
        }
    },
}
STAGES = [
    {"name": "duty", "on_call": ["web"], "timeout": "10m",
     "on_timeout": {"escalate": {"groups": ["leads"], "timeout": "5m"}}},
    {"all": [{"groups": ["reviewers"]}, {"any": [{"groups": ["leads"]}, {"people": ["auditor"]}]}], "timeout": "15m"},
]  # fmt: skip


@pytest.fixture
async def lead(admin: httpx.AsyncClient, client_of: Clients) -> httpx.AsyncClient:
    """The requester, whom `leads` makes a reviewer of production."""
    lead = await client_of("requester")
    leads = {"roles": ["reviewer"], "members": ["requester"], "reviews": [{"environments": ["production"]}]}
    assert (await admin.put("/v1/groups/leads", json=leads)).is_success
    return lead


@pytest.fixture
async def held(
    control_plane: ControlPlane,
    admin: httpx.AsyncClient,
    reviewer: httpx.AsyncClient,
    auditor: httpx.AsyncClient,
    lead: httpx.AsyncClient,
    client_of: Clients,
    machine: httpx.AsyncClient,
) -> Held:
    editor = await client_of("policy-editor")
    await make_reviewer(admin, "auditor")
    answer = await admin.post("/v1/documents/apply", json={"documents": [SCHEDULE]})
    assert answer.is_success, answer.text
    held = await hold(control_plane, admin, editor, reviewer, machine, stages=STAGES, approve_within="25m")
    assert isinstance(await held.told(), PendingAnswer), await held.told()
    return held


async def make_reviewer(admin: httpx.AsyncClient, *names: str, **group: Any) -> None:
    body = {"roles": ["reviewer"], "members": ["reviewer", *names], **group}
    answer = await admin.put("/v1/groups/reviewers", json=body, headers=WHATEVER)
    assert answer.is_success, answer.text


async def test_the_view_shows_every_stage_as_a_tree_with_its_places(held: Held) -> None:
    """On the 1st of March it is the auditor's turn by the rotation."""
    shown = await held.shown()
    duty, rest = shown["stages"]
    assert (duty["name"], duty["state"], duty["needs"]) == ("duty", "waiting", "whoever is on call for web")
    assert (duty["until"], duty["escalates_to"], duty["escalated"]) == ("2026-03-01T12:10:00Z", "group leads", False)
    assert (rest["state"], rest["missing"], rest["until"]) == ("later", 2, None)
    assert rest["needs"] == "1 of group reviewers and (1 of group leads or auditor)"
    assert [part["joined"] for part in rest["sets"]["parts"]] == ["set", "any"]
    assert shown["waits_for"] == "whoever is on call for web (duty, stage 1 of 2)"
    assert shown["silence"].startswith("Stage 1: after 10m without enough agreement group leads is asked besides.")
    assert shown["approve_by"] == "2026-03-01T12:10:00Z", "the client waits no longer"


async def test_whoever_is_on_call_decides_and_the_rest_of_the_chain_follows(
    held: Held, admin: httpx.AsyncClient, auditor: httpx.AsyncClient, lead: httpx.AsyncClient
) -> None:
    assert (await held.say("approve")).status_code == 403
    shown = (await auditor.get(f"/v1/approvals/{held.id}")).json()
    assert shown["you"]["place"] == "whoever is on call for web (duty, stage 1 of 2)"
    assert (await held.say("approve", auditor)).status_code == 200
    pending = await held.told()
    assert isinstance(pending, PendingAnswer)
    assert pending.reviewers == "1 of group reviewers and (1 of group leads or auditor) (stage 2 of 2)"
    assert (await held.say("approve", auditor)).status_code == 403, "a person counts once over the whole chain"
    assert (await held.say("approve", lead)).status_code == 200
    parts = (await held.shown())["stages"][1]["sets"]["parts"]
    assert [one["name"] for one in parts[1]["parts"][0]["taken"]] == ["requester"]
    assert (await held.say("approve")).json()["state"] == "approved"


async def test_the_hand_over_of_the_rotation_changes_who_decides(held: Held, admin: httpx.AsyncClient) -> None:
    override = {"person": "reviewer", "from": "2026-03-01T13:00:00", "until": "2026-03-01T14:00:00"}
    changed = {**SCHEDULE, "spec": {**SCHEDULE["spec"], "overrides": [override]}}
    await admin.post("/v1/documents/apply", json={"documents": [changed]})
    shown = await held.shown()
    assert shown["state"] == "pending", "a change of who is on call ends no request"
    assert shown["you"]["may_decide"], "13:00 in Berlin is 12:00 in UTC"
    assert (await held.say("approve")).status_code == 200


async def test_a_scope_of_a_group_is_asked_at_the_decision(held: Held, admin: httpx.AsyncClient) -> None:
    await make_reviewer(admin, "auditor", reviews=[{"environments": ["staging"]}])
    shown = await held.shown()
    assert shown["you"]["why"] == "this identity does not review this environment or this target"
    await held.control_plane.approvals.upkeep.void_what_fell()
    told = await held.told()
    assert isinstance(told, DecidedAnswer)
    assert told.outcome == "cancelled"
    assert "of these places nobody could take" in told.reason


async def test_labels_of_the_target_that_change_void_what_was_asked_about_it(
    held: Held, admin: httpx.AsyncClient
) -> None:
    target = (await admin.get("/v1/targets/orders")).json()["document"]
    target["metadata"]["labels"] = {"team": "billing"}
    await admin.post("/v1/documents/apply", json={"documents": [target]})
    await held.control_plane.approvals.upkeep.void_what_fell()
    assert (await held.shown())["state"] == "voided"


async def test_a_schedule_is_a_document_like_the_others(held: Held, admin: httpx.AsyncClient) -> None:
    listed = (await admin.get("/v1/on-call-schedules")).json()["items"]
    assert [one["name"] for one in listed] == ["web"]
    exported = (await admin.get("/v1/documents/export")).json()["documents"]
    (kept,) = [one for one in exported if one["kind"] == "OnCallSchedule"]
    assert kept["spec"]["rotation"]["people"] == ["auditor", "reviewer"]
    again = await admin.post("/v1/documents/apply", json={"documents": exported})
    assert {one["change"] for one in again.json()["changes"]} == {"unchanged"}
    refused = await admin.delete("/v1/on-call-schedules/web", headers=WHATEVER)
    assert refused.status_code == 422
    assert "unknown on-call schedule 'web'" in refused.text


async def test_where_a_group_reviews_must_mean_something(admin: httpx.AsyncClient) -> None:
    no_role = {"roles": [], "members": [], "reviews": [{"environments": ["production"]}]}
    assert "reviewer role" in (await admin.put("/v1/groups/x", json=no_role)).text
    everything = {"roles": ["reviewer"], "members": [], "reviews": [{}]}
    assert "leave reviews out" in (await admin.put("/v1/groups/x", json=everything)).text
    document = {"apiVersion": API, "kind": "Group", "metadata": {"name": "x"}, "spec": no_role}
    problems = (await admin.post("/v1/documents/plan", json={"documents": [document]})).json()["errors"]
    assert [one["path"] for one in problems] == ["$.documents[0].spec.reviews"]
