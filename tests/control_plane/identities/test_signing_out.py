"""What ends with a sign-in that is ended, by a provider, a new password or oneself: also what was to outlive it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlmodel import col, select

from control_plane.assembly import ControlPlane
from control_plane.identities.domain import Identity
from control_plane.identities.sign_ins import OpenedSignIn, Proof
from control_plane.identities.tables import SignInRow
from control_plane.kit.unit_of_work import SYSTEM
from control_plane.workloads.tables import ActingTokenRow
from tests.control_plane.conftest import ManualClock

CORP = Proof("corp", "sid-1", refresh="sealed")
HERE = Proof()
PASSWORD = "correct horse battery staple"


@pytest.fixture
async def ada(admin: httpx.AsyncClient, person) -> Identity:
    who: Identity = await person("ada", "requester")
    machine = {"name": "bot", "kind": "machine", "owner": "admin", "purpose": "works"}
    assert (await admin.post("/v1/identities", json=machine)).is_success
    return who


async def signed_in(control_plane: ControlPlane, who: Identity, proof: Proof, channel: Any = "cli") -> OpenedSignIn:
    async with control_plane.units() as uow:
        return await control_plane.sign_ins.open(uow, who, channel, proof=proof)


async def rows(control_plane: ControlPlane, who: Identity) -> list[SignInRow]:
    async with control_plane.units.reading() as uow:
        mine = select(SignInRow).where(col(SignInRow.identity_id) == who.id)
        return list((await uow.session.exec(mine)).all())


async def resting(control_plane: ControlPlane, who: Identity) -> OpenedSignIn:
    """A sign-in of the command line that rests on the only one that there is."""
    (below,) = await rows(control_plane, who)
    async with control_plane.units() as uow:
        return await control_plane.sign_ins.carry_over(uow, who, "cli", below)


def bearer(opened: OpenedSignIn) -> dict[str, str]:
    return {"authorization": f"Bearer {opened.token.reveal()}"}


class Made:
    """What somebody made with a sign-in, and what was made with that."""

    def __init__(self, anonymous: httpx.AsyncClient, headers: dict[str, str]) -> None:
        self._http, self.headers = anonymous, headers
        self.credentials: set[str] = set()

    async def make(self) -> Made:
        body = {"name": "x", "permissions": ["request"]}
        made = await self._http.post("/v1/api-tokens", json=body, headers=self.headers)
        assert made.status_code == 201, made.text
        acting = await self._http.post("/v1/acting-tokens", json={"actor": "bot"}, headers=self.headers)
        assert acting.status_code == 201, acting.text
        self.api_token, self.acting = {"authorization": f"Bearer {made.json()['token']}"}, acting.json()["id"]
        for one in (self.headers, self.api_token):
            self.credentials.add((await self._http.post("/v1/tokens", json={}, headers=one)).json()["credential_id"])
        return self

    async def good(self, control_plane: ControlPlane) -> list[str]:
        """What of it is left."""
        left = [await self._good(name) for name in ("headers", "api_token")]
        async with control_plane.units.reading() as uow:
            row = await uow.session.get(ActingTokenRow, self.acting)
            revoked = set((await control_plane.identities.snapshot(uow)).revoked_credentials)
        acting = "" if row is None or row.revoked_at else "acting"
        return [one for one in (*left, acting, *sorted(self.credentials - revoked)) if one]

    async def _good(self, name: str) -> str:
        answer = await self._http.get("/v1/session", headers=getattr(self, name))
        return name if answer.status_code == 200 else ""


async def test_what_was_made_with_a_sign_in_ends_when_its_provider_says_no(
    control_plane: ControlPlane, anonymous: httpx.AsyncClient, ada: Identity
):
    made = await Made(anonymous, bearer(await signed_in(control_plane, ada, CORP))).make()
    (row,) = await rows(control_plane, ada)
    other = await Made(anonymous, bearer(await signed_in(control_plane, ada, HERE))).make()
    async with control_plane.units() as uow:
        await control_plane.who.ending.sign_out(uow, SYSTEM, ada.id, "corp does not renew it", {row.id})
    assert await made.good(control_plane) == []
    assert await other.good(control_plane) == ["headers", "api_token", "acting", *sorted(other.credentials)]


async def test_a_new_password_leaves_nothing_to_who_knew_the_old_one(
    control_plane: ControlPlane, anonymous: httpx.AsyncClient, admin: httpx.AsyncClient, ada: Identity,
    clock: ManualClock,
):  # fmt: skip
    """Not even what was made with a sign-in that has ended by itself."""
    early = await Made(anonymous, bearer(await signed_in(control_plane, ada, HERE))).make()
    async with control_plane.units() as uow:
        for row in await rows(control_plane, ada):
            found = await uow.session.get_one(SignInRow, row.id)
            found.expires_at = uow.now
    clock.advance(seconds=1)
    late = await Made(anonymous, bearer(await signed_in(control_plane, ada, HERE))).make()
    assert await early.good(control_plane) == ["api_token", "acting", *sorted(early.credentials)]
    assert (await admin.post("/v1/identities/ada/password", json={})).is_success
    assert (await early.good(control_plane), await late.good(control_plane)) == ([], [])
    (event,) = (await admin.get("/v1/audit", params={"kind": "identity.signed-out"})).json()["items"]
    assert (event["data"]["reason"], len(event["data"]["api_tokens"])) == ("the password was changed", 2)


async def test_who_changes_their_own_password_keeps_the_sign_in_that_they_do_it_with(
    control_plane: ControlPlane, anonymous: httpx.AsyncClient, admin: httpx.AsyncClient, ada: Identity
):
    assert (await admin.post("/v1/identities/ada/password", json={"password": PASSWORD})).is_success
    below = await Made(anonymous, bearer(await signed_in(control_plane, ada, CORP))).make()
    mine = await Made(anonymous, bearer(await resting(control_plane, ada))).make()
    change = {"old": PASSWORD, "new": PASSWORD + " too"}
    done = await anonymous.put("/v1/session/password", json=change, headers=mine.headers)
    assert done.status_code == 204, done.text
    assert await below.good(control_plane) == []
    assert await mine.good(control_plane) == ["headers", "api_token", "acting", *sorted(mine.credentials)]
    assert [(row.parent_id, row.refresh) for row in await rows(control_plane, ada)] == [("", "sealed")]


@pytest.mark.parametrize(("proof", "left"), [(CORP, 0), (HERE, 4)])
async def test_signing_out_leaves_nothing_that_nobody_asks_the_provider_about(
    control_plane: ControlPlane, anonymous: httpx.AsyncClient, ada: Identity, proof: Proof, left: int
):
    console = await signed_in(control_plane, ada, proof, "console")
    made = await Made(anonymous, bearer(await resting(control_plane, ada))).make()
    assert (await anonymous.post("/v1/session/links", headers=made.headers)).status_code == 201
    cookie = {"cookie": f"__Host-assentry={console.token.reveal()}", "x-csrf-token": console.csrf}
    out = await anonymous.request("DELETE", "/v1/session", headers=cookie)
    assert out.status_code == 204, out.text
    assert await rows(control_plane, ada) == []
    assert len(await made.good(control_plane)) == left


async def test_an_api_token_does_not_outlast_a_providers_word_by_more_than_a_day(
    control_plane: ControlPlane, anonymous: httpx.AsyncClient, ada: Identity
):
    """Its sign-in may be over already when the provider disables somebody."""
    answers = []
    for proof, hours in ((CORP, 24), (CORP, 25), (HERE, 25)):
        headers = bearer(await signed_in(control_plane, ada, proof))
        body = {"name": "x", "permissions": ["request"], "ttl_seconds": hours * 3600}
        answers.append(await anonymous.post("/v1/api-tokens", json=body, headers=headers))
    assert [one.status_code for one in answers] == [201, 422, 201]
    assert answers[1].json()["errors"][0]["path"] == "$.ttl_seconds"
    assert "corp signed you in" in answers[1].json()["errors"][0]["message"]
