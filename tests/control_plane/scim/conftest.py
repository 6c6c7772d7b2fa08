"""A SCIM client called `corp`, whose external ids are subjects of the identity provider `corp`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from control_plane.assembly import ControlPlane
from control_plane.identities.domain import Identity

BASE = "https://assentry.example.org/scim/v2/corp"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
PROVIDER = {
    "apiVersion": "assentry.dev/v1",
    "kind": "IdentityProvider",
    "metadata": {"name": "corp"},
    "spec": {"oidc": {"issuer": "https://id.example.org", "client_id": "assentry"}},
}


class Pusher:
    """What an identity provider does, in a word each."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def user(self, user_name: str, **more: object) -> dict[str, object]:
        answer = await self.http.post("/Users", json={"schemas": [USER], "userName": user_name, **more})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def group(self, display_name: str, *members: str, **more: object) -> dict[str, object]:
        sent = {"schemas": [GROUP], "displayName": display_name, "members": [{"value": one} for one in members], **more}
        answer = await self.http.post("/Groups", json=sent)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def patch(self, path: str, *operations: dict[str, object]) -> httpx.Response:
        return await self.http.patch(path, json={"schemas": [PATCH], "Operations": list(operations)})

    async def find(self, path: str, **query: object) -> dict[str, object]:
        answer = await self.http.get(path, params={name: str(value) for name, value in query.items()})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


@pytest.fixture
async def corp(admin: httpx.AsyncClient) -> str:
    """The name of the client, whose provider is there."""
    applied = await admin.post("/v1/documents/apply", json={"documents": [PROVIDER]})
    assert applied.is_success, applied.text
    made = await admin.post("/v1/scim-clients", json={"name": "corp", "provider": "corp"})
    assert made.status_code == 201, made.text
    return "corp"


@pytest.fixture
async def token(admin: httpx.AsyncClient, corp: str) -> str:
    made = await admin.post(f"/v1/scim-clients/{corp}/tokens", json={})
    assert made.status_code == 201, made.text
    return str(made.json()["token"])


def scim_client(app: FastAPI, token: str, base: str = BASE) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    headers = {"authorization": f"Bearer {token}", "content-type": "application/scim+json"}
    return httpx.AsyncClient(transport=transport, base_url=base, headers=headers)


@pytest.fixture
async def pusher(app: FastAPI, token: str) -> AsyncIterator[Pusher]:
    async with scim_client(app, token) as http:
        yield Pusher(http)


async def identity_of(control_plane: ControlPlane, name: str) -> Identity:
    async with control_plane.units.reading() as uow:
        return await control_plane.identities.named(uow, name)


async def audited(admin: httpx.AsyncClient, kind: str) -> list[dict[str, object]]:
    """Oldest first."""
    answer = await admin.get("/v1/audit", params={"kind": kind, "limit": 100})
    assert answer.is_success, answer.text
    return list(answer.json()["items"])[::-1]
