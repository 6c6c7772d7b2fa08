"""Signing out: at the provider ends what is here, here leads to the provider; forged logout tokens end nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from aiohttp import web

from control_plane.assembly import ControlPlane
from tests.control_plane.sign_on.oidc.signing_in import HERE, Corp, query_of
from tests.control_plane.sign_on.oidc.test_renewal import credential, revoked
from tests.support.sinks import Got, HttpSink, http_sink

PATH = "/sign-in/oidc/corp/backchannel-logout"


@pytest.fixture
async def told(corp: Corp) -> AsyncIterator[HttpSink]:
    """Takes what the provider sends, as a proxy would, to the control plane."""

    async def forward(got: Got) -> web.Response:
        here = {"content-type": got.headers["content-type"]}
        answer = await corp.here.post(got.path, content=got.body, headers=here)
        return web.Response(status=answer.status_code, text=answer.text)

    async with http_sink(forward) as sink:
        await corp.ready()
        corp.register(backchannel_logout_uri=f"{sink.url}{PATH}")
        yield sink


@pytest.fixture
async def ada(corp: Corp, told: HttpSink) -> str:
    name = corp.person("ada", "DBA Team")
    assert (await corp.sign_in(name)).status_code == 303
    return name


def logout_token(sink: HttpSink) -> str:
    return httpx.QueryParams(sink.got[-1].body.decode())["logout_token"]


async def test_who_signs_out_at_the_provider_is_out_here_with_every_credential(corp: Corp, told: HttpSink, ada: str):
    token = await credential(corp)
    await asyncio.to_thread(corp.there.sign_out)
    assert [got.path for got in told.got] == [PATH]
    assert await corp.who() == {}
    assert await revoked(corp, token)
    [audited] = await corp.audited("identity.signed-out")
    assert (audited["reason"], audited["credentials"]) == ("signed out at corp", [token])


async def test_another_session_of_the_same_person_goes_on(corp: Corp, told: HttpSink, ada: str):
    first = corp.there
    corp.there = corp.provider.browser()
    await corp.sign_in(ada)
    await asyncio.to_thread(first.sign_out)
    assert (await corp.who())["name"] == ada
    assert len(await corp.sign_ins()) == 1


async def test_a_logout_token_counts_once(corp: Corp, told: HttpSink, ada: str):
    await asyncio.to_thread(corp.there.sign_out)
    again = await corp.here.post(PATH, data={"logout_token": logout_token(told)})
    assert (again.status_code, again.headers["cache-control"]) == (400, "no-store")
    assert (await corp.audited("logout.refused"))[-1]["cause"] == "it was taken before"


async def test_a_logout_token_ends_no_sign_in_by_another_provider(corp: Corp, told: HttpSink, ada: str):
    await corp.apply(corp.document("other"))
    [row] = await corp.sign_ins()
    async with corp.control_plane.units() as uow:
        (await uow.session.merge(row)).provider = "other"
    await asyncio.to_thread(corp.there.sign_out)
    assert len(await corp.sign_ins()) == 1


@pytest.mark.parametrize("token", ["", "a.b.c", "e30.e30.", "x" * 70_000])
async def test_what_is_no_logout_token_ends_nothing(corp: Corp, told: HttpSink, ada: str, token: str):
    answer = await corp.here.post(PATH, data={"logout_token": token})
    assert answer.status_code in {400, 422}
    assert (await corp.who())["name"] == ada


async def test_an_id_token_is_no_logout_token(corp: Corp, told: HttpSink, ada: str):
    [row] = await corp.sign_ins()
    kept = await corp.control_plane.who.oidc.flow._telling.kept("corp", row.refresh)
    answer = await corp.here.post(PATH, data={"logout_token": kept.id_token})
    assert answer.status_code == 400
    assert (await corp.who())["name"] == ada


async def test_a_flood_of_forged_logout_tokens_does_not_flood_the_audit_log(corp: Corp, told: HttpSink, ada: str):
    for _ in range(20):
        assert (await corp.here.post(PATH, data={"logout_token": "a.b.c"})).status_code == 400
    assert 1 <= len(await corp.audited("logout.refused")) < 10


# -------------------------------------------------------------- from here


async def csrf(control_plane: ControlPlane, corp: Corp) -> str:
    page = await corp.here.get("/sessions")
    return page.text.split('name="csrf_token" value="')[1].split('"')[0]


async def test_who_signs_out_here_is_led_to_the_provider_and_back(
    corp: Corp, control_plane: ControlPlane, told: HttpSink, ada: str
):
    answer = await corp.here.post("/sign-out", data={"csrf_token": await csrf(control_plane, corp)})
    assert answer.status_code == 200
    url = answer.headers["refresh"].removeprefix("0; url=")
    assert url.startswith(f"{corp.provider.issuer}/session/end?")
    assert query_of(url)["post_logout_redirect_uri"] == f"{HERE}/sign-in"
    assert query_of(url)["id_token_hint"].count(".") == 2
    assert await corp.who() == {}
    assert await asyncio.to_thread(corp.there.sign_out, url) == f"{HERE}/sign-in"


async def test_who_signs_out_here_is_out_though_the_provider_is_away(
    corp: Corp, control_plane: ControlPlane, told: HttpSink, ada: str
):
    token = await csrf(control_plane, corp)
    await corp.apply(corp.document(oidc={"issuer": "http://127.0.0.1:9"}))
    answer = await corp.here.post("/sign-out", data={"csrf_token": token})
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert await corp.who() == {}
