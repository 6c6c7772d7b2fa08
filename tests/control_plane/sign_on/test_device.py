"""The command line signs in by a browser: the codes, who may confirm, what is carried over, how it is abused."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest

from control_plane.assembly import ControlPlane
from control_plane.identities.sign_ins import Proof
from control_plane.kit.unit_of_work import SYSTEM
from control_plane.sign_on import device
from control_plane.sign_on.device_codes import new_user_code, typed
from tests.control_plane.conftest import ManualClock
from tests.control_plane.sign_on.asking import CLIENT, COOKIE, GRANT, Browser, begun, error_of, polled

BY_PROVIDER = Proof("corp", "session-1", "phishing-resistant", ("hwk",), "sealed refresh token")


@pytest.fixture
async def ada(person):
    return await person("ada", "requester")


@pytest.fixture
async def browser(control_plane: ControlPlane, anonymous: httpx.AsyncClient, ada) -> Browser:
    made = Browser(control_plane, anonymous)
    await made.sign_in(ada)
    return made


async def kinds(control_plane: ControlPlane, prefix: str = "device.") -> list[tuple[str, str]]:
    """Of the audit log, oldest first, each with its cause."""
    async with control_plane.units.reading() as uow:
        connection = await uow.session.connection()
        rows = (await connection.exec_driver_sql("SELECT kind, data FROM audit_entries ORDER BY sequence")).all()
    return [(kind, str(data)) for kind, data in rows if kind.startswith(prefix)]


def coming_from(app, address: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, client=(address, 4711))
    return httpx.AsyncClient(transport=transport, base_url="https://assentry.example.org")


# -------------------------------------------------------------- the codes


def test_a_user_code_has_no_vowels_and_nothing_that_looks_like_a_digit():
    for _ in range(200):
        assert re.fullmatch(r"[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", new_user_code())


@pytest.mark.parametrize("text", ["wdjb-mjht", "WDJBMJHT", " wdjb mjht ", "WDJB\u2013MJHT", "w.d.j.b.m.j.h.t"])
def test_a_user_code_is_known_however_it_is_typed(text: str):
    assert typed(text) == "WDJB-MJHT"


@pytest.mark.parametrize("text", ["", "WDJB-MJH", "WDJB-MJHTT", "WDJB-MJHA", "WDJB-MJH1", "\0" * 8, "ＷDJBMJHT"])
def test_what_cannot_be_a_user_code_is_none(text: str):
    assert typed(text) == ""


# -------------------------------------------------------------- the flow


async def test_the_command_line_is_signed_in_as_whoever_confirms(anonymous: httpx.AsyncClient, browser: Browser):
    asked = await begun(anonymous)
    assert asked["verification_uri"] == "https://assentry.example.org/device"
    assert asked["verification_uri_complete"].endswith(f"/device?code={asked['user_code']}")
    assert (asked["expires_in"], asked["interval"]) == (600, 5)
    assert await error_of(anonymous, asked) == "authorization_pending"
    assert (await browser.decide(asked)).status_code == 200
    answer = await polled(anonymous, asked)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    opened = answer.json()
    assert (opened["token_type"], opened["name"]) == ("Bearer", "ada")
    shown = await anonymous.get("/v1/session", headers={"authorization": f"Bearer {opened['access_token']}"})
    assert shown.json()["name"] == "ada"


async def test_the_page_fills_the_code_in_and_shows_who_asks_before_anything_is_decided(
    anonymous: httpx.AsyncClient, browser: Browser
):
    asked = await begun(anonymous)
    page = await browser.get(f"/device?code={asked['user_code']}")
    assert f'value="{asked["user_code"]}"' in page.text
    assert await error_of(anonymous, asked) == "authorization_pending"
    shown = await browser.post("/device", code=asked["user_code"].lower().replace("-", " "))
    assert asked["user_code"] in shown.text
    assert "127.0.0.1" in shown.text
    assert "just now" in shown.text
    assert "if somebody sent you" in shown.text.lower()
    assert "another address" not in shown.text


async def test_the_page_warns_when_the_asker_is_somewhere_else(app, control_plane, browser: Browser):
    transport = httpx.ASGITransport(app=app, client=("203.0.113.7", 4711))
    async with httpx.AsyncClient(transport=transport, base_url="https://assentry.example.org") as elsewhere:
        asked = await begun(elsewhere)
    shown = await browser.post("/device", code=asked["user_code"])
    assert "203.0.113.7" in shown.text
    assert "another address" in shown.text


async def test_whoever_is_not_signed_in_signs_in_first_and_comes_back_with_the_code(anonymous: httpx.AsyncClient):
    answer = await anonymous.get("/device?code=WDJB-MJHT")
    assert answer.headers["location"] == "/sign-in?next=/device%3Fcode%3DWDJB-MJHT"
    form = await anonymous.get(answer.headers["location"])
    assert 'value="/device?code=WDJB-MJHT"' in form.text


async def test_a_refusal_is_told_to_the_command_line(anonymous, browser: Browser, control_plane: ControlPlane):
    asked = await begun(anonymous)
    assert "Refused" in (await browser.decide(asked, "refuse")).text
    assert await error_of(anonymous, asked) == "access_denied"
    assert [kind for kind, _ in await kinds(control_plane)] == ["device.denied"]


async def test_the_proof_of_the_browsers_sign_in_is_carried_over_and_nothing_is_proven_anew(
    anonymous: httpx.AsyncClient, control_plane: ControlPlane, browser: Browser, ada, clock: ManualClock
):
    await browser.sign_in(ada, BY_PROVIDER)
    proven_at = clock.now()
    clock.advance(hours=2)
    asked = await begun(anonymous)
    await browser.decide(asked)
    token = (await polled(anonymous, asked)).json()["access_token"]
    async with control_plane.units.reading() as uow:
        principal = await control_plane.authenticator._by_session(token, "cli")
        assert principal is not None
        row = await uow.session.get(device.SignInRow, principal.credential_id)
    assert (principal.provider, principal.acr, principal.amr) == ("corp", "phishing-resistant", ("hwk",))
    assert principal.authenticated_at == proven_at
    assert row is not None
    assert (row.provider_session, row.refresh) == ("session-1", "")


async def test_it_ends_no_later_than_the_sign_in_that_confirmed_it(
    anonymous: httpx.AsyncClient, browser: Browser, clock: ManualClock
):
    clock.advance(hours=11)
    asked = await begun(anonymous)
    await browser.decide(asked)
    answer = (await polled(anonymous, asked)).json()
    assert answer["expires_in"] == 3600
    clock.advance(hours=1)
    bearer = {"authorization": f"Bearer {answer['access_token']}"}
    assert (await anonymous.get("/v1/session", headers=bearer)).status_code == 401


# -------------------------------------------------------------- once, and not for long


async def test_codes_are_good_for_ten_minutes(anonymous: httpx.AsyncClient, browser: Browser, clock: ManualClock):
    asked, confirmed = await begun(anonymous), await begun(anonymous)
    await browser.decide(confirmed)
    clock.advance(minutes=10)
    assert (await browser.decide(asked)).status_code == 404
    assert await error_of(anonymous, asked) == "expired_token"
    assert await error_of(anonymous, confirmed) == "expired_token"


async def test_a_confirmed_code_is_good_for_one_sign_in(anonymous, browser: Browser, control_plane: ControlPlane):
    asked = await begun(anonymous)
    await browser.decide(asked)
    assert (await polled(anonymous, asked)).status_code == 200
    assert await error_of(anonymous, asked) == "invalid_grant"
    assert "used already" in (await kinds(control_plane))[-1][1]


async def test_of_many_polls_at_the_same_moment_one_gets_the_token(anonymous: httpx.AsyncClient, browser: Browser):
    asked = await begun(anonymous)
    await browser.decide(asked)
    answers = await asyncio.gather(*(polled(anonymous, asked) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400, 400, 400]


async def test_a_decision_is_made_once(anonymous: httpx.AsyncClient, browser: Browser):
    asked = await begun(anonymous)
    assert (await browser.decide(asked, "refuse")).status_code == 200
    assert (await browser.decide(asked, "confirm")).status_code == 404
    assert await error_of(anonymous, asked) == "access_denied"


async def test_a_browser_that_signed_out_in_the_meantime_has_confirmed_nothing(
    anonymous: httpx.AsyncClient, browser: Browser, control_plane: ControlPlane
):
    asked = await begun(anonymous)
    await browser.decide(asked)
    await browser.post("/sign-out")
    assert await error_of(anonymous, asked) == "access_denied"
    assert "has ended" in (await kinds(control_plane))[-1][1]


async def test_a_person_who_was_disabled_in_the_meantime_is_not_signed_in(
    anonymous: httpx.AsyncClient, browser: Browser, control_plane: ControlPlane
):
    asked = await begun(anonymous)
    await browser.decide(asked)
    async with control_plane.units() as uow:
        await control_plane.identities.change(uow, SYSTEM, "ada", disabled=True)
    assert await error_of(anonymous, asked) == "access_denied"


# -------------------------------------------------------------- abuse


async def test_who_polls_too_soon_keeps_a_longer_pause_from_then_on(anonymous: httpx.AsyncClient, clock: ManualClock):
    asked = await begun(anonymous)
    assert await error_of(anonymous, asked) == "authorization_pending"
    clock.advance(seconds=4)
    assert await error_of(anonymous, asked) == "slow_down"
    clock.advance(seconds=6)
    assert await error_of(anonymous, asked) == "slow_down"
    clock.advance(seconds=15)
    assert await error_of(anonymous, asked) == "authorization_pending"


async def test_wrong_codes_lock_whoever_enters_them(anonymous: httpx.AsyncClient, browser: Browser, clock: ManualClock):
    asked = await begun(anonymous)
    for _ in range(5):
        assert (await browser.post("/device", code="BBBB-BBBB")).status_code == 404
    assert (await browser.post("/device", code=asked["user_code"])).status_code == 429
    assert (await browser.decide(asked)).status_code == 429
    assert await error_of(anonymous, asked) == "authorization_pending"
    clock.advance(seconds=31)
    assert (await browser.decide(asked)).status_code == 200


async def test_a_form_of_another_site_decides_nothing(anonymous: httpx.AsyncClient, browser: Browser):
    asked = await begun(anonymous)
    browser.csrf = "wrong"
    assert (await browser.post("/device", code=asked["user_code"])).status_code == 403
    assert (await browser.decide(asked)).status_code == 403
    assert await error_of(anonymous, asked) == "authorization_pending"


async def test_only_a_browser_confirms(anonymous: httpx.AsyncClient, requester: httpx.AsyncClient, machine):
    asked = await begun(anonymous)
    fields = {"code": asked["user_code"], "decision": "confirm"}
    for client in (anonymous, requester, machine):
        assert (await client.post("/device/decision", data=fields)).status_code in (401, 403)
        assert (await client.post("/device", data=fields)).status_code in (401, 403)
    assert await error_of(anonymous, asked) == "authorization_pending"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({}, "invalid_client"),
        ({"client_id": "somebody"}, "invalid_client"),
        (CLIENT, "unsupported_grant_type"),
        ({**CLIENT, "grant_type": "authorization_code", "code": "x"}, "unsupported_grant_type"),
        (GRANT, "invalid_grant"),
        ({**GRANT, "device_code": "assentry_d_" + "a" * 52}, "invalid_grant"),
        ({**GRANT, "device_code": "\0\ud7ff'; DROP TABLE device_codes; --"}, "invalid_grant"),
    ],
)
async def test_a_poll_that_is_none_is_told_so_in_the_words_of_oauth(anonymous, fields: dict[str, str], error: str):
    answer = await anonymous.post("/v1/device/token", data=fields)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


async def test_unknown_codes_are_audited_but_do_not_fill_the_log(anonymous, control_plane: ControlPlane):
    for _ in range(20):
        await error_of(anonymous, {"device_code": "assentry_d_x"})
    found = await kinds(control_plane)
    assert len(found) == 5
    assert all("unknown" in data and "127.0.0.1" in data for _, data in found)


async def test_one_address_does_not_fill_the_table(app, monkeypatch: pytest.MonkeyPatch, clock: ManualClock):
    monkeypatch.setattr(device, "_MOST_OF_A_NETWORK", 2)
    monkeypatch.setattr(device, "_MOST", 3)
    statuses = []
    for address in ("2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:2::1", "203.0.113.7"):
        async with coming_from(app, address) as client:
            statuses.append((await client.post("/v1/device", data=CLIENT)).status_code)
    assert statuses == [200, 200, 429, 200]
    clock.advance(minutes=11)
    async with coming_from(app, "2001:db8::1") as client:
        await begun(client)


async def test_a_flood_from_few_networks_costs_nobody_elsewhere_a_sign_in(
    app, monkeypatch: pytest.MonkeyPatch, clock: ManualClock, browser: Browser
):
    """Everybody begins as if nobody flooded, and what they began is confirmed, however much comes in between."""
    monkeypatch.setattr(device, "_MOST_OF_A_NETWORK", 4)
    monkeypatch.setattr(device, "_MOST", 10)

    async def flood() -> None:
        for number in range(30):
            async with coming_from(app, f"2001:db8:{number % 3}::{number}") as client:
                await client.post("/v1/device", data=CLIENT)
                clock.advance(seconds=1)

    async with coming_from(app, "203.0.113.7") as ours, coming_from(app, "203.0.113.8") as others:
        early = await begun(ours)
        await flood()
        late = [await begun(ours), await begun(others)]
        await flood()
        for asked in (early, *late):
            assert (await browser.decide(asked)).status_code == 200
            assert (await polled(ours, asked)).status_code == 200


async def test_nothing_secret_is_kept_in_clear(anonymous, browser: Browser, control_plane: ControlPlane):
    asked = await begun(anonymous)
    await browser.decide(asked)
    token = (await polled(anonymous, asked)).json()["access_token"]
    async with control_plane.units.reading() as uow:
        connection = await uow.session.connection()
        for table in ("device_codes", "sign_ins", "audit_entries"):
            rows = str((await connection.exec_driver_sql(f"SELECT * FROM {table}")).all())
            assert not [secret for secret in (asked["device_code"], asked["user_code"], token) if secret in rows]


async def test_a_code_is_bound_to_no_cookie_that_the_asker_could_plant(anonymous: httpx.AsyncClient, browser: Browser):
    """Session fixation: what the poll opens is new, and no cookie comes with it."""
    asked = await begun(anonymous)
    await browser.decide(asked)
    answer = await polled(anonymous, asked)
    assert "set-cookie" not in answer.headers
    anonymous.cookies.set(COOKIE, answer.json()["access_token"])
    assert (await anonymous.get("/v1/session")).status_code == 401


async def test_what_rests_on_a_sign_in_that_the_provider_ends_is_ended_with_it(
    anonymous: httpx.AsyncClient, browser: Browser, control_plane: ControlPlane, ada
):
    """The command line that the browser confirmed, and the browser that this command line opened in turn."""
    await browser.sign_in(ada, BY_PROVIDER)
    asked = await begun(anonymous)
    await browser.decide(asked)
    bearer = {"authorization": f"Bearer {(await polled(anonymous, asked)).json()['access_token']}"}
    link = (await anonymous.post("/v1/session/links", headers=bearer)).json()["path"].partition("#")[2]
    async with control_plane.units() as uow:
        last = await control_plane.who.sign_in_links.redeem(uow, link)
        first = await control_plane.authenticator._by_session(browser.cookie, "console")
    cookie = {"cookie": f"{COOKIE}={last.token.reveal()}"}
    assert (await anonymous.get("/v1/session", headers=cookie)).status_code == 200
    assert first is not None
    async with control_plane.units() as uow:
        await control_plane.who.ending.sign_out(uow, SYSTEM, ada.id, "signed out at corp", [first.credential_id])
    assert (await anonymous.get("/v1/session", headers=bearer)).status_code == 401
    assert (await anonymous.get("/v1/session", headers=cookie)).status_code == 401


async def test_a_provider_that_cannot_be_asked_is_neither_asked_nor_audited_at_a_floods_rate(
    app, admin: httpx.AsyncClient, control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
):
    oidc = {"issuer": "http://127.0.0.1:9", "client_id": "assentry", "device": True}
    named = {"apiVersion": "assentry.dev/v1", "kind": "IdentityProvider", "metadata": {"name": "corp"}}
    assert (await admin.post("/v1/documents/apply", json={"documents": [{**named, "spec": {"oidc": oidc}}]})).is_success
    monkeypatch.setattr(device, "_MOST_OF_A_NETWORK", 7)
    async with coming_from(app, "203.0.113.7") as client:
        answers = [await client.post("/v1/device", data={**CLIENT, "provider": "corp"}) for _ in range(9)]
    assert [answer.status_code for answer in answers[7:]] == [429, 429]
    assert 429 not in [answer.status_code for answer in answers[:7]]
    assert len(await kinds(control_plane, "sign-in.refused")) == 5
