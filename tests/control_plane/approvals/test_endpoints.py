"""`/v1/approvals`, sessions and recordings on a whole control plane: real people, documents and credentials."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from control_plane.approvals.domain import Outcome
from control_plane.approvals.reports import DecidedAnswer, PendingAnswer, RequestedReport
from control_plane.assembly import ControlPlane
from control_plane.kit.clock import milliseconds
from control_plane.sessions.reports import OpenedReport
from tests.control_plane.recordings.recorded import PUBLIC, recording
from tests.control_plane.recordings.test_service import EVENTS
from tests.control_plane.world import INSTANCE, REPORTER, operation_of

API = "assentry.dev/v1"
WHATEVER = {"if-match": "*"}
TARGET = {
    "apiVersion": API,
    "kind": "Target",
    "metadata": {"name": "orders"},
    "spec": {"protocol": "postgres", "environment": "production", "agent": "demo", "address": "127.0.0.1:5432"},
}
CHAIN: dict[str, Any] = {
    "apiVersion": API,
    "kind": "ApprovalChain",
    "metadata": {"name": "dba"},
    "spec": {"stages": [{"groups": ["reviewers"], "require": 1, "timeout": "15m"}]},
}


def policy(name: str, effect: str = "hold", environment: str = "production") -> dict[str, Any]:
    rule = {"name": "writes", "match": {"action": "write"}, "effect": effect}
    if effect == "hold":
        rule["approval"] = "dba"
    else:
        rule["match"] = {"verbs": ["DELETE"]}
    spec = {"targets": {"environment": environment}, "rules": [rule]}
    return {"apiVersion": API, "kind": "Policy", "metadata": {"name": name}, "spec": spec}


@dataclass
class Held:
    """A machine's DELETE that waits for a reviewer."""

    id: str
    credential_id: str
    control_plane: ControlPlane
    editor: httpx.AsyncClient
    reviewer: httpx.AsyncClient

    async def apply(self, *documents: dict[str, Any]) -> None:
        answer = await self.editor.post("/v1/documents/apply", json={"documents": documents})
        assert answer.is_success, answer.text

    async def shown(self) -> dict[str, Any]:
        answer = await self.reviewer.get(f"/v1/approvals/{self.id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def say(self, verb: str, who: httpx.AsyncClient | None = None, **body: Any) -> httpx.Response:
        body = {"digest": (await self.shown())["digest"], **body}
        return await (who or self.reviewer).post(f"/v1/approvals/{self.id}/{verb}", json=body)

    async def told(self) -> DecidedAnswer | PendingAnswer | None:
        async with self.control_plane.units.reading() as uow:
            return await self.control_plane.approvals.service.decision_for(uow, INSTANCE, self.id)


@pytest.fixture
async def held(
    control_plane: ControlPlane,
    admin: httpx.AsyncClient,
    reviewer: httpx.AsyncClient,
    client_of: Callable[[str], Awaitable[httpx.AsyncClient]],
    machine: httpx.AsyncClient,
) -> Held:
    editor = await client_of("policy-editor")
    return await hold(control_plane, admin, editor, reviewer, machine)


async def hold(
    control_plane: ControlPlane,
    admin: httpx.AsyncClient,
    editor: httpx.AsyncClient,
    reviewer: httpx.AsyncClient,
    machine: httpx.AsyncClient,
    shape: bytes = b"",
    **spec: Any,
) -> Held:
    """`spec`: what the chain says besides its stages. `shape`: of the operation, so that a window is offered."""
    chain = {**CHAIN, "spec": {**CHAIN["spec"], **spec}}
    for who, documents in ((admin, [TARGET]), (editor, [chain, policy("production")])):
        answer = await who.post("/v1/documents/apply", json={"documents": documents})
        assert answer.is_success, answer.text
    credential = (await machine.post("/v1/tokens", json={})).json()["credential_id"]
    requester = (await machine.get("/v1/session")).json()["id"]
    now = milliseconds(control_plane.clock.now())
    opened = OpenedReport(
        "ses_1", now, "orders", "postgres", requester, credential, "10.0.0.9:1", "psql\x1b[2J", 1, REPORTER.boot_id
    )
    asked = RequestedReport(
        approval_id="apr_aaaaaaaaaaaaaaaaaaaa",
        at_ms=now,
        operation=operation_of(text="DELETE FROM orders -- \u202e"),
        policy="production",
        rule="writes",
        chain="dba",
        policy_version=1,
        wait_until_ms=now + 600_000,
        ticket=False,
        in_transaction=True,
        requester_id=requester,
        credential_id=credential,
        shape=shape,
        shape_text="DELETE FROM orders" if shape else "",
    )
    async with control_plane.units() as uow:
        await control_plane.sessions.opened(uow, REPORTER, opened)
        answer = await control_plane.approvals.service.requested(uow, INSTANCE, asked)
    assert isinstance(answer, PendingAnswer), answer
    return Held(asked.approval_id, credential, control_plane, editor, reviewer)


async def test_a_reviewer_sees_everything_and_approves_it(held: Held) -> None:
    (listed,) = (await held.reviewer.get("/v1/approvals", params={"show": "mine"})).json()["items"]
    assert (listed["id"], listed["waits_for"]) == (held.id, "1 more of group reviewers")
    shown = await held.shown()
    assert shown["operation"]["text"] == "DELETE FROM orders -- ⟨U+202E RIGHT-TO-LEFT OVERRIDE⟩"
    assert shown["operation"]["hidden_characters"] == 1
    assert shown["operation"]["in_transaction"] is True
    assert shown["requested_by"]["name"] == "bot"
    assert shown["requested_by"]["owner"]["name"] == "admin"
    assert shown["requested_by"]["application_name"] == "psql⟨U+001B⟩[2J"
    assert shown["on"]["environment"] == "production"
    you = {"may_decide": True, "why": "", "in_place_of": None, "place": "1 of group reviewers"}
    assert shown["you"] == you
    answer = await held.say("approve", channel="cli")
    assert answer.status_code == 200, answer.text
    assert answer.json()["state"] == "approved"
    assert [(one["name"], one["channel"]) for one in answer.json()["decisions"]] == [("reviewer", "cli")]
    told = await held.told()
    assert isinstance(told, DecidedAnswer)
    assert told.grant is not None


async def test_a_denial_needs_a_reason_and_reaches_the_client(held: Held) -> None:
    assert (await held.say("deny")).status_code == 422
    assert (await held.say("deny", reason="   ")).status_code == 422
    assert (await held.say("deny", reason="name the rows")).status_code == 200
    assert await held.told() == DecidedAnswer(held.id, Outcome.DENIED, "name the rows")


async def test_what_was_not_shown_is_not_decided(held: Held) -> None:
    assert (await held.say("approve", digest="0" * 64)).status_code == 412
    assert (await held.say("approve", digest="zz")).status_code == 422
    assert (await held.reviewer.post(f"/v1/approvals/{held.id}/approve", json={})).status_code == 422
    assert isinstance(await held.told(), PendingAnswer)


async def test_it_is_decided_once(held: Held) -> None:
    assert (await held.say("approve")).status_code == 200
    again = await held.say("deny", reason="no")
    assert again.status_code == 409
    assert again.json()["type"] == "urn:assentry:problem:approval-over"


async def test_a_machine_with_the_reviewer_s_role_decides_nothing(held: Held, machine: httpx.AsyncClient) -> None:
    """Invariant 5."""
    for verb, body in (("approve", {}), ("deny", {"reason": "no"})):
        assert (await held.say(verb, machine, **body)).status_code == 403
    assert isinstance(await held.told(), PendingAnswer)


async def test_the_owner_of_the_machine_decides_nothing(
    held: Held, control_plane: ControlPlane, admin: httpx.AsyncClient
) -> None:
    group = {"roles": ["reviewer"], "members": ["reviewer", "admin"]}
    answer = await admin.put("/v1/groups/reviewers", json=group, headers=WHATEVER)
    assert answer.is_success, answer.text
    refused = await held.say("approve", admin)
    assert refused.status_code == 403
    assert "owner" in refused.json()["detail"]


async def test_who_may_not_review_is_not_let_in(
    held: Held, auditor: httpx.AsyncClient, anonymous: httpx.AsyncClient
) -> None:
    assert (await held.say("approve", auditor)).status_code == 403
    assert (await held.say("approve", anonymous)).status_code == 401
    assert (await auditor.get(f"/v1/approvals/{held.id}")).status_code == 200


async def test_a_stranger_does_not_see_that_there_is_one(held: Held, requester: httpx.AsyncClient) -> None:
    assert (await requester.get(f"/v1/approvals/{held.id}")).status_code == 404
    assert (await requester.get("/v1/approvals")).json()["items"] == []
    assert (await requester.get("/v1/sessions/ses_1")).status_code == 404


# ------------------------------------------------------------------ what it stands on


async def voided(held: Held) -> bool:
    await held.control_plane.approvals.upkeep.void_what_fell()
    told = await held.told()
    return isinstance(told, DecidedAnswer) and told.outcome is Outcome.CANCELLED


async def test_a_policy_that_would_now_deny_it_voids_it(held: Held) -> None:
    await held.apply(policy("another", "deny"))
    assert await voided(held)


async def test_a_policy_for_something_else_does_not(held: Held) -> None:
    await held.apply(policy("elsewhere", "deny", environment="staging"))
    assert not await voided(held)


async def test_a_policy_that_changed_refuses_the_decision_before_the_upkeep_comes(held: Held) -> None:
    await held.apply(policy("production", "deny"))
    assert (await held.say("approve")).status_code == 409


async def test_a_disabled_requester_voids_it(held: Held, admin: httpx.AsyncClient) -> None:
    changed = await admin.patch("/v1/identities/bot", json={"disabled": True}, headers=WHATEVER)
    assert changed.is_success, changed.text
    assert await voided(held)


async def test_a_revoked_credential_voids_it(held: Held, machine: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    revoked = await admin.delete(f"/v1/credentials/{held.credential_id}")
    assert revoked.is_success, revoked.text
    assert await voided(held)


async def test_an_expired_credential_is_not_approved(held: Held) -> None:
    held.control_plane.clock.advance(hours=2)  # type: ignore[attr-defined]
    assert (await held.say("approve")).status_code == 409


# ------------------------------------------------------------------ sessions and recordings


async def test_sessions_are_listed_shown_and_ended(held: Held, admin: httpx.AsyncClient) -> None:
    (listed,) = (await held.reviewer.get("/v1/sessions", params={"open": True})).json()["items"]
    assert (listed["id"], listed["requester"], listed["target"]) == ("ses_1", "bot", "orders")
    assert (await held.reviewer.post("/v1/sessions/ses_1/terminate", json={"reason": "odd"})).status_code == 403
    ended = await admin.post("/v1/sessions/ses_1/terminate", json={"reason": "odd"})
    assert ended.json()["ending"] == "odd"
    assert (await admin.post("/v1/sessions/ses_0/terminate", json={"reason": "odd"})).status_code == 404


async def test_a_replay_is_paged_verified_downloaded_and_audited(held: Held, auditor: httpx.AsyncClient) -> None:
    assert (await auditor.get("/v1/sessions/ses_1/timeline")).status_code == 404
    recordings, units = held.control_plane.recordings, held.control_plane.units
    segments, said = recording(*EVENTS)
    async with units() as uow:
        await recordings.begin(uow, INSTANCE, "ses_1")
    for index, data in enumerate(segments):
        kept = await recordings.keep("ses_1", index, data)
        async with units() as uow:
            await recordings.segment(uow, INSTANCE, "ses_1", kept)
    async with units() as uow:
        await recordings.end(uow, INSTANCE, "ses_1", said, [PUBLIC])
    first = (await auditor.get("/v1/sessions/ses_1/timeline", params={"limit": 3})).json()
    assert [event["kind"] for event in first["events"]] == ["opened", "input", "completed"]
    rest = (await auditor.get("/v1/sessions/ses_1/timeline", params={"cursor": first["next_cursor"]})).json()
    assert [event["kind"] for event in rest["events"]] == ["closed"]
    assert (rest["status"], rest["next_cursor"]) == ("complete", None)
    verification = (await auditor.get("/v1/sessions/ses_1/recording/verification")).json()
    assert (verification["verified"], verification["signed"], verification["segments"]) == (True, True, 3)
    assert (await auditor.get("/v1/sessions/ses_1/recording")).headers["content-type"] == "application/x-tar"
    kinds = [item["kind"] for item in (await auditor.get("/v1/audit", params={"actor": "auditor"})).json()["items"]]
    assert kinds.count("session.replayed") == 1
    assert {"recording.verified", "recording.downloaded"} <= set(kinds)


@pytest.mark.parametrize("path", ["/v1/approvals", "/v1/sessions"])
async def test_a_cursor_of_another_list_is_refused(held: Held, path: str) -> None:
    for cursor in ("eA", "WzFd", "WyJhIiwxXQ"):
        assert (await held.reviewer.get(path, params={"cursor": cursor})).status_code == 422
