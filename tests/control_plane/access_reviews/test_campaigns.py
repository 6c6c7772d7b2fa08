"""Campaigns: owners confirm what lasts, or lose it; nobody confirms for another."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlmodel import select

from control_plane.assembly import ControlPlane
from control_plane.kit.outbox import NoticeRow
from tests.control_plane.access_reviews.conftest import Bearer, identity, signed_in
from tests.control_plane.conftest import ManualClock

ANY = {"if-match": "*"}


async def opened(admin: httpx.AsyncClient, clock: ManualClock, days: float = 14) -> str:
    deadline = (clock.now() + timedelta(days=days)).isoformat()
    made = await admin.post("/v1/access-reviews", json={"name": "spring", "deadline_at": deadline})
    assert made.status_code == 201, made.text
    return f"/v1/access-reviews/{made.json()['id']}"


async def items(client: Any, path: str) -> dict[str, dict[str, Any]]:
    """By kind, of those that there is one of."""
    return {one["kind"]: one for one in (await client.get(path)).json()["items"]}


async def decide(owner: Bearer, path: str, number: int, decision: str, comment: str = "") -> httpx.Response:
    return await owner.post(f"{path}/items/{number}/decide", decision=decision, comment=comment)


async def time_is_over(control_plane: ControlPlane, clock: ManualClock) -> float:
    clock.advance(days=15)
    return await control_plane.who.access_reviews.deadlines.close_what_is_due()


async def test_owners_are_asked_about_what_lasts_and_see_nothing_else(
    admin: httpx.AsyncClient, reviewer: httpx.AsyncClient, lin: Bearer, clock: ManualClock
):
    token = await lin.post("/v1/api-tokens", name="nightly", permissions=["request"])
    assert token.status_code == 201, token.text
    path = await opened(admin, clock)
    found = await items(lin, path)
    assert set(found) == {"machine", "service-account-key", "api-token"}
    assert {(one["owner"], one["yours"], one["state"]) for one in found.values()} == {("lin", True, "asked")}
    assert found["machine"]["findings"] == []
    assert found["api-token"]["identity"] == "lin"
    assert (await reviewer.get(path)).status_code == 404, "reviewer owns nothing of it"
    assert (await reviewer.get("/v1/access-reviews")).json()["items"] == []
    assert [one["name"] for one in (await lin.get("/v1/access-reviews")).json()["items"]] == ["spring"]


async def test_what_is_confirmed_stays_and_what_is_not_is_lost(
    admin: httpx.AsyncClient,
    anonymous: httpx.AsyncClient,
    lin: Bearer,
    control_plane: ControlPlane,
    clock: ManualClock,
    key: dict[str, str],
):
    made = (await admin.post("/v1/service-account-keys", json={"identity": "bot", "ttl_days": 200})).json()
    path = await opened(admin, clock)
    by_thing = {one["thing"]: one["number"] for one in (await lin.get(path)).json()["items"]}
    bot = await identity(control_plane, "bot")
    for thing in (bot.id, key["id"]):
        assert (await decide(lin, path, by_thing[thing], "keep", "still needed")).json()["state"] == "kept"
    clock.advance(days=13, hours=23, minutes=30)
    minted = (await Bearer(anonymous, made["key"]).post("/v1/tokens", targets=["*"])).json()["credential_id"]
    clock.advance(minutes=40)
    await control_plane.who.access_reviews.deadlines.close_what_is_due()
    later = await signed_in(anonymous, control_plane, "admin")
    found = {one["thing"]: (one["state"], one["decided_by"]) for one in (await later.get(path)).json()["items"]}
    assert found == {bot.id: ("kept", "lin"), key["id"]: ("kept", "lin"), made["id"]: ("lost", "system")}
    answers = [(await Bearer(anonymous, one["key"]).get("/v1/session")).status_code for one in (key, made)]
    assert answers == [200, 401]
    async with control_plane.units.reading() as uow:
        assert (await control_plane.identities.snapshot(uow)).revoked_credentials == (minted,)
    shown = (await later.get(path)).json()
    assert (shown["state"], shown["closed_at"] is not None) == ("closed", True)
    (event,) = (await later.get("/v1/audit", kind="access-review.closed")).json()["items"]
    assert event["data"] == {"name": "spring", "kept": 2, "lost": 1}
    (lost,) = (await later.get("/v1/audit", kind="service-account-key.revoked")).json()["items"]
    assert lost["data"]["reason"] == "nobody confirmed it in the access review 'spring'"


async def test_a_machine_that_nobody_confirms_ends_with_all_that_it_has(
    admin: httpx.AsyncClient,
    anonymous: httpx.AsyncClient,
    lin: Bearer,
    control_plane: ControlPlane,
    clock: ManualClock,
    key: dict[str, str],
):
    path = await opened(admin, clock)
    assert (await decide(lin, path, (await items(lin, path))["service-account-key"]["number"], "keep")).is_success
    await time_is_over(control_plane, clock)
    assert (await identity(control_plane, "bot")).disabled
    later = await signed_in(anonymous, control_plane, "admin")
    (event,) = (await later.get("/v1/audit", kind="identity.ended")).json()["items"]
    assert event["data"]["keys"] == [key["id"]]
    assert (await items(later, path))["service-account-key"]["state"] == "kept"


async def test_an_owner_ends_what_is_not_needed_at_once(
    admin: httpx.AsyncClient, anonymous: httpx.AsyncClient, lin: Bearer, clock: ManualClock, key: dict[str, str]
):
    path = await opened(admin, clock)
    number = (await items(lin, path))["service-account-key"]["number"]
    assert (await decide(lin, path, number, "keep")).is_success
    assert (await decide(lin, path, number, "end", "the job is gone")).json()["state"] == "ended"
    assert (await Bearer(anonymous, key["key"]).get("/v1/session")).status_code == 401
    again = await decide(lin, path, number, "keep")
    assert (again.status_code, again.json()["detail"]) == (409, "it is ended already")


async def test_nobody_confirms_for_another_not_even_an_admin(admin: httpx.AsyncClient, lin: Bearer, clock: ManualClock):
    path = await opened(admin, clock)
    number = (await items(lin, path))["machine"]["number"]
    refused = await admin.post(f"{path}/items/{number}/decide", json={"decision": "keep"})
    assert refused.status_code == 403
    assert (await items(lin, path))["machine"]["state"] == "asked"


async def test_a_machine_that_changes_hands_is_confirmed_by_its_new_owner(
    admin: httpx.AsyncClient,
    anonymous: httpx.AsyncClient,
    lin: Bearer,
    control_plane: ControlPlane,
    clock: ManualClock,
):
    path = await opened(admin, clock)
    number = (await items(lin, path))["machine"]["number"]
    assert (await admin.post("/v1/identities", json={"name": "new", "kind": "person"})).is_success
    assert (await admin.patch("/v1/identities/bot", json={"owner": "new"}, headers=ANY)).is_success
    new = await signed_in(anonymous, control_plane, "new")
    assert (await decide(lin, path, number, "keep")).status_code == 403
    assert (await decide(new, path, number, "keep")).json()["decided_by"] == "new"


async def test_what_ended_by_itself_is_gone_and_not_lost(
    admin: httpx.AsyncClient,
    anonymous: httpx.AsyncClient,
    lin: Bearer,
    control_plane: ControlPlane,
    clock: ManualClock,
    key: dict[str, str],
):
    path = await opened(admin, clock)
    assert (await decide(lin, path, (await items(lin, path))["machine"]["number"], "keep")).is_success
    assert (await admin.delete(f"/v1/service-account-keys/{key['id']}")).is_success
    await time_is_over(control_plane, clock)
    later = await signed_in(anonymous, control_plane, "admin")
    assert (await items(later, path))["service-account-key"]["state"] == "gone"


async def test_after_the_deadline_it_is_too_late_even_before_it_is_closed(
    admin: httpx.AsyncClient, lin: Bearer, control_plane: ControlPlane, clock: ManualClock
):
    path = await opened(admin, clock, days=0.25)
    number = (await items(lin, path))["machine"]["number"]
    clock.advance(hours=6)
    late = await decide(lin, path, number, "keep")
    assert (late.status_code, "its deadline has passed" in late.json()["detail"]) == (409, True)
    assert await time_is_over(control_plane, clock) > 0
    assert await time_is_over(control_plane, clock) > 0, "closed once"


async def test_a_cancelled_campaign_takes_nothing(
    admin: httpx.AsyncClient, anonymous: httpx.AsyncClient, lin: Bearer, control_plane: ControlPlane, clock: ManualClock
):
    path = await opened(admin, clock)
    number = (await items(lin, path))["machine"]["number"]
    assert (await admin.post(f"{path}/cancel")).json()["state"] == "cancelled"
    await time_is_over(control_plane, clock)
    assert (await identity(control_plane, "bot")).able
    lin = await signed_in(anonymous, control_plane, "lin")
    assert (await decide(lin, path, number, "keep")).status_code == 409
    again = await signed_in(anonymous, control_plane, "admin")
    assert (await again.post(f"{path}/cancel")).status_code == 409


async def test_who_is_disabled_is_not_asked_about(admin: httpx.AsyncClient, lin: Bearer, clock: ManualClock):
    assert (await admin.patch("/v1/identities/bot", json={"disabled": True}, headers=ANY)).is_success
    path = await opened(admin, clock)
    assert (await admin.get(path)).json()["items"] == []
    assert lin


async def test_a_machine_without_a_living_owner_has_nobody_to_confirm_it(
    admin: httpx.AsyncClient, control_plane: ControlPlane, clock: ManualClock, key: dict[str, str]
):
    assert (await admin.patch("/v1/identities/lin", json={"disabled": True}, headers=ANY)).is_success
    path = await opened(admin, clock)
    found = await items(admin, path)
    assert found["machine"]["findings"] == ["owner-gone"]
    await time_is_over(control_plane, clock)
    assert (await identity(control_plane, "bot")).disabled
    assert key


async def test_what_became_of_everything_is_exported(admin: httpx.AsyncClient, lin: Bearer, clock: ManualClock):
    path = await opened(admin, clock)
    number = (await items(lin, path))["machine"]["number"]
    assert (await decide(lin, path, number, "keep", "=1+1")).is_success
    told = (await admin.get(f"{path}/export")).text
    rows = {row["kind"]: row for row in csv.DictReader(io.StringIO(told))}
    assert (rows["machine"]["state"], rows["machine"]["comment"]) == ("kept", "'=1+1")
    assert rows["service-account-key"]["state"] == "asked"
    assert len((await admin.get(f"{path}/export", params={"format": "json"})).text.splitlines()) == 2
    assert (await lin.get(f"{path}/export")).status_code == 403


@pytest.mark.parametrize("days", [-1, 0, 181])
async def test_a_deadline_is_ahead_and_not_too_far(admin: httpx.AsyncClient, clock: ManualClock, days: float):
    deadline = (clock.now() + timedelta(days=days)).isoformat()
    refused = await admin.post("/v1/access-reviews", json={"name": "spring", "deadline_at": deadline})
    assert refused.status_code == 422


async def test_channels_are_told_that_a_campaign_begins(
    admin: httpx.AsyncClient, lin: Bearer, control_plane: ControlPlane, clock: ManualClock
):
    await opened(admin, clock)
    async with control_plane.units.reading() as uow:
        rows = (await uow.session.exec(select(NoticeRow).where(NoticeRow.kind == "access-review.opened"))).all()
    assert [(row.data["name"], row.data["owners"], row.data["things"]) for row in rows] == [("spring", "lin", 2)]
    assert lin
