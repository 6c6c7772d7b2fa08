"""API tokens of people: narrower than the person, short-lived, ended with the person, and good for nothing more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from control_plane.api_tokens.domain import GIVABLE, MOST, effective
from control_plane.assembly import ControlPlane
from control_plane.kit.access import Permission
from control_plane.kit.unit_of_work import SYSTEM
from tests.control_plane.conftest import ROLES, ManualClock

URL = "https://assentry.example.org"


@pytest.fixture
async def ada(app, control_plane: ControlPlane, person) -> AsyncIterator[httpx.AsyncClient]:
    """Signed in with every role."""
    identity = await person("ada", *ROLES)
    await person("root", "admin")
    async with control_plane.units() as uow:
        opened = await control_plane.sign_ins.open(uow, identity, "cli")
    async with client(app, opened.token.reveal()) as signed_in:
        yield signed_in


@pytest.fixture
async def with_token(app, ada: httpx.AsyncClient) -> AsyncIterator[Callable[..., Awaitable[httpx.AsyncClient]]]:
    """An HTTP client that has an API token of ada's."""
    clients: list[httpx.AsyncClient] = []

    async def make(*permissions: str, **more: Any) -> httpx.AsyncClient:
        made = await minted(ada, *permissions, **more)
        clients.append(client(app, made["token"]))
        return clients[-1]

    yield make
    for one in clients:
        await one.aclose()


def client(app, token: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=URL, headers={"authorization": f"Bearer {token}"})


async def minted(signed_in: httpx.AsyncClient, *permissions: str, **more: Any) -> dict[str, Any]:
    answer = await signed_in.post("/v1/api-tokens", json={"name": "report", "permissions": list(permissions), **more})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


# -------------------------------------------------------------- narrower than the person


async def test_a_token_may_what_it_was_given_and_nothing_else(with_token):
    reader = await with_token("audit")
    who = (await reader.get("/v1/session")).json()
    assert (who["name"], who["permissions"]) == ("ada", ["audit", "self"])
    assert (await reader.get("/v1/audit")).status_code == 200
    assert (await reader.get("/v1/identities")).status_code == 403
    assert (await reader.post("/v1/tokens", json={})).status_code == 403


@pytest.mark.parametrize("permission", sorted({one.value for one in Permission} - {one.value for one in GIVABLE}))
async def test_what_only_people_do_is_given_to_no_token(ada: httpx.AsyncClient, permission: str):
    answer = await ada.post("/v1/api-tokens", json={"name": "x", "permissions": ["audit", permission]})
    assert answer.status_code == 422


async def test_nobody_gives_what_they_do_not_have(requester: httpx.AsyncClient):
    answer = await requester.post("/v1/api-tokens", json={"name": "x", "permissions": ["request", "audit"]})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"path": "$.permissions[1]", "message": "you may give: request"}]


async def test_a_token_loses_what_its_person_loses_and_gets_it_back_with_them(with_token, control_plane: ControlPlane):
    reader = await with_token("audit")

    async def members(*names: str) -> None:
        async with control_plane.units() as uow:
            for group in ("auditors", "admins"):
                roles = [group.removesuffix("s")]
                await control_plane.identities.put_group(uow, SYSTEM, group, roles=roles, members=["root", *names])

    await members()
    assert (await reader.get("/v1/audit")).status_code == 403
    assert (await reader.get("/v1/session")).json()["permissions"] == ["self"]
    await members("ada")
    assert (await reader.get("/v1/audit")).status_code == 200


def test_what_a_token_may_is_what_was_given_what_the_person_has_and_what_may_be_given():
    everything = frozenset(Permission)
    assert effective([one.value for one in Permission], everything) == frozenset({Permission.SELF, *GIVABLE})
    assert effective(["audit", "request"], frozenset({Permission.AUDIT})) == {Permission.SELF, Permission.AUDIT}
    assert effective(["review", "admin", "nonsense"], everything) == {Permission.SELF}


# -------------------------------------------------------------- not for long


async def test_a_token_ends_by_itself(with_token, clock: ManualClock):
    reader = await with_token("audit", ttl_seconds=120)
    clock.advance(seconds=119)
    assert (await reader.get("/v1/session")).status_code == 200
    clock.advance(seconds=1)
    assert (await reader.get("/v1/session")).status_code == 401


@pytest.mark.parametrize("seconds", [59, 30 * 86_400 + 1])
async def test_a_token_lives_for_a_minute_at_least_and_thirty_days_at_most(ada: httpx.AsyncClient, seconds: int):
    body = {"name": "x", "permissions": ["audit"], "ttl_seconds": seconds}
    assert (await ada.post("/v1/api-tokens", json=body)).status_code == 422


