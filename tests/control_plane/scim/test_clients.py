"""SCIM clients, their tokens, and how far each reaches."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
from fastapi import FastAPI

from control_plane.assembly import ControlPlane
from control_plane.kit.access import Access, calls_of
from tests.control_plane.conftest import ManualClock
from tests.control_plane.scim.conftest import BASE, Pusher, audited, identity_of, scim_client

OTHER = "https://assentry.example.org/scim/v2/other"


@pytest.fixture
async def other(app: FastAPI, admin: httpx.AsyncClient) -> AsyncIterator[Pusher]:
    """Another client, without a provider."""
    await admin.post("/v1/scim-clients", json={"name": "other"})
    made = await admin.post("/v1/scim-clients/other/tokens", json={})
    async with scim_client(app, made.json()["token"], OTHER) as http:
        yield Pusher(http)


async def test_a_client_is_made_shown_and_listed_without_its_tokens(admin: httpx.AsyncClient, token: str):
    shown = await admin.get("/v1/scim-clients/corp")
    assert shown.json()["url"] == BASE
    assert [set(one) for one in shown.json()["tokens"]] == [
        {"id", "created_at", "created_by", "expires_at", "last_used_at"}
    ]
    listed = await admin.get("/v1/scim-clients")
    assert [one["name"] for one in listed.json()["items"]] == ["corp"]
    assert token not in shown.text + listed.text
    assert (await admin.post("/v1/scim-clients", json={"name": "corp"})).status_code == 409
    unknown = await admin.post("/v1/scim-clients", json={"name": "x", "provider": "nobody"})
    assert (unknown.status_code, "apply its document first" in unknown.text) == (422, True)


async def test_two_tokens_at_a_time_let_one_take_the_place_of_the_other(
    app: FastAPI, admin: httpx.AsyncClient, token: str
):
    second = (await admin.post("/v1/scim-clients/corp/tokens", json={"ttl_days": 30})).json()
    third = await admin.post("/v1/scim-clients/corp/tokens", json={})
    assert (third.status_code, "revoke the one" in third.text) == (409, True)
    first = next(
        one["id"] for one in (await admin.get("/v1/scim-clients/corp")).json()["tokens"] if one["id"] != second["id"]
    )
    async with scim_client(app, token) as old, scim_client(app, second["token"]) as new:
        assert [(await http.get("/Users")).status_code for http in (old, new)] == [200, 200]
        assert (await admin.delete(f"/v1/scim-clients/corp/tokens/{first}")).status_code == 204
        assert [(await http.get("/Users")).status_code for http in (old, new)] == [401, 200]
    assert (await admin.delete(f"/v1/scim-clients/corp/tokens/{first}")).status_code == 404
    assert (await admin.post("/v1/scim-clients/corp/tokens", json={})).status_code == 201


async def test_a_token_whose_answer_was_lost_is_found_and_made_anew(admin: httpx.AsyncClient):
    sent = {"json": {}, "headers": {"idempotency-key": "lost"}}
    assert (await admin.post("/v1/scim-clients", json={"name": "corp"})).status_code == 201
    assert (await admin.post("/v1/scim-clients/corp/tokens", **sent)).status_code == 201
    again = await admin.post("/v1/scim-clients", json={"name": "corp"})
    assert (again.status_code, "assentry scim-clients token corp" in again.json()["detail"]) == (409, True)
    repeated = (await admin.post("/v1/scim-clients/corp/tokens", **sent)).json()
    assert repeated["token"] is None
    (listed,) = (await admin.get("/v1/scim-clients/corp")).json()["tokens"]
    assert (listed["id"], listed["last_used_at"]) == (repeated["id"], None)
    assert (await admin.delete(f"/v1/scim-clients/corp/tokens/{listed['id']}")).status_code == 204
    assert (await admin.post("/v1/scim-clients/corp/tokens", json={})).json()["token"].startswith("assentry_i_")


async def test_who_mints_credentials_does_not_mint_tokens_that_say_who_is_in_which_group(
    client_of: Callable[[str], Awaitable[httpx.AsyncClient]], admin: httpx.AsyncClient, token: str
):
    """A pushed member of a linked group has its roles, an admin's too: whoever has a token gives them."""
    issuer = await client_of("credential-issuer")
    (one,) = (await admin.get("/v1/scim-clients/corp")).json()["tokens"]
    assert (await issuer.post("/v1/scim-clients/corp/tokens", json={})).status_code == 403
    assert (await issuer.delete(f"/v1/scim-clients/corp/tokens/{one['id']}")).status_code == 403
    assert (await admin.get("/v1/scim-clients/corp")).json()["tokens"] == [one]


async def test_a_token_ends_by_itself_and_the_log_says_so_once_a_minute(
    pusher: Pusher, admin: httpx.AsyncClient, clock: ManualClock, control_plane: ControlPlane
):
    assert (await pusher.http.get("/Users")).status_code == 200
    clock.advance(days=181)
    async with control_plane.units() as uow:
        opened = await control_plane.sign_ins.open(uow, await control_plane.identities.named(uow, "admin"), "cli")
    admin.headers["authorization"] = f"Bearer {opened.token.reveal()}"
    for _ in range(5):
        answer = await pusher.http.get("/Users")
        assert (answer.status_code, answer.json()["detail"]) == (401, "sign in first")
    clock.advance(seconds=61)
    await pusher.http.get("/Users")
    told = [one["data"] for one in await audited(admin, "push.refused")]
    assert [one["more_before"] for one in told] == [0, 4]
    assert all(str(one["cause"]).endswith("of corp is expired") for one in told)


