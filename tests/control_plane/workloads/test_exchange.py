"""A workload's own token for a short-lived one of ours (RFC 8693): what it gets, and that nobody else gets it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from control_plane.assembly import ControlPlane
from tests.control_plane.conftest import ManualClock
from tests.control_plane.identities.test_credentials import verified
from tests.control_plane.workloads.platforms import (
    AUDIENCE,
    GROUND,
    Platform,
    applied,
    causes,
    exchanged,
    github,
    machine,
    rsa,
    trust,
)

SHOP: dict[str, Any] = {"platform": "github", "issuer": None, "subject": "repo:acme/shop:ref:refs/heads/main"}


@pytest.fixture
async def shop(ground: httpx.AsyncClient, platform: Platform) -> httpx.AsyncClient:
    """The admin; the main branch of acme/shop may reach orders."""
    await applied(ground, trust("shop-deploy", platform, **SHOP, targets=["orders"]))
    return ground


async def test_a_github_token_is_exchanged_for_a_token_for_the_target(
    shop: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform, control_plane: ControlPlane
):
    answer = await exchanged(anonymous, github(platform), "orders")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["token_type"], told["issued_token_type"]) == ("N_A", "urn:ietf:params:oauth:token-type:jwt")
    assert told["expires_in"] == 900
    assert answer.headers["cache-control"] == "no-store"
    _, claims = verified(told["access_token"], control_plane)
    bot = (await shop.get("/v1/identities/deploy-bot")).json()
    assert (claims["sub"], claims["aud"], claims["jti"]) == (bot["id"], ["orders"], told["credential_id"])
    assert claims["exp"] - claims["iat"] == 900


async def test_the_same_token_from_another_repository_is_refused_and_the_audit_log_says_why(
    shop: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform
):
    answer = await exchanged(anonymous, github(platform, "mallory/shop"), "orders")
    assert answer.status_code == 400
    assert answer.json() == {
        "error": "invalid_grant",
        "error_description": "the token is not accepted here; the audit log says why",
    }
    assert await causes(shop) == ["shop-deploy: the subject is 'repo:mallory/shop:ref:refs/heads/main'"]


async def test_a_bearer_for_the_api_is_the_machine_and_nothing_more(
    shop: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform, clock: ManualClock
):
    told = (await exchanged(anonymous, github(platform))).json()
    assert (told["token_type"], told["expires_in"]) == ("Bearer", 900)
    bearer = {"authorization": f"Bearer {told['access_token']}"}
    me = await anonymous.get("/v1/session", headers=bearer)
    assert (me.json()["name"], me.json()["kind"]) == ("deploy-bot", "machine")
    assert (await anonymous.get("/v1/identities", headers=bearer)).status_code == 403
    clock.advance(minutes=15)
    assert (await anonymous.get("/v1/session", headers=bearer)).status_code == 401


async def test_what_is_made_with_the_bearer_reaches_no_further_and_lives_no_longer(
    shop: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform, control_plane: ControlPlane
):
    told = (await exchanged(anonymous, github(platform))).json()
    bearer = {"authorization": f"Bearer {told['access_token']}"}
    for targets in (["billing"], ["orders", "billing"], ["*"]):
        assert (await anonymous.post("/v1/tokens", json={"targets": targets}, headers=bearer)).status_code == 422
    made = await anonymous.post("/v1/tokens", json={"targets": ["orders"], "ttl_seconds": 36_000}, headers=bearer)
    assert made.status_code == 201, made.text
    _, claims = verified(made.json()["token"], control_plane)
    assert claims["exp"] - claims["iat"] == 900


@pytest.mark.parametrize("target", ["billing", "nowhere", "*"])
async def test_a_target_that_the_trust_does_not_name_is_refused_like_one_that_is_not_there(
    shop: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform, target: str
):
    answer = await exchanged(anonymous, github(platform), target)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")
    assert answer.json()["error_description"] == "a target is not known, or not for this workload"


async def test_a_github_token_works_once(
    shop: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform, clock: ManualClock
):
    token = github(platform)
    assert (await exchanged(anonymous, token, "orders")).status_code == 200
    assert (await exchanged(anonymous, token, "orders")).json()["error"] == "invalid_grant"
    clock.advance(minutes=4)
    assert (await exchanged(anonymous, token)).json()["error"] == "invalid_grant"
    assert await causes(shop) == ["shop-deploy: this token has been used already"] * 2


async def test_a_refused_exchange_uses_no_token_up(
    shop: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform
):
    token = github(platform)
    assert (await exchanged(anonymous, token, "billing")).status_code == 400
    assert (await exchanged(anonymous, token, "orders")).status_code == 200


async def test_a_token_without_an_id_is_not_taken_where_each_works_once(
    shop: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform
):
    assert (await exchanged(anonymous, github(platform, jti=None), "orders")).status_code == 400
    assert "no id (jti)" in (await causes(shop))[0]


async def test_a_token_that_its_platform_gives_again_works_again(
    ground: httpx.AsyncClient, anonymous: httpx.AsyncClient, clock: ManualClock
):
    cluster = Platform("https://kubernetes.default.svc.cluster.local", clock.now)
    spec = {"platform": "kubernetes", "subject": "system:serviceaccount:shop:deployer"}
    await applied(ground, trust("cluster", cluster, **spec))
    token = cluster.token("system:serviceaccount:shop:deployer")
    assert [(await exchanged(anonymous, token, "orders")).status_code for _ in range(2)] == [200, 200]


async def test_several_trusts_that_take_a_token_are_told_apart_by_name(
    shop: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform
):
    more = {**SHOP, "subject": None, "claims": {"repository": "acme/shop"}}
    await applied(shop, trust("shop-any-branch", platform, **more, targets=["billing"]))
    answer = await exchanged(anonymous, github(platform), "billing")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert (await exchanged(anonymous, github(platform), "billing", trust="shop-any-branch")).status_code == 200
    assert (await exchanged(anonymous, github(platform), "billing", trust="shop-deploy")).status_code == 400
    assert (await exchanged(anonymous, github(platform), "billing", trust="another")).status_code == 400


async def test_a_machine_that_may_not_connect_gets_no_token_for_targets(
    ground: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform
):
    await applied(ground, machine("idle-bot"), trust("idle", platform, **SHOP, identity="idle-bot"))
    answer = await exchanged(anonymous, github(platform), "orders")
    assert answer.json()["error"] == "invalid_target"
    assert (await exchanged(anonymous, github(platform))).status_code == 200


async def test_a_trust_may_give_no_bearer_for_the_api(
    ground: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform
):
    await applied(ground, trust("narrow", platform, **SHOP, api=False))
    assert (await exchanged(anonymous, github(platform))).json()["error"] == "invalid_target"
    assert (await exchanged(anonymous, github(platform), "orders")).status_code == 200


async def test_who_is_disabled_or_lost_the_owner_gets_nothing(
    shop: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform
):
    await applied(shop, machine(disabled=True))
    assert (await exchanged(anonymous, github(platform), "orders")).status_code == 400
    ada = {**GROUND[0], "spec": {"kind": "person", "disabled": True}}
    await applied(shop, machine(owner="admin", disabled=False), ada)
    assert (await exchanged(anonymous, github(platform), "orders")).status_code == 200
    patched = await shop.patch("/v1/identities/admin", json={"email": "x@example.org"}, headers={"if-match": "*"})
    assert patched.is_success


async def test_an_exchange_is_audited_with_who_what_and_which_run(
    shop: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform
):
    await exchanged(anonymous, github(platform), "orders")
    (found,) = (await shop.get("/v1/audit", params={"kind": "workload-sign-in.opened"})).json()["items"]
    data = found["data"]
    assert (found["actor"]["name"], data["trust"], data["method"]) == ("deploy-bot", "shop-deploy", "trust")
    assert data["claims"]["run_id"] == "1042"
    assert (data["targets"], data["subject"]) == (["orders"], SHOP["subject"])
    (listed,) = (await shop.get("/v1/workload-sign-ins")).json()["items"]
    assert (listed["identity"], listed["claims"]["repository"], listed["targets"]) == (
        "deploy-bot",
        "acme/shop",
        ["orders"],
    )


async def test_too_many_refusals_from_one_address_are_told_to_wait(
    shop: httpx.AsyncClient, app: Any, platform: Platform, clock: ManualClock
):
    transport = httpx.ASGITransport(app=app, client=("198.51.100.7", 4711))
    async with httpx.AsyncClient(transport=transport, base_url=AUDIENCE) as far:
        for _ in range(30):
            assert (await exchanged(far, "x.y.z")).status_code == 400
        answer = await exchanged(far, github(platform), "orders")
        assert (answer.status_code, answer.json()["error"]) == (429, "slow_down")
        assert int(answer.headers["retry-after"]) > 0
        clock.advance(seconds=int(answer.headers["retry-after"]))
        assert (await exchanged(far, github(platform), "orders")).status_code == 200


async def test_a_trust_that_is_changed_or_deleted_ends_what_it_let_in(
    shop: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform, control_plane: ControlPlane
):
    for change in ("change", "delete"):
        told = (await exchanged(anonymous, github(platform))).json()
        made = (await exchanged(anonymous, github(platform), "orders")).json()
        bearer = {"authorization": f"Bearer {told['access_token']}"}
        assert (await anonymous.get("/v1/session", headers=bearer)).status_code == 200
        if change == "change":
            await applied(shop, trust("shop-deploy", platform, **SHOP, targets=["orders"], lifetime="10m"))
        else:
            await shop.delete("/v1/workload-trusts/shop-deploy", headers={"if-match": "*"})
        assert (await anonymous.get("/v1/session", headers=bearer)).status_code == 401
        async with control_plane.units.reading() as uow:
            assert made["credential_id"] in (await control_plane.identities.snapshot(uow)).revoked_credentials


async def test_an_admin_ends_one_sign_in_with_all_that_was_made_with_it(
    shop: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform, control_plane: ControlPlane
):
    made = (await exchanged(anonymous, github(platform), "orders")).json()
    (listed,) = (await shop.get("/v1/workload-sign-ins")).json()["items"]
    assert (await shop.delete(f"/v1/workload-sign-ins/{listed['id']}")).status_code == 204
    async with control_plane.units.reading() as uow:
        assert (await control_plane.identities.snapshot(uow)).revoked_credentials == (made["credential_id"],)


async def test_another_key_than_the_issuers_is_no_use(
    shop: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform
):
    platform.key = rsa(2)
    assert (await exchanged(anonymous, github(platform), "orders")).status_code == 400
    assert "announces no key 'rsa-2'" in (await causes(shop))[0]
