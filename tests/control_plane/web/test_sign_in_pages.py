"""The sign-in page: which ways it offers, where it leads, and that no cookie which was there before is good after it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.app import create_app
from control_plane.assembly import ControlPlane
from control_plane.config import Settings
from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import SYSTEM
from control_plane.sign_on.documents import IdentityProvider
from control_plane.web.routes import local_path
from tests.control_plane.conftest import QUICK, ManualClock

# Nothing here depends on the database.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

PASSWORD = "correct horse battery"
COOKIE = "__Host-assentry"
URL = "https://assentry.example.org"
OIDC = {"issuer": "https://id.example.com", "client_id": "assentry"}


@pytest.fixture
async def ada(control_plane: ControlPlane, person):
    made = await person("ada", "requester")
    await control_plane.sign_ins.reset_password(SYSTEM, "ada", Secret(PASSWORD))
    return made


@pytest.fixture
async def passwordless(settings: Settings, clock: ManualClock) -> AsyncIterator[ControlPlane]:
    """The same database, without local accounts."""
    made = ControlPlane(settings.model_copy(update={"local_sign_in": "off"}), clock, QUICK)
    await made.open()
    yield made
    await made.close()


def client(made: ControlPlane) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=create_app(made), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=URL)


async def provide(made: ControlPlane, name: str, **spec: Any) -> None:
    document = {"apiVersion": "assentry.dev/v1", "kind": "IdentityProvider", "metadata": {"name": name}, "spec": spec}
    decoded = made.who.providers.decode(document)
    assert isinstance(decoded, IdentityProvider), decoded
    async with made.units() as uow:
        await made.who.providers.put(uow, SYSTEM, decoded, managed=False)


async def sign_in(anonymous: httpx.AsyncClient, **more: str) -> httpx.Response:
    return await anonymous.post("/sign-in", data={"name": "ada", "password": PASSWORD, **more})


# -------------------------------------------------------------- what it offers


async def test_every_provider_has_its_button_beside_the_password(anonymous, control_plane: ControlPlane):
    await provide(control_plane, "corp", title="Example Corp", oidc=OIDC)
    await provide(control_plane, "partner", saml={"metadata": "https://idp.example.com/metadata"})
    await provide(control_plane, "gone", title="Gone", oidc=OIDC, disabled=True)
    page = (await anonymous.get("/sign-in?next=/approvals/apr_1%3Fa=1%26b=2")).text
    assert 'href="/sign-in/oidc/corp?next=/approvals/apr_1%3Fa%3D1%26b%3D2">Sign in with Example Corp</a>' in page
    assert 'href="/sign-in/saml/partner?' in page
    assert "Sign in with partner" in page
    assert "Gone" not in page
    assert 'type="password"' in page


async def test_a_title_is_text_and_nothing_else(anonymous: httpx.AsyncClient, control_plane: ControlPlane):
    await provide(control_plane, "corp", title='"><script>alert(1)</script>', oidc=OIDC)
    page = (await anonymous.get("/sign-in")).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


async def test_without_local_accounts_there_is_no_password_to_enter(ada, passwordless: ControlPlane):
    await provide(passwordless, "corp", title="Example Corp", oidc=OIDC)
    async with client(passwordless) as visitor:
        page = (await visitor.get("/sign-in")).text
        assert "Example Corp" in page
        assert 'type="password"' not in page


async def test_without_any_way_the_page_says_what_an_operator_does(ada, passwordless: ControlPlane):
    async with client(passwordless) as visitor:
        assert "ASSENTRY_LOCAL_SIGN_IN=on" in (await visitor.get("/sign-in")).text


# -------------------------------------------------------------- local accounts switched off


async def test_nobody_signs_in_with_a_password_any_more_whether_or_not_it_is_right(ada, passwordless: ControlPlane):
    async with client(passwordless) as visitor:
        answers = [
            await visitor.post("/v1/session", json={"name": name, "password": password})
            for name, password in (("ada", PASSWORD), ("ada", "wrong"), ("nobody", "wrong"))
        ]
        assert (await sign_in(visitor)).status_code == 403
    assert {(answer.status_code, answer.text) for answer in answers} == {(403, answers[0].text)}
    assert answers[0].json()["type"] == "urn:assentry:problem:local-sign-in-off"
    assert "ASSENTRY_LOCAL_SIGN_IN=on" in answers[0].json()["detail"]
    assert "set-cookie" not in answers[0].headers


async def test_refusals_are_audited_with_their_cause_and_locked_like_any_other(ada, passwordless: ControlPlane):
    async with client(passwordless) as visitor:
        answers = [await visitor.post("/v1/session", json={"name": "ada", "password": "x"}) for _ in range(7)]
    assert [answer.status_code for answer in answers] == [403] * 5 + [429] * 2
    async with passwordless.units.reading() as uow:
        connection = await uow.session.connection()
        query = "SELECT data FROM audit_entries WHERE kind = 'sign-in.failed'"
        told = [str(row) for row in (await connection.exec_driver_sql(query)).all()]
    assert len(told) == 5
    assert all("switched off" in row for row in told)


async def test_nobody_gets_changes_or_proves_a_password_any_more(ada, person, passwordless: ControlPlane):
    identity = await person("root", "admin")
    async with passwordless.units() as uow:
        opened = await passwordless.sign_ins.open(uow, identity, "cli")
    async with client(passwordless) as root:
        root.headers["authorization"] = f"Bearer {opened.token.reveal()}"
        reset = await root.post("/v1/identities/ada/password", json={})
        change = await root.put("/v1/session/password", json={"old": PASSWORD, "new": "another good password"})
        again = await root.post("/v1/session/reauthenticate", json={"password": PASSWORD})
    assert [answer.status_code for answer in (reset, change, again)] == [403, 403, 403]
    assert {answer.json()["type"] for answer in (reset, change, again)} == {"urn:assentry:problem:local-sign-in-off"}


async def test_the_first_admin_is_not_made_without_local_accounts(passwordless: ControlPlane, tmp_path: Path):
    with pytest.raises(Exception, match="ASSENTRY_LOCAL_SIGN_IN: off, but nobody administers yet"):
        await passwordless.make_first_admin()
    async with passwordless.units.reading() as uow:
        assert await passwordless.identities.find_group(uow, "admins") is None


async def test_where_somebody_administers_the_first_admin_needs_no_password(person, passwordless: ControlPlane):
    await person("root", "admin")
    assert await passwordless.make_first_admin() is None


# -------------------------------------------------------------- where it leads, and whose cookie it is


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example",
        "/\n/evil.example", "javascript:alert(1)", "evil.example", "", "\u2028/x", "/\x00",
    ],
)  # fmt: skip
async def test_signing_in_leads_to_no_other_site(anonymous: httpx.AsyncClient, ada, path: str):
    assert local_path(path) == "/"
    answer = await sign_in(anonymous, next=path)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


async def test_the_cookie_is_new_at_every_sign_in_and_one_that_was_planted_is_good_for_nothing(anonymous, ada):
    """Session fixation."""
    planted = "assentry_s_" + "a" * 52
    anonymous.cookies.set(COOKIE, planted, domain="assentry.example.org")
    cookies = {planted}
    for _ in range(2):
        answer = await sign_in(anonymous)
        cookie = answer.headers["set-cookie"].partition(";")[0].partition("=")[2]
        assert cookie not in cookies
        cookies.add(cookie)
    anonymous.cookies.clear()
    answer = await anonymous.get("/v1/session", headers={"cookie": f"{COOKIE}={planted}"})
    assert answer.status_code == 401


async def test_a_link_opens_a_cookie_of_its_own(anonymous: httpx.AsyncClient, requester: httpx.AsyncClient):
    code = (await requester.post("/v1/session/links")).json()["path"].partition("#")[2]
    anonymous.cookies.set(COOKIE, code, domain="assentry.example.org")
    assert (await anonymous.get("/v1/session")).status_code == 401
    answer = await anonymous.post("/sign-in/link", data={"code": code})
    assert code not in answer.headers["set-cookie"]


@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense"])
async def test_another_site_signs_no_browser_in(anonymous: httpx.AsyncClient, ada, requester, site: str):
    code = (await requester.post("/v1/session/links")).json()["path"].partition("#")[2]
    headers = {"sec-fetch-site": site}
    fields = {"name": "ada", "password": PASSWORD}
    assert (await anonymous.post("/sign-in", data=fields, headers=headers)).status_code == 403
    assert (await anonymous.post("/sign-in/link", data={"code": code}, headers=headers)).status_code == 403
    assert (await anonymous.post("/sign-in/link", data={"code": code})).status_code == 303


async def test_a_link_tells_who_is_signed_in_before_it_takes_their_place(anonymous: httpx.AsyncClient, ada):
    """The script sends the form by itself only where `data-who` is empty."""
    assert 'data-code data-who=""' in (await anonymous.get("/sign-in/link")).text
    cookie = (await sign_in(anonymous)).headers["set-cookie"].partition(";")[0]
    page = await anonymous.get("/sign-in/link", headers={"cookie": cookie})
    assert 'data-code data-who="ada"' in page.text
    assert "Sign in in place of ada" in page.text
