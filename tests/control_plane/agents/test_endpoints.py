"""`/v1/agents` and `/v1/join-tokens`, on both databases."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest

from control_plane.agents.domain import Agent, Enrolled, Hello, NotEnrolled
from control_plane.agents.reports import ReportIntake
from control_plane.assembly import ControlPlane
from tests.control_plane.agents.test_authority import request
from tests.control_plane.conftest import ManualClock

HELLO = Hello("demo", "inst_1", "boot_1", "0.1.0", ("policies/1",), 0, 1, (), (), ("a2V5",))


async def enrol(control_plane: ControlPlane, token: str, name: str = "demo") -> Enrolled | NotEnrolled:
    async with control_plane.units() as uow:
        return await control_plane.agents.service.enrol(uow, token, name, request(), request())


async def test_a_join_token_is_shown_once_and_lets_one_installation_in(
    admin: httpx.AsyncClient, control_plane: ControlPlane
) -> None:
    made = await admin.post("/v1/join-tokens", json={"agent": "demo", "expires_in": 600})
    assert made.status_code == 201, made.text
    token = made.json()["token"]
    assert "BEGIN CERTIFICATE" in made.json()["ca"]
    listed = await admin.get("/v1/join-tokens")
    assert [one["id"] for one in listed.json()["items"]] == [made.json()["id"]]
    assert token not in listed.text
    assert isinstance(await enrol(control_plane, token), Enrolled)
    assert await enrol(control_plane, token) is NotEnrolled.USED
    assert (await admin.get("/v1/join-tokens")).json()["items"] == []


async def test_a_repeated_creation_makes_one_token_and_does_not_show_it_again(admin: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": "k1"}
    first = await admin.post("/v1/join-tokens", json={"agent": "demo"}, headers=headers)
    again = await admin.post("/v1/join-tokens", json={"agent": "demo"}, headers=headers)
    assert again.json() == {**first.json(), "token": ""}
    assert len((await admin.get("/v1/join-tokens")).json()["items"]) == 1


async def test_a_token_that_was_taken_back_or_has_expired_is_of_no_use(
    admin: httpx.AsyncClient, control_plane: ControlPlane, clock: ManualClock
) -> None:
    taken = (await admin.post("/v1/join-tokens", json={"agent": "demo"})).json()
    assert (await admin.delete(f"/v1/join-tokens/{taken['id']}")).status_code == 204
    assert (await admin.delete(f"/v1/join-tokens/{taken['id']}")).status_code == 404
    assert await enrol(control_plane, taken["token"]) is NotEnrolled.UNKNOWN
    old = (await admin.post("/v1/join-tokens", json={"agent": "demo", "expires_in": 60})).json()
    clock.advance(seconds=60)
    assert await enrol(control_plane, old["token"]) is NotEnrolled.EXPIRED


async def test_a_token_is_for_one_agent_only(admin: httpx.AsyncClient, control_plane: ControlPlane) -> None:
    token = (await admin.post("/v1/join-tokens", json={"agent": "demo"})).json()["token"]
    assert await enrol(control_plane, token, "another") is NotEnrolled.OTHER_AGENT
    assert isinstance(await enrol(control_plane, token), Enrolled)


@pytest.mark.parametrize(
    "body", [{}, {"agent": ""}, {"agent": "No Name"}, {"agent": "a", "expires_in": 1}, {"agent": "a", "expires_in": -5}]
)
async def test_a_bad_token_request_is_refused(admin: httpx.AsyncClient, body: dict[str, object]) -> None:
    assert (await admin.post("/v1/join-tokens", json=body)).status_code == 422


async def test_only_an_admin_lets_agents_in(
    reviewer: httpx.AsyncClient, requester: httpx.AsyncClient, anonymous: httpx.AsyncClient
) -> None:
    for client, status in ((reviewer, 403), (requester, 403), (anonymous, 401)):
        assert (await client.post("/v1/join-tokens", json={"agent": "demo"})).status_code == status
        assert (await client.post("/v1/agents/demo/disable")).status_code == status
    assert (await reviewer.get("/v1/agents")).status_code == 200
    assert (await requester.get("/v1/agents")).status_code == 403


async def test_an_agent_is_listed_with_its_instances_and_can_be_disabled(
    admin: httpx.AsyncClient, control_plane: ControlPlane
) -> None:
    token = (await admin.post("/v1/join-tokens", json={"agent": "demo"})).json()["token"]
    enrolled = await enrol(control_plane, token)
    assert isinstance(enrolled, Enrolled)
    async with control_plane.units() as uow:
        holder = await control_plane.agents.service.holder(uow, enrolled.certificates.serial)
        assert holder == Agent(enrolled.agent_id, "demo", enrolled.certificates.expires_at)
        intake = ReportIntake(control_plane.approvals.service, control_plane.sessions, control_plane.accounts)
        assert await intake.greet(uow, holder, HELLO) == 0
    shown = (await admin.get("/v1/agents/demo")).json()
    assert (shown["connected"], shown["disabled"]) == (True, False)
    assert [one["id"] for one in shown["instances"]] == ["inst_1"]
    assert (await admin.post("/v1/agents/demo/disable")).json()["disabled"] is True
    async with control_plane.units() as uow:
        assert await control_plane.agents.service.holder(uow, enrolled.certificates.serial) is None
    token = (await admin.post("/v1/join-tokens", json={"agent": "demo"})).json()["token"]
    assert await enrol(control_plane, token) is NotEnrolled.DISABLED
    assert (await admin.post("/v1/agents/demo/enable")).json()["disabled"] is False
    assert isinstance(await enrol(control_plane, token), Enrolled)
    assert (await admin.get("/v1/agents/nobody")).status_code == 404


async def test_a_certificate_opens_nothing_after_its_end(
    admin: httpx.AsyncClient, control_plane: ControlPlane, clock: ManualClock
) -> None:
    token = (await admin.post("/v1/join-tokens", json={"agent": "demo"})).json()["token"]
    enrolled = await enrol(control_plane, token)
    assert isinstance(enrolled, Enrolled)
    clock.instant = enrolled.certificates.expires_at - timedelta(seconds=1)
    async with control_plane.units.reading() as uow:
        assert await control_plane.agents.service.holder(uow, enrolled.certificates.serial) is not None
    clock.advance(seconds=1)
    async with control_plane.units.reading() as uow:
        assert await control_plane.agents.service.holder(uow, enrolled.certificates.serial) is None
