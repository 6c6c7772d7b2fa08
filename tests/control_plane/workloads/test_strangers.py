"""An agent acts on behalf of somebody whom only its issuer knows, and who is linked to one of our people later."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from control_plane.assembly import ControlPlane
from control_plane.kit.unit_of_work import SYSTEM
from control_plane.workloads import chains
from tests.control_plane.workloads.platforms import Platform, applied, document, exchanged, machine, trust

LIN = "u-42"
PLAN = {"target": "orders", "operations": ["DELETE FROM orders WHERE id = 1"], "reason": "x", "database": "shop"}
HELD = {"name": "writes", "match": {"action": "write"}, "effect": "hold", "approval": "dba"}
POLICY = {
    "targets": {"names": "orders"},
    "requesters": {"groups": ["bots"]},
    "rules": [HELD],
    "plans": {"approval": "dba", "most": 3},
}


@pytest.fixture
async def agents(ground: httpx.AsyncClient, platform: Platform, person: Any) -> httpx.AsyncClient:
    """The admin; `assistant` acts for whomever its issuer says, and lin and bob review."""
    for name in ("lin", "bob"):
        await person(name, "reviewer")
    own = {"subject": "agent-1", "identity": "assistant", "single_use": False, "act": True}
    await applied(
        ground,
        machine("assistant"),
        document("Group", "bots", members=["assistant"], roles=["requester"]),
        trust("assistants", platform, **own),
        document("IdentityProvider", "corp", oidc={"issuer": platform.issuer, "client_id": "assentry"}),
        document("ApprovalChain", "dba", stages=[{"groups": ["reviewers"], "timeout": "15m"}]),
        document("Policy", "p", **POLICY),
    )
    return ground


async def signed_in(control_plane: ControlPlane, name: str) -> dict[str, str]:
    async with control_plane.units() as uow:
        (found,) = await control_plane.identities.find_named(uow, [name])
        opened = await control_plane.sign_ins.open(uow, found, "cli")
    return {"authorization": f"Bearer {opened.token.reveal()}"}


async def asked_for_lin(anonymous: httpx.AsyncClient, platform: Platform) -> str:
    told = await exchanged(anonymous, platform.token(LIN, act={"sub": "agent-1"}))
    assert told.status_code == 200, told.text
    bearer = {"authorization": f"Bearer {told.json()['access_token']}"}
    plan = await anonymous.post("/v1/plans", json=PLAN, headers=bearer)
    assert plan.status_code == 201, plan.text
    return str(plan.json()["id"])


async def linked(admin: httpx.AsyncClient) -> None:
    answer = await admin.put("/v1/identities/lin/accounts/corp", json={"subject": LIN})
    assert answer.is_success, answer.text


async def approved(client: httpx.AsyncClient, whose: dict[str, str], approval: str) -> httpx.Response:
    shown = (await client.get(f"/v1/approvals/{approval}", headers=whose)).json()
    return await client.post(f"/v1/approvals/{approval}/approve", json={"digest": shown["digest"]}, headers=whose)


async def test_who_is_linked_after_it_was_asked_on_their_behalf_does_not_approve_it(
    agents: httpx.AsyncClient, anonymous: httpx.AsyncClient, control_plane: ControlPlane, platform: Platform
) -> None:
    approval = await asked_for_lin(anonymous, platform)
    await linked(agents)
    assert (await approved(anonymous, await signed_in(control_plane, "lin"), approval)).status_code == 403
    assert (await approved(anonymous, await signed_in(control_plane, "bob"), approval)).status_code == 200


async def test_the_end_of_who_was_linked_since_is_the_end_of_what_was_asked_on_their_behalf(
    agents: httpx.AsyncClient, anonymous: httpx.AsyncClient, control_plane: ControlPlane, platform: Platform
) -> None:
    approval = await asked_for_lin(anonymous, platform)
    await linked(agents)
    async with control_plane.units() as uow:
        (lin,) = await control_plane.identities.find_named(uow, ["lin"])
        await control_plane.who.ending.end(uow, SYSTEM, lin.id, "left")
    assert (await approved(anonymous, await signed_in(control_plane, "bob"), approval)).status_code == 409


@pytest.mark.parametrize("subject", ["u-42\0", "u-42\ud800", "u-42\u202e"])
def test_a_subject_that_no_screen_shows_and_no_database_keeps_stands_behind_nobody(subject: str) -> None:
    assert chains.told_subjects({"sub": subject, "act": {"sub": "agent-1"}}) is None
    assert chains.told_subjects({"sub": LIN, "act": {"sub": "agent-1", "act": {"sub": subject}}}) is None
