"""Machines that sign in with a key pair (RFC 7523) or a secret: both end, and neither is ever seen again."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlmodel import col, update

from control_plane.assembly import ControlPlane
from control_plane.identities.tables import IdentityRow
from tests.control_plane.conftest import ManualClock
from tests.control_plane.identities.test_credentials import verified
from tests.control_plane.workloads.platforms import (
    ASSERTION,
    AUDIENCE,
    Platform,
    applied,
    causes,
    document,
    ec,
    ed,
    mac,
    machine,
    rsa,
    signed,
)

ANY = {"if-match": "*"}
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def assertion(platform: Platform, **changes: Any) -> dict[str, Any]:
    told = platform.claims("deploy-bot", **{"iss": "deploy-bot", "aud": f"{AUDIENCE}/v1/token", **changes})
    return {name: value for name, value in told.items() if value is not None}


async def asked(client: httpx.AsyncClient, *targets: str, **more: str) -> httpx.Response:
    form: dict[str, Any] = {"grant_type": "client_credentials", "audience": list(targets), **more}
    return await client.post("/v1/token", data=form)


async def by_key(client: httpx.AsyncClient, token: str, *targets: str, **more: str) -> httpx.Response:
    return await asked(client, *targets, client_assertion_type=ASSERTION, client_assertion=token, **more)


@pytest.fixture
async def keyed(ground: httpx.AsyncClient) -> httpx.AsyncClient:
    """The admin; deploy-bot has a key pair for orders."""
    body = {"identity": "deploy-bot", "jwk": ed().as_dict(private=False), "targets": ["orders"]}
    made = await ground.post("/v1/client-credentials/key-pairs", json=body)
    assert made.status_code == 201, made.text
    return ground


async def secret_of(admin: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    made = await admin.post("/v1/client-credentials/secrets", json={"identity": "deploy-bot", **more})
    assert made.status_code == 201, made.text
    return dict(made.json())


async def test_a_key_pair_gets_a_token_for_its_targets_and_a_bearer(
    keyed: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform, control_plane: ControlPlane
):
    told = (await by_key(anonymous, signed(assertion(platform), ed()), "orders")).json()
    _, claims = verified(told["access_token"], control_plane)
    assert claims["aud"] == ["orders"]
    bearer = (await by_key(anonymous, signed(assertion(platform, aud=AUDIENCE), ed()), client_id="deploy-bot")).json()
    me = await anonymous.get("/v1/session", headers={"authorization": f"Bearer {bearer['access_token']}"})
    assert me.json()["name"] == "deploy-bot"
    refused = await by_key(anonymous, signed(assertion(platform), ed()), "billing")
    assert refused.json()["error"] == "invalid_target"
    (kept,) = (await keyed.get("/v1/client-credentials")).json()["items"]
    assert (kept["kind"], kept["last_used_at"] is not None, kept["thumbprint"]) == ("key-pair", True, ed().thumbprint())


FORGED: dict[str, Callable[[dict[str, Any]], str]] = {
    "of another key": lambda told: signed(told, rsa(), kid="ed-1"),
    "of another key under its own name": lambda told: signed(told, ec()),
    "with a secret as the key": lambda told: mac(told, b"ed-1", kid="ed-1"),
    "for another audience": lambda told: signed({**told, "aud": "https://other.example"}, ed()),
    "for another audience too": lambda told: signed({**told, "aud": [told["aud"], "https://other.example"]}, ed()),
    "expired": lambda told: signed({**told, "exp": told["iat"] - 61}, ed()),
    "too long-lived": lambda told: signed({**told, "exp": told["iat"] + 3600}, ed()),
    "without an end": lambda told: signed({**told, "exp": None}, ed()),
    "without an id": lambda told: signed({**told, "jti": ""}, ed()),
    "of somebody else": lambda told: signed({**told, "iss": "ada", "sub": "ada"}, ed()),
    "for somebody else": lambda told: signed({**told, "sub": "ada"}, ed()),
    "of another type": lambda told: signed(told, ed(), typ="at+jwt"),
    "no token": lambda _told: "x.y.z",
}


async def test_an_assertion_that_is_not_as_it_should_be_is_refused_in_one_sentence(
    keyed: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform
):
    answers = {name: await by_key(anonymous, forge(assertion(platform)), "orders") for name, forge in FORGED.items()}
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(FORGED, 401)
    assert {answer.json()["error_description"] for answer in answers.values()} == {
        "the client is not known here, or its key or secret is not good"
    }
    assert len(set(await causes(keyed))) >= len(FORGED) - 4
    assert (await by_key(anonymous, signed(assertion(platform), ed()), client_id="ada")).status_code == 401


async def test_an_assertion_works_once(keyed: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform):
    token = signed(assertion(platform), ed())
    assert [(await by_key(anonymous, token)).status_code for _ in range(2)] == [200, 401]
    assert await causes(keyed) == ["deploy-bot: this assertion has been used already"]


async def test_a_secret_is_shown_once_and_works_in_the_header_or_in_the_form(
    ground: httpx.AsyncClient, anonymous: httpx.AsyncClient
):
    made = await secret_of(ground, description="the cellar")
    assert made["secret"].startswith("assentry_c_")
    listed = (await ground.get("/v1/client-credentials")).text
    assert made["secret"] not in listed
    assert (await asked(anonymous, client_id="deploy-bot", client_secret=made["secret"])).status_code == 200
    basic = base64.b64encode(f"deploy-bot:{made['secret']}".encode()).decode()
    form = {"grant_type": "client_credentials"}
    answer = await anonymous.post("/v1/token", data=form, headers={"authorization": f"Basic {basic}"})
    assert answer.status_code == 200


async def test_a_secret_ends_after_ninety_days_at_the_latest_and_with_the_machine(
    ground: httpx.AsyncClient, anonymous: httpx.AsyncClient, clock: ManualClock
):
    too_long = {"identity": "deploy-bot", "ttl_days": 91}
    assert (await ground.post("/v1/client-credentials/secrets", json=too_long)).status_code == 422
    soon = (clock.now().date()).isoformat() + "T18:00:00Z"
    await applied(ground, machine(ends_at=soon))
    made = await secret_of(ground, ttl_days=90)
    assert made["expires_at"] == soon
    told = (await asked(anonymous, client_id="deploy-bot", client_secret=made["secret"])).json()
    assert told["expires_in"] == 3600
    clock.advance(hours=6)
    assert (await asked(anonymous, client_id="deploy-bot", client_secret=made["secret"])).status_code == 401


@pytest.mark.parametrize("told", [("deploy-bot", "assentry_c_wrong"), ("nobody", "SECRET"), ("ada", "SECRET")])
async def test_a_wrong_secret_and_an_unknown_client_are_answered_alike(
    ground: httpx.AsyncClient, anonymous: httpx.AsyncClient, told: tuple[str, str]
):
    made = await secret_of(ground)
    name, secret = told[0], told[1].replace("SECRET", made["secret"])
    answer = await asked(anonymous, client_id=name, client_secret=secret)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic")
    assert answer.json()["error_description"] == "the client is not known here, or its key or secret is not good"


async def test_revoking_ends_all_that_was_made_with_it(
    ground: httpx.AsyncClient, anonymous: httpx.AsyncClient, control_plane: ControlPlane
):
    made = await secret_of(ground)
    told = (await asked(anonymous, client_id="deploy-bot", client_secret=made["secret"])).json()
    token = (await asked(anonymous, "orders", client_id="deploy-bot", client_secret=made["secret"])).json()
    assert (await ground.delete(f"/v1/client-credentials/{made['id']}")).status_code == 204
    bearer = {"authorization": f"Bearer {told['access_token']}"}
    assert (await anonymous.get("/v1/session", headers=bearer)).status_code == 401
    assert (await asked(anonymous, client_id="deploy-bot", client_secret=made["secret"])).status_code == 401
    async with control_plane.units.reading() as uow:
        assert (await control_plane.identities.snapshot(uow)).revoked_credentials == (token["credential_id"],)


@pytest.mark.parametrize("missing", ["purpose", "ends_at"])
async def test_a_machine_without_a_purpose_or_an_end_date_gets_neither(ground: httpx.AsyncClient, missing: str):
    bare = machine("bare-bot")
    del bare["spec"][missing]
    await applied(ground, bare)
    body = {"identity": "bare-bot"}
    assert (await ground.post("/v1/client-credentials/secrets", json=body)).status_code == 422
    pair = {**body, "jwk": ed().as_dict(private=False)}
    assert (await ground.post("/v1/client-credentials/key-pairs", json=pair)).status_code == 422


async def refusals(admin: httpx.AsyncClient) -> list[str]:
    """What an admin is told who would give deploy-bot a secret, or a key pair."""
    body = {"identity": "deploy-bot"}
    pair = {**body, "jwk": ed().as_dict(private=False)}
    secret = await admin.post("/v1/client-credentials/secrets", json=body)
    answers = [secret, await admin.post("/v1/client-credentials/key-pairs", json=pair)]
    assert [one.status_code for one in answers] == [422, 422]
    return [one.json()["detail"] for one in answers]


async def test_a_machine_whose_owner_is_gone_gets_neither(ground: httpx.AsyncClient):
    assert (await ground.patch("/v1/identities/ada", json={"disabled": True}, headers=ANY)).is_success
    assert ["or its owner is" in one for one in await refusals(ground)] == [True, True]


async def test_a_machine_whose_day_has_come_gets_neither(ground: httpx.AsyncClient, control_plane: ControlPlane):
    async with control_plane.units() as uow:
        named = col(IdentityRow.name) == "deploy-bot"
        await uow.session.exec(update(IdentityRow).where(named).values(ends_at=uow.now))
    assert ["has come" in one for one in await refusals(ground)] == [True, True]


@pytest.mark.parametrize(
    "jwk",
    [
        {},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "OKP", "crv": "X25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "d": "AA"},
        ed().as_dict(private=True),
        rsa().as_dict(private=True),
    ],
)
async def test_only_the_public_half_of_a_good_key_is_taken(ground: httpx.AsyncClient, jwk: dict[str, Any]):
    body = {"identity": "deploy-bot", "jwk": jwk}
    assert (await ground.post("/v1/client-credentials/key-pairs", json=body)).status_code == 422


async def test_a_key_is_one_machines_only(keyed: httpx.AsyncClient):
    await applied(keyed, machine("other-bot"))
    body = {"identity": "other-bot", "jwk": ed().as_dict(private=False)}
    assert (await keyed.post("/v1/client-credentials/key-pairs", json=body)).status_code == 409


async def test_whoever_made_a_secret_does_not_approve_what_the_machine_asks(
    ground: httpx.AsyncClient, control_plane: ControlPlane
):
    await applied(ground, document("Group", "more", members=["deploy-bot"], roles=[]))
    await secret_of(ground)
    me = (await ground.get("/v1/session")).json()["id"]
    bot = (await ground.get("/v1/identities/deploy-bot")).json()["id"]
    async with control_plane.units.reading() as uow:
        assert await control_plane.credentials.makers_of_keys(uow, bot) == [me]
