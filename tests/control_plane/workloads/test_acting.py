"""Acting on behalf of somebody: the chain is kept, shown and barred, and ends with any of those in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from control_plane.assembly import ControlPlane
from control_plane.config import Settings
from control_plane.identities.tables import CredentialRow, ExternalAccountRow
from tests.control_plane.conftest import ManualClock
from tests.control_plane.workloads.platforms import (
    JWT,
    Platform,
    applied,
    causes,
    document,
    exchanged,
    machine,
    trust,
)

AGENT = {"subject": "agent-1", "identity": "assistant", "single_use": False}
BOTS = document("Group", "bots", members=["assistant", "helper"], roles=["requester"])


@pytest.fixture
def platform(clock: ManualClock) -> Platform:
    return Platform("https://agents.example", clock.now)


@pytest.fixture
async def agents(ground: httpx.AsyncClient, platform: Platform) -> httpx.AsyncClient:
    """The admin; `assistant` and `helper` are agents of one platform, owned by ada and by the admin."""
    await applied(
        ground,
        machine("assistant"),
        machine("helper", owner="admin"),
        BOTS,
        trust("assistants", platform, **AGENT),
        trust("helpers", platform, **{**AGENT, "subject": "agent-2", "identity": "helper"}),
    )
    return ground


async def delegated(client: httpx.AsyncClient, actor: str, **more: Any) -> dict[str, Any]:
    made = await client.post("/v1/acting-tokens", json={"actor": actor, **more})
    assert made.status_code == 201, made.text
    return dict(made.json())


async def acted(client: httpx.AsyncClient, token: str, own: str, *targets: str) -> httpx.Response:
    return await exchanged(client, token, *targets, actor_token=own, actor_token_type=JWT)


def bearer(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 200, answer.text
    return {"authorization": f"Bearer {answer.json()['access_token']}"}


async def credential(control_plane: ControlPlane, credential_id: str) -> CredentialRow:
    async with control_plane.units.reading() as uow:
        return await uow.session.get_one(CredentialRow, credential_id)


async def barred(control_plane: ControlPlane, credential_id: str) -> list[str]:
    """Names of those who may not decide on what is asked with it."""
    async with control_plane.units.reading() as uow:
        facts = await control_plane.people.credential(uow, credential_id)
        assert facts is not None
        return sorted(one.name for one in (await control_plane.identities.find_all(uow, facts.owner_ids)).values())


async def test_a_person_lets_an_agent_act_and_the_credential_says_so(
    agents: httpx.AsyncClient, requester: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform,
    control_plane: ControlPlane,
):  # fmt: skip
    token = (await delegated(requester, "assistant"))["token"]
    told = (await acted(anonymous, token, platform.token("agent-1"), "orders")).json()
    row = await credential(control_plane, told["credential_id"])
    assert [(one["name"], one["kind"]) for one in row.chain] == [("requester", "person")]
    assert row.identity_id == (await agents.get("/v1/identities/assistant")).json()["id"]
    (listed,) = (await agents.get("/v1/workload-sign-ins")).json()["items"]
    assert (listed["identity"], [one["name"] for one in listed["on_behalf_of"]]) == ("assistant", ["requester"])


async def test_a_chain_of_person_agent_and_sub_agent_bars_everybody_in_it_and_their_owners(
    agents: httpx.AsyncClient, requester: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform,
    control_plane: ControlPlane,
):  # fmt: skip
    first = (await delegated(requester, "assistant"))["token"]
    assistant = bearer(await acted(anonymous, first, platform.token("agent-1")))
    second = await anonymous.post("/v1/acting-tokens", json={"actor": "helper"}, headers=assistant)
    assert [one["name"] for one in second.json()["on_behalf_of"]] == ["requester", "assistant"]
    told = (await acted(anonymous, second.json()["token"], platform.token("agent-2"), "orders")).json()
    row = await credential(control_plane, told["credential_id"])
    assert [one["name"] for one in row.chain] == ["requester", "assistant"]
    assert await barred(control_plane, told["credential_id"]) == ["ada", "admin", "assistant", "requester"]


async def test_an_acting_token_reaches_no_further_than_what_its_maker_came_with(
    agents: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform
):
    await applied(agents, trust("assistants", platform, **AGENT, targets=["orders"]))
    assistant = bearer(await exchanged(anonymous, platform.token("agent-1")))
    made = (await anonymous.post("/v1/acting-tokens", json={"actor": "helper"}, headers=assistant)).json()
    assert made["targets"] == ["orders"]
    beyond = await acted(anonymous, made["token"], platform.token("agent-2"), "billing")
    assert beyond.json()["error"] == "invalid_target"
    helper = bearer(await acted(anonymous, made["token"], platform.token("agent-2")))
    assert (await anonymous.post("/v1/tokens", json={"targets": ["billing"]}, headers=helper)).status_code == 422
    assert (await anonymous.post("/v1/tokens", json={"targets": ["orders"]}, headers=helper)).status_code == 201


async def test_an_acting_token_never_outlives_the_key_or_the_sign_in_that_it_was_made_with(
    agents: httpx.AsyncClient, requester: httpx.AsyncClient, anonymous: httpx.AsyncClient, clock: ManualClock,
    settings: Settings,
):  # fmt: skip
    longest = {"ttl_seconds": 8 * 3600}
    signed_in_at, hour = clock.now(), timedelta(hours=1)
    clock.advance(hours=settings.session_lifetime / hour - 1)
    by_sign_in = await delegated(requester, "assistant", **longest)
    assert datetime.fromisoformat(by_sign_in["expires_at"]) == signed_in_at + settings.session_lifetime
    made = (await agents.post("/v1/service-account-keys", json={"identity": "deploy-bot", "ttl_days": 1})).json()
    clock.advance(hours=23)
    key = {"authorization": f"Bearer {made['key']}"}
    by_key = await anonymous.post("/v1/acting-tokens", json={"actor": "assistant", **longest}, headers=key)
    assert by_key.json()["expires_at"] == made["expires_at"]


async def test_who_could_have_acted_as_a_machine_in_the_chain_is_barred_too(
    agents: httpx.AsyncClient, requester: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform,
    control_plane: ControlPlane, person: Callable[..., Awaitable[Any]],
):  # fmt: skip
    eve = await person("eve", "admin")
    async with control_plane.units() as uow:
        token = (await control_plane.sign_ins.open(uow, eve, "cli")).token.reveal()
    hers, body = {"authorization": f"Bearer {token}"}, {"identity": "assistant"}
    assert (await anonymous.post("/v1/client-credentials/secrets", json=body, headers=hers)).status_code == 201
    first = (await delegated(requester, "assistant"))["token"]
    assistant = bearer(await acted(anonymous, first, platform.token("agent-1")))
    second = (await anonymous.post("/v1/acting-tokens", json={"actor": "helper"}, headers=assistant)).json()["token"]
    told = (await acted(anonymous, second, platform.token("agent-2"), "orders")).json()
    assert await barred(control_plane, told["credential_id"]) == ["ada", "admin", "assistant", "eve", "requester"]


async def test_an_acting_token_is_no_credential_and_nobody_elses(
    agents: httpx.AsyncClient, requester: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform
):
    token = (await delegated(requester, "assistant"))["token"]
    assert (await anonymous.get("/v1/session", headers={"authorization": f"Bearer {token}"})).status_code == 401
    assert (await exchanged(anonymous, token, "orders")).json()["error"] == "invalid_grant"
    assert (await acted(anonymous, token, platform.token("agent-2"), "orders")).json()["error"] == "invalid_grant"
    assert (await acted(anonymous, f"{token}x", platform.token("agent-1"))).json()["error"] == "invalid_grant"
    assert (await acted(anonymous, token, platform.token("agent-3"))).json()["error"] == "invalid_grant"


async def test_taking_it_back_ends_all_that_stands_on_it_down_to_the_last_in_the_chain(
    agents: httpx.AsyncClient, requester: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform,
    control_plane: ControlPlane,
):  # fmt: skip
    made = await delegated(requester, "assistant")
    assistant = bearer(await acted(anonymous, made["token"], platform.token("agent-1")))
    second = (await anonymous.post("/v1/acting-tokens", json={"actor": "helper"}, headers=assistant)).json()["token"]
    told = (await acted(anonymous, second, platform.token("agent-2"), "orders")).json()
    assert (await requester.delete(f"/v1/acting-tokens/{made['id']}")).status_code == 204
    assert (await anonymous.get("/v1/session", headers=assistant)).status_code == 401
    assert (await acted(anonymous, second, platform.token("agent-2"))).status_code == 400
    async with control_plane.units.reading() as uow:
        assert (await control_plane.identities.snapshot(uow)).revoked_credentials == (told["credential_id"],)
    assert (await requester.get("/v1/acting-tokens")).json() == []


async def test_the_end_of_a_person_ends_what_acts_on_their_behalf(
    agents: httpx.AsyncClient, requester: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform,
    control_plane: ControlPlane,
):  # fmt: skip
    token = (await delegated(requester, "assistant"))["token"]
    held = bearer(await acted(anonymous, token, platform.token("agent-1")))
    told = (await acted(anonymous, token, platform.token("agent-1"), "orders")).json()
    for_itself = bearer(await exchanged(anonymous, platform.token("agent-1")))
    done = await agents.patch("/v1/identities/requester", json={"disabled": True}, headers={"if-match": "*"})
    assert done.status_code == 200, done.text
    assert (await anonymous.get("/v1/session", headers=held)).status_code == 401
    assert (await anonymous.get("/v1/session", headers=for_itself)).status_code == 200
    assert (await acted(anonymous, token, platform.token("agent-1"))).status_code == 400
    async with control_plane.units.reading() as uow:
        assert told["credential_id"] in (await control_plane.identities.snapshot(uow)).revoked_credentials


async def test_a_trust_that_demands_a_person_lets_nobody_in_alone(
    agents: httpx.AsyncClient, requester: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform
):
    await applied(agents, trust("assistants", platform, **AGENT, on_behalf="required"))
    assert (await exchanged(anonymous, platform.token("agent-1"), "orders")).json()["error"] == "invalid_grant"
    token = (await delegated(requester, "assistant"))["token"]
    assert (await acted(anonymous, token, platform.token("agent-1"), "orders")).status_code == 200


async def test_a_workload_acts_for_another_only_where_its_trust_says_so_and_reaches_no_further(
    agents: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform, control_plane: ControlPlane
):
    assert (await acted(anonymous, platform.token("agent-1"), platform.token("agent-2"))).status_code == 400
    assert "none of its `actors`" in (await causes(agents))[-1]
    await applied(agents, trust("assistants", platform, **AGENT, actors=["helper"], targets=["orders"]))
    told = await acted(anonymous, platform.token("agent-1"), platform.token("agent-2"), "orders")
    row = await credential(control_plane, told.json()["credential_id"])
    assert [one["name"] for one in row.chain] == ["assistant"]
    beyond = await acted(anonymous, platform.token("agent-1"), platform.token("agent-2"), "billing")
    assert beyond.json()["error"] == "invalid_target"


async def test_nobody_acts_for_themselves_or_in_a_circle(
    agents: httpx.AsyncClient, requester: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform
):
    assert (await requester.post("/v1/acting-tokens", json={"actor": "ada"})).status_code == 422
    assert (await requester.post("/v1/acting-tokens", json={"actor": "nobody"})).status_code == 404
    first = (await delegated(requester, "assistant"))["token"]
    assistant = bearer(await acted(anonymous, first, platform.token("agent-1")))
    itself = await anonymous.post("/v1/acting-tokens", json={"actor": "assistant"}, headers=assistant)
    assert itself.status_code == 422
    second = (await anonymous.post("/v1/acting-tokens", json={"actor": "helper"}, headers=assistant)).json()["token"]
    helper = bearer(await acted(anonymous, second, platform.token("agent-2")))
    back = await anonymous.post("/v1/acting-tokens", json={"actor": "assistant"}, headers=helper)
    assert back.status_code == 422


async def test_an_issuers_own_word_of_who_acts_for_whom_is_kept_and_linked_people_are_barred(
    agents: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform, control_plane: ControlPlane,
    person: Callable[..., Awaitable[Any]],
):  # fmt: skip
    lin = await person("lin", "reviewer")
    provider = {"oidc": {"issuer": platform.issuer, "client_id": "assentry"}}
    await applied(agents, document("IdentityProvider", "corp", **provider))
    async with control_plane.units() as uow:
        at = uow.now
        account = {"provider": "corp", "subject": "u-42", "identity_id": lin.id, "created_at": at, "last_used_at": at}
        uow.session.add(ExternalAccountRow(**account))
    act = {"sub": "agent-1", "act": {"sub": "planner"}}
    assert (await exchanged(anonymous, platform.token("u-42", act=act), "orders")).status_code == 400
    await applied(agents, trust("assistants", platform, **AGENT, act=True))
    told = (await exchanged(anonymous, platform.token("u-42", act=act), "orders")).json()
    row = await credential(control_plane, told["credential_id"])
    assert [one["name"] for one in row.chain] == ["lin", f"planner ({platform.issuer})"]
    assert "lin" in await barred(control_plane, told["credential_id"])
