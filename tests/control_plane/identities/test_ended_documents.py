"""Documents that say nothing of it do not enable whom something else has ended, and take no machine's end away."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import httpx

from control_plane.assembly import ControlPlane
from control_plane.identities.ends import EndDates
from control_plane.kit.unit_of_work import SYSTEM
from tests.control_plane.conftest import ManualClock
from tests.control_plane.documents.test_documents import changed
from tests.control_plane.workloads.platforms import applied, document


async def test_applying_the_same_documents_again_enables_nobody(
    control_plane: ControlPlane, admin: httpx.AsyncClient
) -> None:
    joe = document("Identity", "joe", kind="person")
    await applied(admin, joe)

    async def changes(sent: object) -> list[str]:
        answer = await admin.post("/v1/documents/plan", json={"documents": [sent]})
        assert answer.is_success, answer.text
        return [one["change"] for one in answer.json()["changes"]]

    async def able() -> bool:
        async with control_plane.units.reading() as uow:
            return (await control_plane.identities.named(uow, "joe")).able

    async def exported() -> object:
        found = (await admin.get("/v1/documents/export")).json()["documents"]
        return next(one for one in found if one["metadata"]["name"] == "joe")["spec"].get("disabled")

    enabled = document("Identity", "joe", kind="person", disabled=False)
    assert await changes(enabled) == ["unchanged"]
    assert await exported() is None
    async with control_plane.units() as uow:
        who = await control_plane.identities.named(uow, "joe")
        await control_plane.who.ending.end(uow, SYSTEM, who.id, "the provider said so")
    assert await exported() is True
    assert await changes(joe) == ["unchanged"]
    await applied(admin, joe)
    await applied(admin, document("Identity", "joe", kind="person", email="joe@example.org"))
    assert not await able()
    assert await changes(enabled) == ["update"]
    await applied(admin, document("Identity", "joe", kind="person", disabled=False))
    assert await able()


def worker(**spec: object) -> dict[str, Any]:
    return document("Identity", "worker", kind="machine", owner="admin", **spec)


async def test_documents_move_a_machines_end_where_they_say_so_and_never_take_it_away(admin: httpx.AsyncClient) -> None:
    async def shown(name: str) -> tuple[str, str]:
        one = (await admin.get(f"/v1/identities/{name}")).json()
        return one["purpose"], one["ends_at"]

    until, later = "2026-12-01T00:00:00Z", "2027-12-01T00:00:00Z"
    await applied(admin, worker(purpose="works", ends_at=until))
    for silent in (worker(), worker(purpose="works"), worker(ends_at=until)):
        answer = await admin.post("/v1/documents/apply", json={"documents": [silent]})
        assert [one["change"] for one in answer.json()["changes"]] == ["unchanged"]
    await applied(admin, worker(email="worker@example.org"))
    assert await shown("worker") == ("works", until)
    for taken, path in ((worker(ends_at=None), "ends_at"), (worker(purpose=" "), "purpose")):
        refused = await admin.post("/v1/documents/apply", json={"documents": [taken]})
        assert refused.status_code == 422
        assert [one["path"] for one in refused.json()["errors"]] == [f"$.documents[0].spec.{path}"]
    await applied(admin, worker(ends_at=later))
    assert await shown("worker") == ("works", later)
    exported = (await admin.get("/v1/documents/export")).json()["documents"]
    assert next(one for one in exported if one["metadata"]["name"] == "worker")["spec"]["ends_at"] == later
    again = await admin.post("/v1/documents/plan", json={"documents": exported})
    assert {one["change"] for one in again.json()["changes"]} == {"unchanged"}


async def test_an_owner_of_machines_is_disabled_by_a_document_and_what_is_exported_then_applies(
    control_plane: ControlPlane, admin: httpx.AsyncClient
) -> None:
    zoe, owned = document("Identity", "zoe", kind="person"), worker(purpose="works", ends_at="2026-12-01T00:00:00Z")
    bot, second = changed(owned, "spec.owner", "zoe"), changed(owned, "metadata.name", "second")
    await applied(admin, zoe, bot, second)
    await applied(admin, changed(zoe, "spec.disabled", True))
    async with control_plane.units.reading() as uow:
        assert [(await control_plane.identities.named(uow, one)).able for one in ("zoe", "worker")] == [False, False]
    exported = (await admin.get("/v1/documents/export")).json()["documents"]
    again = await admin.post("/v1/documents/plan", json={"documents": exported})
    assert again.is_success, again.text
    assert {one["change"] for one in again.json()["changes"]} == {"unchanged"}
    await applied(admin, changed(bot, "spec.email", "bot@example.org"))
    for new in (changed(second, "spec.owner", "zoe"), changed(bot, "metadata.name", "third")):
        refused = await admin.post("/v1/documents/apply", json={"documents": [new]})
        (problem,) = refused.json()["errors"]
        assert problem["path"] == "$.documents[0].spec.owner"
        assert problem["message"] == "the owner 'zoe' is disabled; name another person"


async def test_documents_end_no_machine_by_a_day_that_has_passed_and_keep_one_that_has_ended_as_it_is(
    control_plane: ControlPlane, admin: httpx.AsyncClient, clock: ManualClock
) -> None:
    async def refused(sent: dict[str, Any]) -> str:
        said = {(await admin.post(f"/v1/documents/{do}", json={"documents": [sent]})).text for do in ("plan", "apply")}
        (problem,) = json.loads(said.pop())["errors"]
        assert problem["path"] == "$.documents[0].spec.ends_at"
        return str(problem["message"])

    past = (clock.now() - timedelta(days=1)).isoformat()
    assert "disable them, or say a later day" in await refused(worker(purpose="works", ends_at=past))
    until = clock.now() + timedelta(hours=1)
    await applied(admin, worker(purpose="works", ends_at=until.isoformat()))
    assert "disable them, or say a later day" in await refused(worker(ends_at=past))
    assert "timezone" in await refused(worker(ends_at="2026-12-01T00:00:00"))
    clock.advance(hours=2)
    await applied(admin, worker(email="worker@example.org", ends_at=until.isoformat()))
    await EndDates(control_plane.units, control_plane.who.ending).end_what_is_due()
    exported = (await admin.get("/v1/documents/export")).json()["documents"]
    again = await admin.post("/v1/documents/plan", json={"documents": exported})
    assert again.is_success, again.text
    assert {one["change"] for one in again.json()["changes"]} == {"unchanged"}
    ended = next(one for one in exported if one["metadata"]["name"] == "worker")
    await applied(admin, changed(ended, "metadata.name", "elsewhere"))
    assert (await admin.get("/v1/identities/elsewhere")).json()["disabled"] is True


async def test_of_a_person_documents_take_the_end_away_where_they_say_so(admin: httpx.AsyncClient) -> None:
    async def ends_at() -> str | None:
        found: str | None = (await admin.get("/v1/identities/joe")).json()["ends_at"]
        return found

    await applied(admin, document("Identity", "joe", kind="person", ends_at="2026-12-01T00:00:00Z"))
    await applied(admin, document("Identity", "joe", kind="person", email="joe@example.org"))
    assert await ends_at() == "2026-12-01T00:00:00Z"
    await applied(admin, document("Identity", "joe", kind="person", ends_at=None))
    assert await ends_at() is None
