"""Identical requests over REST and in the console: one entry with a count, one decision for all that it names."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from control_plane.approvals.reports import PendingAnswer, RequestedReport
from control_plane.assembly import ControlPlane
from control_plane.kit.clock import milliseconds
from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import SYSTEM
from control_plane.sessions.reports import OpenedReport
from tests.control_plane.beforehand import POLICY, ClientOf, Deployment
from tests.control_plane.world import INSTANCE, REPORTER, operation_of

PASSWORD = "correct horse battery"


@pytest.fixture
async def deployment(control_plane: ControlPlane, client_of: ClientOf, machine: httpx.AsyncClient) -> Deployment:
    return await Deployment.of(control_plane, client_of, machine, POLICY)


@pytest.fixture
async def ids(deployment: Deployment) -> list[str]:
    """Three sessions of `bot` hold the same operation."""
    control_plane, machine = deployment.control_plane, deployment.machine
    credential = (await machine.post("/v1/tokens", json={})).json()["credential_id"]
    requester = (await machine.get("/v1/session")).json()["id"]
    made = []
    for number in range(3):
        made.append(await _held(control_plane, f"ses_{number}", requester, credential))
    return made


async def _held(control_plane: ControlPlane, session: str, requester: str, credential: str) -> str:
    now = milliseconds(control_plane.clock.now())
    client = ("10.0.0.9:1", "psql", 1, REPORTER.boot_id)
    opened = OpenedReport(session, now, "orders", "postgres", requester, credential, *client)
    asked = RequestedReport(
        approval_id=f"apr_aaaaaaaaaaaaaaaa{session}",
        at_ms=now,
        operation=operation_of(session),
        policy="production",
        rule="writes",
        chain="dba",
        policy_version=1,
        wait_until_ms=now + 600_000,
        ticket=False,
        in_transaction=False,
        requester_id=requester,
        credential_id=credential,
    )
    async with control_plane.units() as uow:
        await control_plane.sessions.opened(uow, REPORTER, opened)
        answer = await control_plane.approvals.service.requested(uow, INSTANCE, asked)
    assert isinstance(answer, PendingAnswer)
    return answer.approval_id


async def states(deployment: Deployment, ids: list[str]) -> list[str]:
    return [(await deployment.admin.get(f"/v1/approvals/{one}")).json()["state"] for one in ids]


async def listed(deployment: Deployment) -> list[dict[str, Any]]:
    return (await deployment.reviewer.get("/v1/approvals", params={"show": "mine"})).json()["items"]


async def test_the_list_has_one_entry_and_the_request_names_the_others(deployment: Deployment, ids: list[str]) -> None:
    (entry,) = await listed(deployment)
    assert (entry["id"], entry["count"]) == (ids[0], 3)
    shown = (await deployment.reviewer.get(f"/v1/approvals/{ids[0]}")).json()
    assert [(one["id"], one["session_id"]) for one in shown["alike"]] == [(ids[1], "ses_1"), (ids[2], "ses_2")]


@pytest.mark.parametrize("verb", ["approve", "deny"])
async def test_a_decision_is_for_those_that_it_names(deployment: Deployment, ids: list[str], verb: str) -> None:
    shown = (await deployment.reviewer.get(f"/v1/approvals/{ids[0]}")).json()
    also = [{"id": one["id"], "digest": one["digest"]} for one in shown["alike"][:1]]
    await deployment.decide(ids[0], verb, also=also, **({"reason": "no"} if verb == "deny" else {}))
    done = "approved" if verb == "approve" else "denied"
    assert await states(deployment, ids) == [done, done, "pending"]


async def test_a_digest_of_something_else_decides_nothing(deployment: Deployment, ids: list[str]) -> None:
    digest = (await deployment.reviewer.get(f"/v1/approvals/{ids[0]}")).json()["digest"]
    body = {"digest": digest, "also": [{"id": ids[1], "digest": digest}]}
    assert (await deployment.reviewer.post(f"/v1/approvals/{ids[0]}/approve", json=body)).status_code == 412
    assert await states(deployment, ids) == ["pending"] * 3


async def test_the_console_shows_the_count_and_decides_on_all_that_the_page_shows(
    deployment: Deployment, ids: list[str], anonymous: httpx.AsyncClient
) -> None:
    await deployment.control_plane.sign_ins.reset_password(SYSTEM, "reviewer", Secret(PASSWORD))
    said = {"name": "reviewer", "password": PASSWORD, "channel": "console"}
    csrf = (await anonymous.post("/v1/session", json=said)).json()["csrf_token"]
    assert "3 times" in (await anonymous.get("/")).text
    page = (await anonymous.get(f"/approvals/{ids[0]}")).text
    assert "3 identical requests of bot wait" in page
    (form,) = re.findall(r'action="/approvals/[^"]*/approve">(.*?)</form>', page, re.DOTALL)
    fields: dict[str, Any] = {"csrf_token": csrf}
    for name, value in re.findall(r'name="(digest|also)" value="([^"]*)"', form):
        fields.setdefault(name, []).append(value)
    assert len(fields["also"]) == 2
    answer = await anonymous.post(f"/approvals/{ids[0]}/approve", data=fields)
    assert answer.status_code == 303, answer.text
    assert await states(deployment, ids) == ["approved"] * 3