async def test_a_revoked_token_is_refused_at_once_with_what_was_made_with_it(
    ada: httpx.AsyncClient, app, control_plane: ControlPlane
):
    made = await minted(ada, "request")
    async with client(app, made["token"]) as user:
        minted_token = (await user.post("/v1/tokens", json={})).json()
        assert (await ada.delete(f"/v1/api-tokens/{made['id']}")).status_code == 204
        assert (await user.get("/v1/session")).status_code == 401
    async with control_plane.units.reading() as uow:
        snapshot = await control_plane.identities.snapshot(uow)
    assert minted_token["credential_id"] in snapshot.revoked_credentials
    assert (await ada.delete(f"/v1/api-tokens/{made['id']}")).status_code == 204


async def test_what_is_made_with_a_token_ends_no_later_than_it(with_token):
    user = await with_token("request", ttl_seconds=120)
    answer = (await user.post("/v1/tokens", json={"ttl_seconds": 3600})).json()
    shown = (await user.get("/v1/session")).json()
    assert shown["name"] == "ada"
    assert answer["expires_at"] <= "2026-03-01T12:02:00Z"


async def test_a_disabled_persons_tokens_are_gone_for_good(with_token, control_plane: ControlPlane):
    reader = await with_token("audit")
    for disabled in (True, False):
        async with control_plane.units() as uow:
            await control_plane.identities.change(uow, SYSTEM, "ada", disabled=disabled)
        assert (await reader.get("/v1/session")).status_code == 401
    async with control_plane.units.reading() as uow:
        connection = await uow.session.connection()
        query = "SELECT data FROM audit_entries WHERE kind = 'identity.ended'"
        told = str((await connection.exec_driver_sql(query)).all())
    assert "api_tokens" in told
    assert "pat_" in told


# -------------------------------------------------------------- by whom


async def test_a_token_makes_no_tokens_and_no_sign_ins(with_token):
    user = await with_token(*(one.value for one in GIVABLE))
    body = {"name": "longer", "permissions": ["audit"], "ttl_seconds": 30 * 86_400}
    assert (await user.post("/v1/api-tokens", json=body)).status_code == 403
    assert (await user.post("/v1/session/links")).status_code == 403


async def test_a_machine_has_no_api_tokens(machine: httpx.AsyncClient):
    assert (await machine.get("/v1/api-tokens")).status_code == 403
    assert (await machine.post("/v1/api-tokens", json={"name": "x", "permissions": ["audit"]})).status_code == 403


async def test_everybody_sees_and_revokes_their_own_and_an_admin_all(ada: httpx.AsyncClient, requester):
    mine, theirs = await minted(ada, "audit"), await minted(requester, "request")
    seen = [one["id"] for one in (await requester.get("/v1/api-tokens")).json()["items"]]
    assert seen == [theirs["id"]]
    assert {one["identity"] for one in (await ada.get("/v1/api-tokens")).json()["items"]} == {"ada", "requester"}
    assert (await requester.delete(f"/v1/api-tokens/{mine['id']}")).status_code == 404
    assert (await ada.delete(f"/v1/api-tokens/{theirs['id']}")).status_code == 204


async def test_tokens_of_one_person_are_bounded(ada: httpx.AsyncClient):
    for _ in range(MOST):
        await minted(ada, "audit")
    answer = await ada.post("/v1/api-tokens", json={"name": "one more", "permissions": ["audit"]})
    assert answer.status_code == 409


async def test_the_token_is_shown_once_and_kept_nowhere(ada: httpx.AsyncClient, control_plane: ControlPlane):
    key = {"idempotency-key": "once"}
    body = {"name": "report", "permissions": ["audit"]}
    first = (await ada.post("/v1/api-tokens", json=body, headers=key)).json()
    again = (await ada.post("/v1/api-tokens", json=body, headers=key)).json()
    assert (again["id"], again["token"]) == (first["id"], None)
    async with control_plane.units.reading() as uow:
        connection = await uow.session.connection()
        for table in ("api_tokens", "audit_entries", "idempotency_keys"):
            assert first["token"] not in str((await connection.exec_driver_sql(f"SELECT * FROM {table}")).all())


@pytest.mark.parametrize("token", ["assentry_p_", "assentry_p_" + "a" * 52, "assentry_p_\ud7ff", "assentry_p_' OR 1=1"])
async def test_an_unknown_token_is_nobodys(anonymous: httpx.AsyncClient, token: str):
    headers = {"authorization": f"Bearer {token}".encode()}
    assert (await anonymous.get("/v1/session", headers=headers)).status_code == 401


# -------------------------------------------------------------- when it was used


async def test_when_a_token_was_last_used_is_written_now_and_then(
    ada: httpx.AsyncClient, with_token, control_plane: ControlPlane, clock: ManualClock
):
    reader = await with_token("audit")
    tokens = control_plane.who.api_tokens
    await tokens.write_uses()
    assert (await ada.get("/v1/api-tokens")).json()["items"][0]["last_used_at"] is None
    clock.advance(minutes=3)
    await reader.get("/v1/session")
    clock.advance(minutes=3)
    await tokens.write_uses()
    assert (await ada.get("/v1/api-tokens")).json()["items"][0]["last_used_at"].startswith("2026-03-01T12:03:00")
    assert "api-token-uses" in [name for name, _ in control_plane._loops]
