"""Whoever wrote a trust answers for what it lets in: they do not approve it, and it does not outlive them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from control_plane.assembly import ControlPlane
from control_plane.kit.unit_of_work import SYSTEM
from tests.control_plane.workloads.platforms import Platform, applied, causes, exchanged, github, trust

SHOP: dict[str, Any] = {"platform": "github", "issuer": None, "subject": "repo:acme/shop:ref:refs/heads/main"}


@pytest.fixture
async def eve(control_plane: ControlPlane, ground: httpx.AsyncClient, person: Any) -> dict[str, str]:
    """A second admin's sign-in. The ground is there."""
    admin = await person("eve", "admin")
    async with control_plane.units() as uow:
        opened = await control_plane.sign_ins.open(uow, admin, "cli")
    return {"authorization": f"Bearer {opened.token.reveal()}"}


async def wrote(client: httpx.AsyncClient, document: dict[str, Any], whose: dict[str, str]) -> list[str]:
    """What it changed."""
    told = {"documents": [document], "prune": False}
    answer = await client.post("/v1/documents/apply", json=told, headers=whose)
    assert answer.status_code == 200, answer.text
    return [one["change"] for one in answer.json()["changes"]]


async def left(control_plane: ControlPlane, name: str) -> None:
    async with control_plane.units() as uow:
        (found,) = await control_plane.identities.find_named(uow, [name])
        await control_plane.who.ending.end(uow, SYSTEM, found.id, "left")


async def barred(control_plane: ControlPlane, machine: str) -> list[str]:
    """Names of those who may not decide on what this machine asks."""
    async with control_plane.units.reading() as uow:
        (found,) = await control_plane.identities.find_named(uow, [machine])
        subject = await control_plane.people.subject(uow, found.id)
        assert subject is not None
        return sorted(one.name for one in (await control_plane.identities.find_all(uow, subject.answerable)).values())


async def test_all_who_wrote_a_trust_decide_on_nothing_that_its_machine_asks(
    control_plane: ControlPlane, ground: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform,
    eve: dict[str, str],
) -> None:  # fmt: skip
    assert await barred(control_plane, "deploy-bot") == ["ada"]
    await wrote(anonymous, trust("shop-deploy", platform, **SHOP), eve)
    await applied(ground, trust("shop-deploy", platform, **SHOP, targets=["orders"]))
    assert await barred(control_plane, "deploy-bot") == ["ada", "admin", "eve"]
    assert (await ground.delete("/v1/workload-trusts/shop-deploy", headers={"if-match": "*"})).status_code == 204
    assert await barred(control_plane, "deploy-bot") == ["ada"]
    await applied(ground, trust("shop-deploy", platform, **SHOP, targets=["orders"]))
    assert await barred(control_plane, "deploy-bot") == ["ada", "admin"]


async def test_a_trust_lets_nobody_in_once_one_who_wrote_it_has_left_and_ends_what_it_let_in(
    control_plane: ControlPlane, ground: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform,
    eve: dict[str, str],
) -> None:  # fmt: skip
    await wrote(anonymous, trust("shop-deploy", platform, **SHOP), eve)
    await applied(ground, trust("shop-deploy", platform, **SHOP, lifetime="10m"))
    told = (await exchanged(anonymous, github(platform))).json()
    bearer = {"authorization": f"Bearer {told['access_token']}"}
    await left(control_plane, "eve")
    assert (await anonymous.get("/v1/session", headers=bearer)).status_code == 401
    assert (await exchanged(anonymous, github(platform))).json()["error"] == "invalid_grant"
    assert await causes(ground) == [
        "shop-deploy: eve, who wrote it, is disabled or gone; it lets nobody in until an admin applies it again"
    ]
    (ended,) = (await ground.get("/v1/audit", params={"kind": "identity.ended"})).json()["items"]
    assert ended["data"]["workload_trusts_stopped"] == ["shop-deploy"]


async def test_somebody_new_who_is_called_as_a_writer_was_brings_no_trust_back(
    control_plane: ControlPlane, ground: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform,
    eve: dict[str, str],
) -> None:  # fmt: skip
    document = trust("shop-deploy", platform, **SHOP)
    await wrote(anonymous, document, eve)
    assert (await ground.delete("/v1/identities/eve")).status_code == 204
    assert (await ground.post("/v1/identities", json={"name": "eve", "kind": "person"})).status_code == 201
    assert (await exchanged(anonymous, github(platform))).json()["error"] == "invalid_grant"
    (planned,) = (await ground.post("/v1/documents/plan", json={"documents": [document]})).json()["changes"]
    assert planned["diff"] == [{"path": "(who answers for it)", "before": "eve, gone", "after": "you"}]
    assert await wrote(ground, document, {}) == ["update"]
    assert (await exchanged(anonymous, github(platform))).status_code == 200
    assert await barred(control_plane, "deploy-bot") == ["ada", "admin"]


async def test_a_living_admin_who_applies_it_as_it_stands_takes_it_over(
    control_plane: ControlPlane, ground: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform,
    eve: dict[str, str],
) -> None:  # fmt: skip
    document = trust("shop-deploy", platform, **SHOP)
    assert await wrote(anonymous, document, eve) == ["create"]
    assert await wrote(anonymous, document, eve) == ["unchanged"]
    await left(control_plane, "eve")
    (planned,) = (await ground.post("/v1/documents/plan", json={"documents": [document]})).json()["changes"]
    assert planned["diff"] == [{"path": "(who answers for it)", "before": "eve, gone", "after": "you"}]
    assert await wrote(ground, document, {}) == ["update"]
    assert (await exchanged(anonymous, github(platform), "orders")).status_code == 200
    assert await wrote(ground, document, {}) == ["unchanged"]
    assert await barred(control_plane, "deploy-bot") == ["ada", "admin"]


async def test_the_report_of_access_shows_trusts_and_which_of_them_wait_for_somebody_living(
    control_plane: ControlPlane, ground: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform,
    eve: dict[str, str],
) -> None:  # fmt: skip
    await wrote(anonymous, trust("shop-deploy", platform, **SHOP), eve)
    await applied(ground, trust("shop-other", platform, **{**SHOP, "subject": "repo:acme/other:ref:refs/heads/main"}))
    assert (await exchanged(anonymous, github(platform))).status_code == 200
    await left(control_plane, "eve")
    report = (await ground.get("/v1/identities/report")).json()["items"]
    (bot,) = [one for one in report if one["name"] == "deploy-bot"]
    shown = [one for one in bot["things"] if one["kind"] == "workload-trust"]
    assert [(one["id"], one["description"], one["findings"]) for one in shown] == [
        ("shop-deploy", "github, written by eve", ["writer-gone"]),
        ("shop-other", "github, written by admin", []),
    ]
    assert [bool(one["last_used_at"]) for one in shown] == [True, False]
