"""Every machine is there for something and until some day; when that day comes it is ended with all that it has."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import httpx
import pytest

from control_plane.assembly import ControlPlane
from control_plane.identities.ends import EndDates
from tests.control_plane.conftest import ManualClock


async def create(admin: httpx.AsyncClient, **body: str | None) -> httpx.Response:
    known = {"name": "worker", "kind": "machine", "owner": "admin", "purpose": "works"}
    return await admin.post("/v1/identities", json={**known, **body})


async def test_a_machine_says_what_it_is_there_for_and_is_there_for_a_year_unless_it_says_until_when(
    admin: httpx.AsyncClient, clock: ManualClock
):
    for purpose in ("", "  "):
        refused = await create(admin, purpose=purpose)
        assert refused.status_code == 422
        assert "say what it is there for" in refused.json()["errors"][0]["message"]
    made = (await create(admin)).json()
    assert made["ends_at"] == (clock.now() + timedelta(days=365)).isoformat().replace("+00:00", "Z")
    assert (
        (await create(admin, name="other", ends_at="2026-04-01T00:00:00Z")).json()["ends_at"].startswith("2026-04-01")
    )
    assert (await create(admin, name="lin", kind="person", owner="", purpose="")).json()["ends_at"] is None


async def test_a_machines_end_date_is_moved_and_never_taken_away(admin: httpx.AsyncClient):
    until = (await create(admin)).json()["ends_at"]
    await create(admin, name="lin", kind="person", owner="", purpose="", ends_at=until)
    sent = {"json": {"ends_at": None}, "headers": {"if-match": "*"}}
    refused = await admin.patch("/v1/identities/worker", **sent)
    assert (refused.status_code, "those have an end date" in refused.text) == (422, True)
    assert (await admin.get("/v1/identities/worker")).json()["ends_at"] == until
    assert (await admin.patch("/v1/identities/lin", **sent)).json()["ends_at"] is None
    refused = await admin.patch("/v1/identities/worker", json={"purpose": " "}, headers={"if-match": "*"})
    assert (refused.status_code, "those have a purpose" in refused.text) == (422, True)


async def test_an_end_date_that_has_passed_is_refused_rather_than_ending_somebody_at_once(
    admin: httpx.AsyncClient, clock: ManualClock
):
    past, now = ((clock.now() - timedelta(days=ago)).isoformat() for ago in (1, 0))
    until = (await create(admin)).json()["ends_at"]
    await create(admin, name="lin", kind="person", owner="", purpose="")

    async def moved(name: str, **body: object) -> httpx.Response:
        return await admin.patch(f"/v1/identities/{name}", json=body, headers={"if-match": "*"})

    for refused in (
        await create(admin, name="late", ends_at=past),
        await moved("worker", ends_at=past),
        await moved("worker", ends_at=now),
        await moved("lin", ends_at=past),
    ):
        told = "this has passed, and would end them at once: disable them, or say a later day"
        assert (refused.status_code, refused.json()["errors"]) == (422, [{"path": "$.ends_at", "message": told}])
    assert (await admin.get("/v1/identities/worker")).json()["ends_at"] == until
    assert (await moved("worker", ends_at=past, disabled=True)).is_success
    assert (await moved("worker", ends_at=past, purpose="has ended")).is_success


async def test_an_identity_is_ended_when_its_end_date_has_come(
    admin: httpx.AsyncClient, anonymous: httpx.AsyncClient, control_plane: ControlPlane, clock: ManualClock
):
    until = (clock.now() + timedelta(hours=1)).isoformat()
    assert (await create(admin, ends_at=until)).status_code == 201
    key = (await admin.post("/v1/service-account-keys", json={"identity": "worker"})).json()["key"]
    bearer = {"authorization": f"Bearer {key}"}
    ends = EndDates(control_plane.units, control_plane.who.ending)
    assert await ends.end_what_is_due() == pytest.approx(3600)
    assert (await anonymous.get("/v1/session", headers=bearer)).status_code == 200
    clock.advance(hours=1)
    await asyncio.gather(ends.end_what_is_due(), ends.end_what_is_due())
    assert (await anonymous.get("/v1/session", headers=bearer)).status_code == 401
    assert (await admin.get("/v1/identities/worker")).json()["disabled"] is True
    (told,) = (await admin.get("/v1/audit", params={"kind": "identity.ended"})).json()["items"]
    assert (told["actor"]["kind"], told["data"]["reason"]) == ("system", "its end date has come")
