"""Somebody with a machine that has a key, on the control plane of every test."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI

from control_plane.assembly import ControlPlane
from control_plane.identities.domain import Identity


class Bearer:
    """Calls with one bearer token."""

    def __init__(self, client: httpx.AsyncClient, token: str) -> None:
        self._client, self._headers = client, {"authorization": f"Bearer {token}"}

    async def get(self, path: str, **query: str) -> httpx.Response:
        return await self._client.get(path, params=query, headers=self._headers)

    async def post(self, path: str, **body: object) -> httpx.Response:
        return await self._client.post(path, json=body, headers=self._headers)


async def identity(control_plane: ControlPlane, name: str) -> Identity:
    async with control_plane.units.reading() as uow:
        return await control_plane.identities.named(uow, name)


async def signed_in(anonymous: httpx.AsyncClient, control_plane: ControlPlane, name: str) -> Bearer:
    who = await identity(control_plane, name)
    async with control_plane.units() as uow:
        opened = await control_plane.sign_ins.open(uow, who, "cli")
    return Bearer(anonymous, opened.token.reveal())


@pytest.fixture
async def key(admin: httpx.AsyncClient) -> dict[str, str]:
    """Of lin's machine `bot`, which may connect: its id and the key."""
    assert (await admin.post("/v1/identities", json={"name": "lin", "kind": "person"})).is_success
    bot = {"name": "bot", "kind": "machine", "owner": "lin", "purpose": "migrates"}
    assert (await admin.post("/v1/identities", json=bot)).is_success
    group = {"roles": ["requester"], "members": ["bot", "lin"]}
    assert (await admin.put("/v1/groups/askers", json=group)).is_success
    made = await admin.post("/v1/service-account-keys", json={"identity": "bot", "description": "=CI", "ttl_days": 365})
    found: dict[str, str] = made.json()
    return found


@pytest.fixture
async def lin(app: FastAPI, anonymous: httpx.AsyncClient, control_plane: ControlPlane, key: dict[str, str]) -> Bearer:
    """The owner, signed in."""
    assert app
    assert key
    return await signed_in(anonymous, control_plane, "lin")
