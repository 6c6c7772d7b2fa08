"""Which answer of a real provider counts: the one to this browser's own request, once, by the same person."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlencode

import httpx
import pytest
from fastapi import FastAPI

from control_plane.sign_on import saml_flow
from tests.control_plane.conftest import ManualClock
from tests.control_plane.sign_on.saml.conftest import HOME, SignIns
from tests.control_plane.sign_on.saml.test_metadata import metadata
from tests.support.saml import SamlProvider

Acquaint = Callable[..., Awaitable[None]]


async def test_an_answer_counts_once(sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint):
    await corp()
    posted = saml_provider.sign_in(await sign_ins.begin())
    before = dict(sign_ins.browser.cookies)
    assert (await sign_ins.bring(posted)).status_code == 303
    sign_ins.browser.cookies.clear()
    sign_ins.browser.cookies.update(before)
    assert "waits in this browser" in await sign_ins.refused(await sign_ins.bring(posted))


async def test_an_answer_that_is_sent_twice_at_once_counts_once(
    sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint
):
    await corp()
    posted = saml_provider.sign_in(await sign_ins.begin())
    answers = await asyncio.gather(*(sign_ins.bring(posted) for _ in range(4)))
    assert sorted(one.status_code for one in answers) == [303, 403, 403, 403]
    assert len([one for one in await sign_ins.audited("sign-in.opened") if one.get("provider")]) == 1


async def test_an_answer_to_the_same_browsers_other_request_is_none_to_this_one(
    sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint
):
    await corp()
    first = saml_provider.sign_in(await sign_ins.begin())
    second = saml_provider.sign_in(await sign_ins.begin())
    second.fields["SAMLResponse"] = first.fields["SAMLResponse"]
    assert "answers another request" in await sign_ins.refused(await sign_ins.bring(second))
    assert (await sign_ins.bring(first)).status_code == 303  # two tabs do not disturb each other


async def test_an_assertion_that_was_used_is_remembered(
    sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint, monkeypatch: pytest.MonkeyPatch
):
    await corp()
    monkeypatch.setattr("control_plane.sign_on.saml_flow.random_text", lambda length: "a" * length)
    posted = saml_provider.sign_in(await sign_ins.begin())
    await sign_ins.bring(posted)
    sign_ins.browser.cookies.clear()
    await sign_ins.begin()  # as if the very same request had been made again
    assert "used before" in await sign_ins.refused(await sign_ins.bring(posted))


async def test_nobody_is_signed_in_by_an_answer_that_was_made_for_another_browser(
    sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint, another_browser: httpx.AsyncClient
):
    await corp()
    posted = saml_provider.sign_in(await sign_ins.begin())
    answer = await sign_ins.bring(posted, another_browser)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers or "assentry=" not in answer.headers["set-cookie"].split("saml")[0]
    assert (await another_browser.get("/v1/session")).status_code == 401
    assert "waits in this browser" in (await sign_ins.audited("sign-in.refused"))[-1]["cause"]


async def test_what_nobody_asked_for_is_refused_unread(sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint):
    await corp()
    address = f"{saml_provider.address}/simplesaml/saml2/idp/SSOService.php"
    entity = "https://assentry.example.org/sign-in/saml/corp/metadata"
    posted = saml_provider.sign_in(f"{address}?{urlencode({'spentityid': entity})}")
    assert "nobody asked" in await sign_ins.refused(await sign_ins.bring(posted))


async def test_an_answer_that_comes_too_late_is_refused(
    sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint, clock: ManualClock
):
    await corp()
    posted = saml_provider.sign_in(await sign_ins.begin())
    clock.advance(minutes=10)
    assert "too long ago" in await sign_ins.refused(await sign_ins.bring(posted))


async def test_what_one_provider_says_is_not_taken_for_anothers_word(
    sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint
):
    await corp()
    await sign_ins.provider(saml_provider.metadata_address, "other")
    posted = saml_provider.sign_in(await sign_ins.begin("corp"))
    posted.address = posted.address.replace("/corp/", "/other/")
    assert "waits in this browser" in await sign_ins.refused(await sign_ins.bring(posted))


@pytest.mark.parametrize("path", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:x"])
async def test_a_sign_in_leads_to_this_console_only(
    sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint, path: str
):
    await corp()
    answer = await sign_ins.bring(saml_provider.sign_in(await sign_ins.begin(path=path)))
    assert answer.headers["location"] == "/"


async def test_a_new_sign_in_gets_a_new_cookie_whatever_the_browser_had(
    sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint
):
    await corp()
    sign_ins.browser.cookies.set("__Host-assentry", "planted", domain="assentry.example.org")
    answer = await sign_ins.bring(saml_provider.sign_in(await sign_ins.begin()))
    [cookie] = [one for one in answer.headers.get_list("set-cookie") if one.startswith("__Host-assentry=")]
    assert "planted" not in cookie
    assert {"HttpOnly", "Secure", "SameSite=lax", "Path=/"} <= {one.strip() for one in cookie.split(";")}


async def test_the_cookie_of_a_begun_sign_in_comes_along_from_the_providers_page(sign_ins: SignIns, corp: Acquaint):
    await corp()
    answer = await sign_ins.browser.get("/sign-in/saml/corp")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-assentry-saml-")
    assert {"HttpOnly", "Secure", "SameSite=none", "Path=/", "Max-Age=600"} <= {
        one.strip() for one in cookie.split(";")
    }


# ---------------------------------------------------------------- proving it again


async def test_somebody_proves_again_who_they_are_and_is_asked_for_it(
    sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint
):
    await corp()
    with saml_provider.browser() as there:
        await sign_ins.bring(saml_provider.sign_in(await sign_ins.begin(), browser=there))
        await sign_ins.forget_how_fresh_it_is()
        before = (await sign_ins.session())["authenticated_at"]
        answer = await sign_ins.browser.get("/sign-in/saml/corp/again", params={"next": "/approvals"})
        page = there.get(answer.headers["location"])
        assert 'name="password"' in page.text  # asked anew, though there is a session
        posted = saml_provider.sign_in(str(page.url), browser=there)
    assert (await sign_ins.bring(posted)).headers["location"] == "/approvals"
    assert [one["provider"] for one in await sign_ins.audited("sign-in.reauthenticated")] == ["corp"]
    assert (await sign_ins.session())["authenticated_at"] > before


async def test_another_person_there_does_not_prove_ones_sign_in_here(
    sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint
):
    await corp()
    await sign_ins.bring(saml_provider.sign_in(await sign_ins.begin()))
    answer = await sign_ins.browser.get("/sign-in/saml/corp/again")
    answer = await sign_ins.bring(saml_provider.sign_in(answer.headers["location"], "eve"))
    assert answer.status_code == 403
    assert "somebody else" in (await sign_ins.audited("sign-in.refused"))[-1]["cause"]
    assert await sign_ins.audited("sign-in.reauthenticated") == []


async def test_a_provider_that_does_not_ask_anew_proves_nothing(
    sign_ins: SignIns, saml_provider: SamlProvider, corp: Acquaint, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
):
    await corp()
    with saml_provider.browser() as there:
        await sign_ins.bring(saml_provider.sign_in(await sign_ins.begin(), browser=there))
        clock.advance(minutes=3)

        asked = saml_flow.authn_request
        monkeypatch.setattr(saml_flow, "authn_request", lambda *a, **k: asked(*a, **{**k, "again": False}))
        answer = await sign_ins.browser.get("/sign-in/saml/corp/again")
        posted = saml_provider.sign_in(answer.headers["location"], browser=there)
    assert (await sign_ins.bring(posted)).status_code == 403
    assert "did not ask the person anew" in (await sign_ins.audited("sign-in.refused"))[-1]["cause"]


# ---------------------------------------------------------------- floods


@pytest.fixture
async def elsewhere(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A browser with an address that is counted; those of this machine are not."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False, client=("203.0.113.9", 4711))
    async with httpx.AsyncClient(transport=transport, base_url=HOME) as client:
        yield client


async def test_what_costs_nothing_to_send_does_not_fill_the_audit_log(sign_ins: SignIns, elsewhere: httpx.AsyncClient):
    await sign_ins.provider(metadata())
    for _ in range(20):
        answer = await elsewhere.post("/sign-in/saml/corp/acs", data={"SAMLResponse": "AAAA"})
        assert answer.status_code == 403
    told = await sign_ins.audited("sign-in.refused")
    assert 0 < len(told) < 10
    assert told[0]["client_address"] == "203.0.113.9"


async def test_beginning_before_each_bad_answer_does_not_fill_the_audit_log(
    sign_ins: SignIns, elsewhere: httpx.AsyncClient
):
    await sign_ins.provider(metadata())
    for _ in range(20):
        begun = await elsewhere.get("/sign-in/saml/corp")
        relay = httpx.URL(begun.headers["location"]).params["RelayState"]
        answer = await elsewhere.post("/sign-in/saml/corp/acs", data={"SAMLResponse": "PHgvPg==", "RelayState": relay})
        assert answer.status_code == 403
    told = await sign_ins.audited("sign-in.refused")
    assert 0 < len(told) < 10
    assert "waits in this browser" not in told[0]["cause"]


async def test_one_network_begins_only_so_many_sign_ins_at_a_time(
    sign_ins: SignIns, elsewhere: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
):
    await sign_ins.provider(metadata())
    monkeypatch.setattr(saml_flow, "_MOST_FROM_A_NETWORK", 3)
    statuses = [(await elsewhere.get("/sign-in/saml/corp")).status_code for _ in range(4)]
    assert statuses == [303, 303, 303, 429]
    assert (await sign_ins.browser.get("/sign-in/saml/corp")).status_code == 303
    clock.advance(minutes=10)
    assert (await elsewhere.get("/sign-in/saml/corp")).status_code == 303
    monkeypatch.setattr(saml_flow, "_MOST", 1)
    assert (await sign_ins.browser.get("/sign-in/saml/corp")).status_code == 303, "the oldest gives way to it"
