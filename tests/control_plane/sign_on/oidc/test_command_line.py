"""`assentry login --provider`: the command line signs in by the device flow of a real OpenID provider."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from control_plane.assembly import ControlPlane
from tests.control_plane.conftest import ManualClock
from tests.control_plane.sign_on.asking import CLIENT, Browser, error_of, polled
from tests.control_plane.sign_on.oidc.signing_in import Corp

# Nothing here depends on the database.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def begun_at(client: httpx.AsyncClient, provider: str = "corp") -> dict[str, Any]:
    answer = await client.post("/v1/device", data={**CLIENT, "provider": provider})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def confirm(corp: Corp, asked: dict[str, Any], name: str) -> None:
    said = await asyncio.to_thread(corp.there.approve, asked["verification_uri"], asked["user_code"], name)
    assert said == "approved"


async def test_whoever_confirms_at_the_provider_is_signed_in_at_the_command_line(
    corp: Corp, anonymous: httpx.AsyncClient, clock: ManualClock
):
    await corp.ready(oidc={"device": True})
    ada = corp.person("ada", "DBA Team", amr=["otp"])
    asked = await begun_at(anonymous)
    assert asked["verification_uri"].startswith(corp.provider.issuer)
    assert await error_of(anonymous, asked) == "authorization_pending"
    await confirm(corp, asked, ada)
    clock.advance(seconds=asked["interval"])
    answer = await polled(anonymous, asked)
    assert answer.status_code == 200, answer.text
    assert answer.json()["name"] == ada
    shown = await anonymous.get("/v1/session", headers={"authorization": f"Bearer {answer.json()['access_token']}"})
    assert shown.json()["groups"] == ["dba"]
    [row] = await corp.sign_ins()
    assert (row.provider, row.channel, row.amr) == ("corp", "cli", ["otp"])
    assert row.refresh
    assert await error_of(anonymous, asked) == "invalid_grant"


async def test_who_says_no_at_the_provider_gets_nothing(corp: Corp, anonymous, clock: ManualClock):
    await corp.ready(oidc={"device": True})
    asked = await begun_at(anonymous)
    await asyncio.to_thread(corp.there.refuse, asked["verification_uri"], asked["user_code"])
    assert await error_of(anonymous, asked) == "access_denied"
    clock.advance(seconds=6)
    assert await error_of(anonymous, asked) == "access_denied"


async def test_somebody_whom_nobody_here_is_linked_to_gets_nothing_and_the_log_says_who(corp: Corp, anonymous):
    await corp.ready(oidc={"device": True}, linking={})
    stranger = corp.person("stranger")
    asked = await begun_at(anonymous)
    await confirm(corp, asked, stranger)
    answer = await polled(anonymous, asked)
    assert answer.status_code == 403
    assert stranger not in answer.text
    [refused] = await corp.audited("device.refused")
    assert (refused["subject"], refused["provider"]) == (stranger, "corp")
    assert await error_of(anonymous, asked) == "access_denied"


async def test_a_provider_is_polled_no_sooner_than_it_asks_for(corp: Corp, anonymous, clock: ManualClock):
    await corp.ready(oidc={"device": True})
    asked = await begun_at(anonymous)
    assert await error_of(anonymous, asked) == "authorization_pending"
    assert await error_of(anonymous, asked) == "slow_down"


@pytest.mark.parametrize(
    "oidc", [{"device": False}, None], ids=["a provider without a device flow", "a provider that is not there"]
)
async def test_a_provider_that_is_not_set_up_for_it_is_refused(corp: Corp, anonymous, oidc: dict[str, Any] | None):
    if oidc is not None:
        await corp.ready(oidc=oidc)
    answer = await anonymous.post("/v1/device", data={**CLIENT, "provider": "corp"})
    assert answer.status_code == 404


async def test_a_sign_in_at_a_provider_is_not_confirmed_in_the_console(
    corp: Corp, anonymous, control_plane: ControlPlane, person
):
    await corp.ready(oidc={"device": True})
    asked = await begun_at(anonymous)
    browser = Browser(control_plane, anonymous)
    await browser.sign_in(await person("lin", "requester"))
    for code in (asked["user_code"], asked["device_code"]):
        assert (await browser.post("/device/decision", code=code, decision="confirm")).status_code == 404
    assert await error_of(anonymous, asked) == "authorization_pending"


async def test_the_providers_code_leaves_this_control_plane_sealed_only(corp: Corp, anonymous, control_plane):
    """Of two rows neither opens in the place of the other."""
    await corp.ready(oidc={"device": True})
    asked = [await begun_at(anonymous), await begun_at(anonymous)]
    async with control_plane.units() as uow:
        connection = await uow.session.connection()
        handles = [row[0] for row in (await connection.exec_driver_sql("SELECT handle FROM device_codes")).all()]
        assert all(handle and handle not in str(asked) for handle in handles)
        await connection.exec_driver_sql("UPDATE device_codes SET handle = ?", (handles[0],))
    answers = [await polled(anonymous, one) for one in asked]
    assert sorted(answer.status_code for answer in answers) == [400, 503]