async def test_who_has_no_token_writes_nothing_of_their_own_into_the_log(
    anonymous: httpx.AsyncClient, admin: httpx.AsyncClient
):
    for name in ("nobody", "<script>", "corp"):
        answer = await anonymous.get(f"/scim/v2/{name}/Users", headers={"authorization": "Bearer assentry_i_x"})
        assert answer.status_code == 401
    (told,) = await audited(admin, "push.refused")
    assert (told["subject"], told["data"]["cause"]) == ("", "the token is unknown")


async def test_when_a_token_was_last_used_is_known_to_the_hour(
    pusher: Pusher, admin: httpx.AsyncClient, clock: ManualClock
):
    async def used() -> str:
        return str((await admin.get("/v1/scim-clients/corp")).json()["tokens"][0]["last_used_at"])

    assert await used() == "None"
    await pusher.http.get("/Users")
    first = await used()
    clock.advance(minutes=30)
    await pusher.http.get("/Users")
    assert await used() == first != "None"
    clock.advance(minutes=31)
    await pusher.http.get("/Users")
    assert await used() != first


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_clients_token_reaches_scim_and_nothing_else(app: FastAPI, token: str):
    reached = []
    async with scim_client(app, token, "https://assentry.example.org") as http:
        for call, access in calls_of(app.routes).items():
            method, path = call.split()
            if isinstance(access, Access) and not path.startswith("/scim/"):
                answer = await http.request(method, re.sub(r"\{\w+\}", "x", path), json={})
                if answer.status_code != 403:
                    reached.append((call, answer.status_code))
    assert reached == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_nothing_but_a_clients_token_reaches_scim(
    admin: httpx.AsyncClient, machine: httpx.AsyncClient, corp: str, app: FastAPI
):
    for client in (admin, machine):
        for call in calls_of(app.routes):
            method, path = call.split()
            if path.startswith("/scim/"):
                answer = await client.request(method, re.sub(r"\{[\w:]+\}", "corp", path), json={})
                assert answer.status_code == 403, call


async def test_a_client_never_sees_or_changes_what_another_has_pushed(
    pusher: Pusher, other: Pusher, control_plane: ControlPlane
):
    ada = await pusher.user("ada", externalId="e1")
    group = await pusher.group("dba", str(ada["id"]))
    for path in (f"/Users/{ada['id']}", f"/Groups/{group['id']}"):
        assert (await other.http.get(path)).status_code == 404
        assert (await other.http.delete(path)).status_code == 404
        assert (await other.patch(path, {"op": "replace", "path": "displayName", "value": "x"})).status_code == 404
    assert (await other.find("/Users"))["totalResults"] == 0
    assert (await other.find("/Groups", filter="members pr"))["totalResults"] == 0
    member = await other.http.post("/Groups", json={"displayName": "x", "members": [{"value": ada["id"]}]})
    assert member.status_code == 400
    await other.user("ada", externalId="e1")
    assert (await identity_of(control_plane, "ada")).source == "scim:corp"
    assert (await identity_of(control_plane, "ada-2")).source == "scim:other"


async def test_a_token_is_good_at_its_own_address_only(app: FastAPI, token: str, other: Pusher):
    async with scim_client(app, token, OTHER) as http:
        for method, path in (("GET", "/Users"), ("POST", "/Users"), ("GET", "/Schemas"), ("GET", "/nothing")):
            assert (await http.request(method, path, json={})).status_code == 403


@pytest.mark.parametrize(("people", "able"), [("end", False), ("keep", True)])
async def test_a_client_that_is_taken_away_leaves_its_people_as_an_admin_says(
    pusher: Pusher, admin: httpx.AsyncClient, control_plane: ControlPlane, people: str, able: bool
):
    ada = await pusher.user("ada")
    await pusher.group("dba", str(ada["id"]))
    silent = await admin.delete("/v1/scim-clients/corp")
    assert (silent.status_code, "people=end or people=keep" in silent.text) == (409, True)
    assert (await admin.delete("/v1/scim-clients/corp", params={"people": people})).status_code == 204
    left = await identity_of(control_plane, "ada")
    assert (left.able, left.groups) == (able, ())
    assert (await pusher.http.get("/Users")).status_code == 401
    assert (await admin.get("/v1/scim-clients")).json()["items"] == []
    (told,) = await audited(admin, "scim-client.deleted")
    assert told["data"] == {"people": 1, "ended": not able, "groups": ["corp.dba"]}


async def test_a_link_that_waits_can_be_taken_back(admin: httpx.AsyncClient, pusher: Pusher, control_plane):
    link = {"subject": "e1", "identity": "admin"}
    assert (await admin.put("/v1/scim-clients/corp/links", json=link)).status_code == 204
    assert (await admin.get("/v1/scim-clients/corp")).json()["links"] == [{**link, "group": None, "by_name": False}]
    query = {"kind": "person", "subject": "e1"}
    assert (await admin.delete("/v1/scim-clients/corp/links", params=query)).status_code == 204
    assert (await admin.delete("/v1/scim-clients/corp/links", params=query)).status_code == 404
    await pusher.user("x", externalId="e1")
    assert (await identity_of(control_plane, "x")).source == "scim:corp"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_only_people_and_groups_that_are_here_can_be_linked(
    admin: httpx.AsyncClient, machine: httpx.AsyncClient, corp: str
):
    async def link(**body: str | bool) -> int:
        return (await admin.put("/v1/scim-clients/corp/links", json={"subject": "e1", **body})).status_code

    assert await link(identity="bot") == 422
    assert await link(identity="nobody") == 404
    assert await link(group="nobody") == 404
    assert await link() == 422
    assert await link(identity="admin", group="admins") == 422
    assert await link(identity="admin", by_name=True) == 422
