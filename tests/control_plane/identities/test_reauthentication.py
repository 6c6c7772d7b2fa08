"""Proving again who one is: renews one sign-in, counts as an attempt, and a link carries no fresh proof."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from control_plane.assembly import ControlPlane
from control_plane.audit import repository as audit
from control_plane.identities.domain import Identity
from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import SYSTEM
from tests.control_plane.conftest import ManualClock
from tests.control_plane.identities.test_sign_in import PASSWORD, sign_in

PATH = "/v1/session/reauthenticate"


@pytest.fixture(autouse=True)
async def ada(control_plane: ControlPlane, person: Any) -> Identity:
    made = await person("ada", "admin")
    await control_plane.sign_ins.reset_password(SYSTEM, "ada", Secret(PASSWORD))
    return made


async def bearer_of(client: httpx.AsyncClient) -> dict[str, str]:
    return {"authorization": f"Bearer {(await sign_in(client)).json()['token']}"}


async def proven_at(client: httpx.AsyncClient, headers: dict[str, str]) -> str:
    return (await client.get("/v1/session", headers=headers)).json()["authenticated_at"]


async def test_the_password_renews_this_sign_in_and_no_other(anonymous: httpx.AsyncClient, clock: ManualClock):
    mine, other = await bearer_of(anonymous), await bearer_of(anonymous)
    begun = await proven_at(anonymous, mine)
    clock.advance(minutes=30)
    answer = await anonymous.post(PATH, json={"password": PASSWORD}, headers=mine)
    assert answer.status_code == 200, answer.text
    assert await proven_at(anonymous, mine) == answer.json()["authenticated_at"] > begun
    assert await proven_at(anonymous, other) == begun


async def test_it_is_audited(anonymous: httpx.AsyncClient, control_plane: ControlPlane):
    mine = await bearer_of(anonymous)
    await anonymous.post(PATH, json={"password": PASSWORD}, headers=mine)
    async with control_plane.units.reading() as uow:
        newest = (await audit.newest(uow.session, audit.Filter(), None, 1))[0]
    assert newest.kind == "sign-in.reauthenticated"


async def test_a_wrong_password_renews_nothing_and_leaves_one_signed_in(
    anonymous: httpx.AsyncClient, clock: ManualClock
):
    mine = await bearer_of(anonymous)
    begun = await proven_at(anonymous, mine)
    clock.advance(minutes=30)
    answer = await anonymous.post(PATH, json={"password": "wrong"}, headers=mine)
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:assentry:problem:not-proven")
    assert await proven_at(anonymous, mine) == begun


async def test_guessing_is_stopped_as_at_the_sign_in(anonymous: httpx.AsyncClient):
    mine = await bearer_of(anonymous)
    for _ in range(5):
        assert (await anonymous.post(PATH, json={"password": "wrong"}, headers=mine)).status_code == 403
    locked = await anonymous.post(PATH, json={"password": PASSWORD}, headers=mine)
    assert (locked.status_code, locked.headers["retry-after"]) == (429, "31")
    assert (await sign_in(anonymous)).status_code == 429


async def test_a_cookie_needs_its_csrf_token(anonymous: httpx.AsyncClient, clock: ManualClock):
    csrf = (await sign_in(anonymous, channel="console")).json()["csrf_token"]
    begun = await proven_at(anonymous, {})
    clock.advance(minutes=30)
    assert (await anonymous.post(PATH, json={"password": PASSWORD})).status_code == 403
    assert await proven_at(anonymous, {}) == begun
    answer = await anonymous.post(PATH, json={"password": PASSWORD}, headers={"x-csrf-token": csrf})
    assert await proven_at(anonymous, {}) == answer.json()["authenticated_at"]


async def test_another_persons_password_proves_nothing(anonymous: httpx.AsyncClient, control_plane, person):
    await person("bob", "reviewer")
    await control_plane.sign_ins.reset_password(SYSTEM, "bob", Secret("another long password"))
    mine = await bearer_of(anonymous)
    answer = await anonymous.post(PATH, json={"password": "another long password"}, headers=mine)
    assert answer.status_code == 403


async def test_a_sign_in_that_was_ended_meanwhile_is_not_brought_back(
    anonymous: httpx.AsyncClient, control_plane: ControlPlane, ada: Identity
):
    async with control_plane.units() as uow:
        opened = await control_plane.sign_ins.open(uow, ada, "cli")
    headers = {"authorization": f"Bearer {opened.token.reveal()}"}
    assert (await anonymous.delete("/v1/session", headers=headers)).status_code == 204
    assert (await anonymous.post(PATH, json={"password": PASSWORD}, headers=headers)).status_code == 401


async def test_a_link_into_the_browser_is_as_old_as_the_sign_in_that_made_it(
    anonymous: httpx.AsyncClient, control_plane: ControlPlane, clock: ManualClock
):
    mine = await bearer_of(anonymous)
    begun = await proven_at(anonymous, mine)
    clock.advance(minutes=30)
    path = (await anonymous.post("/v1/session/links", headers=mine)).json()["path"]
    async with control_plane.units() as uow:
        opened = await control_plane.who.sign_in_links.redeem(uow, path.partition("#")[2])
    cookie = {"cookie": f"__Host-assentry={opened.token.reveal()}"}
    assert await proven_at(anonymous, cookie) == begun


async def test_a_way_that_is_not_known_is_refused(anonymous: httpx.AsyncClient):
    mine = await bearer_of(anonymous)
    answer = await anonymous.post(PATH, json={"method": "oidc", "password": PASSWORD}, headers=mine)
    assert answer.status_code == 422
