"""Signing in: passwords, throttling, cookies with CSRF tokens, bearer tokens, and how they end."""

from __future__ import annotations

import httpx
import pytest

from control_plane.assembly import ControlPlane
from control_plane.identities.passwords import Passwords
from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import SYSTEM
from tests.control_plane.conftest import QUICK, ManualClock

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
async def ada(control_plane: ControlPlane, person):
    made = await person("ada", "admin")
    await control_plane.sign_ins.reset_password(SYSTEM, "ada", Secret(PASSWORD))
    return made


async def sign_in(client: httpx.AsyncClient, name: str = "ada", password: str = PASSWORD, channel: str = "cli"):
    return await client.post("/v1/session", json={"name": name, "password": password, "channel": channel})


async def test_a_bearer_token_signs_the_command_line_in_and_out(anonymous: httpx.AsyncClient):
    answer = await sign_in(anonymous)
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    bearer = {"authorization": f"Bearer {answer.json()['token']}"}
    shown = (await anonymous.get("/v1/session", headers=bearer)).json()
    assert shown["name"] == "ada"
    assert "admin" in shown["permissions"]
    assert (await anonymous.delete("/v1/session", headers=bearer)).status_code == 204
    assert (await anonymous.get("/v1/session", headers=bearer)).status_code == 401


async def test_the_consoles_cookie_is_for_this_host_and_not_for_scripts(anonymous: httpx.AsyncClient):
    answer = await sign_in(anonymous, channel="console")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-assentry=assentry_s_")
    assert {"HttpOnly", "Path=/", "SameSite=lax", "Secure"} <= {part.strip() for part in cookie.split(";")}
    assert answer.json()["token"] is None


async def test_a_cookie_changes_nothing_without_its_csrf_token(anonymous: httpx.AsyncClient):
    csrf = (await sign_in(anonymous, channel="console")).json()["csrf_token"]
    body = {"name": "bob", "kind": "person"}
    assert (await anonymous.get("/v1/session")).json()["csrf_token"] == csrf
    assert (await anonymous.post("/v1/identities", json=body)).status_code == 403
    wrong = {"x-csrf-token": csrf[::-1]}
    assert (await anonymous.post("/v1/identities", json=body, headers=wrong)).status_code == 403
    assert (await anonymous.post("/v1/identities", json=body, headers={"x-csrf-token": csrf})).status_code == 201


async def test_a_cookies_token_is_no_bearer_token_and_the_other_way_round(anonymous: httpx.AsyncClient):
    await sign_in(anonymous, channel="console")
    token = anonymous.cookies["__Host-assentry"]
    anonymous.cookies.clear()
    assert (await anonymous.get("/v1/session", headers={"authorization": f"Bearer {token}"})).status_code == 401
    bearer = (await sign_in(anonymous)).json()["token"]
    anonymous.cookies.set("__Host-assentry", bearer)
    assert (await anonymous.get("/v1/session")).status_code == 401


async def test_a_sign_in_ends_by_itself(anonymous: httpx.AsyncClient, clock: ManualClock):
    bearer = {"authorization": f"Bearer {(await sign_in(anonymous)).json()['token']}"}
    clock.advance(hours=11, minutes=59)
    assert (await anonymous.get("/v1/session", headers=bearer)).status_code == 200
    clock.advance(minutes=2)
    assert (await anonymous.get("/v1/session", headers=bearer)).status_code == 401


async def test_unknown_names_wrong_passwords_and_machines_answer_alike(anonymous, control_plane: ControlPlane):
    async with control_plane.units() as uow:
        await control_plane.identities.create(uow, SYSTEM, name="bot", kind="machine", owner="ada")
    answers = [await sign_in(anonymous, name) for name in ("nobody", "bot")]
    answers.append(await sign_in(anonymous, password="wrong"))
    assert {(answer.status_code, answer.text) for answer in answers} == {(401, answers[0].text)}


async def test_an_unknown_name_costs_as_much_as_a_known_one():
    passwords, verified = Passwords(QUICK), []
    real = passwords._verify
    passwords._verify = lambda hashed, given: verified.append(hashed) or real(hashed, given)
    assert not await passwords.matches("", Secret("whatever"))
    assert len(verified) == 1
    assert verified[0].startswith("$argon2id$")


@pytest.mark.parametrize("name", ["ada", "nobody"])
async def test_failures_lock_a_name_known_or_not_for_longer_and_longer(anonymous, clock: ManualClock, name: str):
    for _ in range(5):
        assert (await sign_in(anonymous, name, "wrong")).status_code == 401
    locked = await sign_in(anonymous, name)
    assert (locked.status_code, locked.headers["retry-after"]) == (429, "31")
    clock.advance(seconds=31)
    assert (await sign_in(anonymous, name, "wrong")).status_code == 401
    assert (await sign_in(anonymous, name)).headers["retry-after"] == "61"
    clock.advance(hours=1)
    assert (await sign_in(anonymous, name)).status_code == (200 if name == "ada" else 401)


async def test_a_disabled_person_is_out_at_once_and_cannot_come_back(anonymous, control_plane, person):
    await person("root", "admin")
    bearer = {"authorization": f"Bearer {(await sign_in(anonymous)).json()['token']}"}
    async with control_plane.units() as uow:
        await control_plane.identities.change(uow, SYSTEM, "ada", disabled=True)
    assert (await anonymous.get("/v1/session", headers=bearer)).status_code == 401
    assert (await sign_in(anonymous)).status_code == 401


async def test_a_new_password_ends_every_other_sign_in(anonymous: httpx.AsyncClient):
    old = {"authorization": f"Bearer {(await sign_in(anonymous)).json()['token']}"}
    mine = {"authorization": f"Bearer {(await sign_in(anonymous)).json()['token']}"}
    change = {"old": PASSWORD, "new": "another good password"}
    assert (
        await anonymous.put("/v1/session/password", json={**change, "new": "short"}, headers=mine)
    ).status_code == 422
    assert (await anonymous.put("/v1/session/password", json={**change, "old": "x"}, headers=mine)).status_code == 401
    assert (await anonymous.put("/v1/session/password", json=change, headers=mine)).status_code == 204
    assert (await anonymous.get("/v1/session", headers=old)).status_code == 401
    assert (await anonymous.get("/v1/session", headers=mine)).status_code == 200
    assert (await sign_in(anonymous)).status_code == 401
    assert (await sign_in(anonymous, password=change["new"])).status_code == 200


async def test_failures_are_audited_without_the_password(anonymous: httpx.AsyncClient, control_plane: ControlPlane):
    await sign_in(anonymous, password="my secret guess")
    bearer = {"authorization": f"Bearer {(await sign_in(anonymous)).json()['token']}"}
    log = await anonymous.get("/v1/audit", params={"kind": "sign-in."}, headers=bearer)
    assert [item["kind"] for item in log.json()["items"]] == ["sign-in.opened", "sign-in.failed"]
    assert "guess" not in log.text


async def test_nothing_secret_is_kept_in_clear(anonymous: httpx.AsyncClient, control_plane: ControlPlane):
    token = (await sign_in(anonymous)).json()["token"]
    async with control_plane.units.reading() as uow:
        connection = await uow.session.connection()
        for table in ("identities", "sign_ins", "audit_entries", "idempotency_keys"):
            rows = (await connection.exec_driver_sql(f"SELECT * FROM {table}")).all()
            assert PASSWORD not in str(rows)
            assert token not in str(rows)


async def test_the_first_admin_is_made_once(control_plane: ControlPlane, anonymous: httpx.AsyncClient):
    assert await control_plane.first_admin.make("root") is None  # ada administers
