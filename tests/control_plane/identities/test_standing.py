"""What ends between the moment a request is authenticated and the moment it writes: nothing comes of the request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import Request

from control_plane.assembly import ControlPlane
from control_plane.identities.domain import Identity
from control_plane.identities.sign_ins import RequestAuthenticator
from control_plane.identities.tables import CredentialRow
from control_plane.kit.access import Principal
from control_plane.kit.unit_of_work import SYSTEM, UnitOfWork
from control_plane.workloads.opening import Opening
from data_plane.identifiers import CredentialId
from tests.control_plane.conftest import ManualClock
from tests.control_plane.workloads.platforms import GROUND, JWT, Platform, applied, exchanged, trust

End = Callable[[UnitOfWork], Awaitable[None]]
SSH_KEY = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
WRITES = {
    "/v1/tokens": {},
    "/v1/ssh-certificates": {"public_key": SSH_KEY},
    "/v1/acting-tokens": {"actor": "deploy-bot"},
    "/v1/api-tokens": {"name": "x", "permissions": ["request"], "ttl_seconds": 3600},
    "/v1/service-account-keys": {"identity": "deploy-bot"},
    "/v1/client-credentials/secrets": {"identity": "deploy-bot"},
    "/v1/scim-clients/corp/tokens": {},
}


@pytest.fixture
async def ground(admin: httpx.AsyncClient) -> httpx.AsyncClient:
    await applied(admin, *GROUND)
    made = await admin.post("/v1/scim-clients", json={"name": "corp"})
    assert made.status_code == 201, made.text
    return admin


@pytest.fixture
def platform(clock: ManualClock) -> Platform:
    return Platform("https://agents.example", clock.now)


@pytest.fixture
def afterwards(control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> Callable[[End], None]:
    """Something happens when the next request has been authenticated, before it writes."""

    def happens(end: End) -> None:
        before, pending = RequestAuthenticator.authenticate, [end]

        async def authenticate(self: RequestAuthenticator, request: Request) -> Principal | None:
            found = await before(self, request)
            while pending:
                async with control_plane.units() as uow:
                    await pending.pop()(uow)
            return found

        monkeypatch.setattr(RequestAuthenticator, "authenticate", authenticate)

    return happens


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def signed_in(control_plane: ControlPlane, who: Identity) -> str:
    async with control_plane.units() as uow:
        return (await control_plane.sign_ins.open(uow, who, "cli")).token.reveal()


@pytest.mark.usefixtures("ground")
@pytest.mark.parametrize("path", WRITES)
@pytest.mark.parametrize("how", ["ended", "signed out"])
async def test_nobody_who_has_just_gone_gets_anything(
    control_plane: ControlPlane,
    anonymous: httpx.AsyncClient,
    person: Any,
    afterwards: Callable[[End], None],
    path: str,
    how: str,
) -> None:
    lin = await person("lin", "admin")
    token, ending = await signed_in(control_plane, lin), control_plane.who.ending

    async def end(uow: UnitOfWork) -> None:
        if how == "ended":
            await ending.end(uow, SYSTEM, lin.id, "left")
        else:
            await ending.sign_out(uow, SYSTEM, lin.id, "signed out")

    afterwards(end)
    answer = await anonymous.post(path, json=WRITES[path], headers=bearer(token))
    assert answer.status_code == 401, answer.text


async def test_a_key_that_was_just_revoked_makes_no_credential(
    control_plane: ControlPlane, ground: httpx.AsyncClient, anonymous: httpx.AsyncClient, afterwards: Any
) -> None:
    key = (await ground.post("/v1/service-account-keys", json={"identity": "deploy-bot"})).json()
    async with control_plane.units.reading() as uow:
        by = (await control_plane.identities.named(uow, "deploy-bot")).principal(CredentialId("x"), "key", uow.now)
    afterwards(lambda uow: control_plane.credentials.revoke_key(uow, by, key["id"]))
    answer = await anonymous.post("/v1/tokens", json={}, headers=bearer(key["key"]))
    assert answer.status_code == 401, answer.text


async def test_a_machine_whose_owner_has_just_gone_makes_no_credential(
    control_plane: ControlPlane, ground: httpx.AsyncClient, anonymous: httpx.AsyncClient, afterwards: Any
) -> None:
    key = (await ground.post("/v1/service-account-keys", json={"identity": "deploy-bot"})).json()["key"]
    async with control_plane.units.reading() as uow:
        ada = await control_plane.identities.named(uow, "ada")
    afterwards(lambda uow: control_plane.who.ending.end(uow, SYSTEM, ada.id, "left"))
    assert (await anonymous.post("/v1/tokens", json={}, headers=bearer(key))).status_code == 401


async def test_an_api_token_that_was_just_revoked_makes_no_credential(
    control_plane: ControlPlane, ground: httpx.AsyncClient, anonymous: httpx.AsyncClient, person: Any, afterwards: Any
) -> None:
    lin = await person("lin", "requester")
    body = {"name": "x", "permissions": ["request"], "ttl_seconds": 3600}
    mine = bearer(await signed_in(control_plane, lin))
    made = (await ground.post("/v1/api-tokens", json=body, headers=mine)).json()
    by = lin.principal(CredentialId("x"), "cli", control_plane.clock.now())
    afterwards(lambda uow: control_plane.who.api_tokens.revoke(uow, by, made["id"]))
    assert (await anonymous.post("/v1/tokens", json={}, headers=bearer(made["token"]))).status_code == 401


async def test_a_workload_whose_trust_was_just_deleted_makes_no_credential(
    control_plane: ControlPlane,
    ground: httpx.AsyncClient,
    anonymous: httpx.AsyncClient,
    platform: Platform,
    afterwards: Any,
) -> None:
    await applied(ground, trust("bots", platform, subject="agent-1", identity="deploy-bot", single_use=False))
    token = (await exchanged(anonymous, platform.token("agent-1"))).json()["access_token"]
    afterwards(lambda uow: control_plane.who.workloads.kind.delete(uow, SYSTEM, "bots"))
    assert (await anonymous.post("/v1/tokens", json={}, headers=bearer(token))).status_code == 401


@pytest.mark.parametrize("what", ["person behind", "trust"])
async def test_what_ends_during_an_exchange_ends_what_the_exchange_gives(
    control_plane: ControlPlane,
    ground: httpx.AsyncClient,
    anonymous: httpx.AsyncClient,
    platform: Platform,
    person: Any,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    await applied(ground, trust("bots", platform, subject="agent-1", identity="deploy-bot", single_use=False))
    lin = await person("lin", "requester")
    mine = bearer(await signed_in(control_plane, lin))
    acting = (await anonymous.post("/v1/acting-tokens", json={"actor": "deploy-bot"}, headers=mine)).json()["token"]
    before, ends = Opening.open, []

    async def end() -> None:
        async with control_plane.units() as uow:
            if what == "trust":
                await control_plane.who.workloads.kind.delete(uow, SYSTEM, "bots")
            else:
                await control_plane.who.ending.end(uow, SYSTEM, lin.id, "left")

    async def opened(self: Opening, *more: Any) -> Any:
        """Another control plane ends it now, if it can: it must come before all of this, or after it."""
        ends.append(asyncio.create_task(end()))
        await asyncio.wait(ends, timeout=0.5)
        return await before(self, *more)

    monkeypatch.setattr(Opening, "open", opened)
    by = {"actor_token": platform.token("agent-1"), "actor_token_type": JWT}
    answer = await exchanged(anonymous, acting, "orders", **by)
    await asyncio.gather(*ends)
    assert answer.status_code == 200, answer.text
    async with control_plane.units.reading() as uow:
        row = await uow.session.get(CredentialRow, answer.json()["credential_id"])
        assert row is not None
        assert row.revoked_at is not None
