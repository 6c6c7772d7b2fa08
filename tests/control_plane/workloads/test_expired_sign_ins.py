"""A workload's sign-in that has expired: nothing lives on by it, and what was asked for with it falls with its ground."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from control_plane.assembly import ControlPlane
from control_plane.kit.unit_of_work import SYSTEM
from control_plane.workloads import sign_in_rows
from tests.control_plane.conftest import ManualClock
from tests.control_plane.workloads.platforms import JWT, Platform, applied, document, exchanged, machine, trust

AGENT = {"subject": "agent-1", "identity": "deploy-bot", "single_use": False}
HELPER = {"subject": "agent-2", "identity": "helper", "single_use": False}
MINUTES = 61  # every sign-in of a workload is over by then


def bearer(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 200, answer.text
    return {"authorization": f"Bearer {answer.json()['access_token']}"}


async def stand(control_plane: ControlPlane) -> list[bool]:
    """Whether what was asked for with each sign-in stands, the newest sign-in first."""
    async with control_plane.units.reading() as uow:
        rows = await sign_in_rows.page(uow.session, None, 10)
        return [(await control_plane.people.sign_in(uow, row.id)).valid for row in rows]


async def test_what_was_asked_for_with_an_expired_sign_in_ends_with_its_trust_down_to_the_last_in_the_chain(
    control_plane: ControlPlane, ground: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform,
    clock: ManualClock,
) -> None:  # fmt: skip
    bots = document("Group", "bots", members=["deploy-bot", "helper"], roles=["requester"])
    trusts = [trust("agents", platform, **AGENT), trust("helpers", platform, **HELPER)]
    await applied(ground, machine("helper"), bots, *trusts)
    first = bearer(await exchanged(anonymous, platform.token("agent-1")))
    told = (await anonymous.post("/v1/acting-tokens", json={"actor": "helper"}, headers=first)).json()["token"]
    clock.advance(seconds=1)
    own = {"actor_token": platform.token("agent-2"), "actor_token_type": JWT}
    assert (await exchanged(anonymous, told, **own)).status_code == 200
    clock.advance(minutes=MINUTES)
    assert await stand(control_plane) == [True, True]
    await applied(ground, trust("agents", platform, **AGENT, lifetime="10m"))
    assert await stand(control_plane) == [False, False]


async def test_a_sign_in_never_outlives_the_secret_that_it_was_made_with(
    ground: httpx.AsyncClient, anonymous: httpx.AsyncClient, clock: ManualClock
) -> None:
    body = {"identity": "deploy-bot", "ttl_days": 1}
    secret = (await ground.post("/v1/client-credentials/secrets", json=body)).json()["secret"]
    clock.advance(hours=23, minutes=50)
    form = {"grant_type": "client_credentials", "client_id": "deploy-bot", "client_secret": secret}
    told = (await anonymous.post("/v1/token", data={**form, "audience": "orders"})).json()
    assert told["expires_in"] == 600


async def with_a_secret_of(control_plane: ControlPlane, client: httpx.AsyncClient, maker: Any) -> None:
    """deploy-bot signs in with a secret that this admin made for a day."""
    async with control_plane.units() as uow:
        token = (await control_plane.sign_ins.open(uow, maker, "cli")).token.reveal()
    body, theirs = {"identity": "deploy-bot", "ttl_days": 1}, {"authorization": f"Bearer {token}"}
    made = (await client.post("/v1/client-credentials/secrets", json=body, headers=theirs)).json()
    form = {"grant_type": "client_credentials", "client_id": "deploy-bot", "client_secret": made["secret"]}
    bearer(await client.post("/v1/token", data=form))


async def test_what_was_asked_for_by_an_expired_secret_ends_with_who_made_it(
    control_plane: ControlPlane, ground: httpx.AsyncClient, anonymous: httpx.AsyncClient, clock: ManualClock,
    person: Any,
) -> None:  # fmt: skip
    eve = await person("eve", "admin")
    await with_a_secret_of(control_plane, anonymous, eve)
    clock.advance(days=2)
    assert await stand(control_plane) == [True]
    async with control_plane.units() as uow:
        await control_plane.who.ending.end(uow, SYSTEM, eve.id, "left")
    assert await stand(control_plane) == [False]


async def test_what_was_asked_for_by_an_expired_secret_ends_when_its_machine_is_handed_over(
    control_plane: ControlPlane, ground: httpx.AsyncClient, anonymous: httpx.AsyncClient, clock: ManualClock,
    person: Any,
) -> None:  # fmt: skip
    eve, _ = await person("eve", "admin"), await person("lin")
    async with control_plane.units() as uow:
        await control_plane.identities.change(uow, SYSTEM, "deploy-bot", owner="eve")
    await with_a_secret_of(control_plane, anonymous, eve)
    clock.advance(days=2)
    assert await stand(control_plane) == [True]
    async with control_plane.units() as uow:
        await control_plane.identities.change(uow, SYSTEM, "deploy-bot", owner="lin")
    assert await stand(control_plane) == [False]


@pytest.mark.parametrize("how", ["handed over", "left"])
async def test_what_an_agent_asked_for_by_an_expired_key_ends_with_who_made_it(
    control_plane: ControlPlane, ground: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform,
    clock: ManualClock, person: Any, how: str,
) -> None:  # fmt: skip
    """By a token to act that was made with the key."""
    eve, _ = await person("eve", "admin"), await person("lin")
    bots = document("Group", "bots", members=["deploy-bot", "helper"], roles=["requester"])
    await applied(ground, machine("helper"), bots, trust("helpers", platform, **HELPER))
    async with control_plane.units() as uow:
        if how == "handed over":
            await control_plane.identities.change(uow, SYSTEM, "deploy-bot", owner="eve")
        token = (await control_plane.sign_ins.open(uow, eve, "cli")).token.reveal()
    theirs = {"authorization": f"Bearer {token}"}
    body = {"identity": "deploy-bot", "ttl_days": 1}
    made = await anonymous.post("/v1/service-account-keys", json=body, headers=theirs)
    key = {"authorization": f"Bearer {made.json()['key']}"}
    told = (await anonymous.post("/v1/acting-tokens", json={"actor": "helper"}, headers=key)).json()["token"]
    own = {"actor_token": platform.token("agent-2"), "actor_token_type": JWT}
    assert (await exchanged(anonymous, told, **own)).status_code == 200
    clock.advance(days=2)
    assert await stand(control_plane) == [True]
    async with control_plane.units() as uow:
        if how == "left":
            await control_plane.who.ending.end(uow, SYSTEM, eve.id, "left")
        else:
            await control_plane.identities.change(uow, SYSTEM, "deploy-bot", owner="lin")
    assert await stand(control_plane) == [False]
