"""The command line and the browser of a device sign-in, as HTTP clients of a control plane in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from control_plane.assembly import ControlPlane
from control_plane.identities.domain import Identity
from control_plane.identities.sign_ins import Proof

CLIENT = {"client_id": "assentry-cli"}
GRANT = {**CLIENT, "grant_type": "urn:ietf:params:oauth:grant-type:device_code"}
COOKIE = "__Host-assentry"


async def begun(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.post("/v1/device", data=CLIENT)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def polled(client: httpx.AsyncClient, asked: Mapping[str, Any]) -> httpx.Response:
    return await client.post("/v1/device/token", data={**GRANT, "device_code": asked["device_code"]})


async def error_of(client: httpx.AsyncClient, asked: Mapping[str, Any]) -> str:
    answer = await polled(client, asked)
    assert answer.status_code == 400, answer.text
    return str(answer.json()["error"])


class Browser:
    """Signed in to the console as one person."""

    def __init__(self, control_plane: ControlPlane, client: httpx.AsyncClient) -> None:
        self._control_plane = control_plane
        self._client = client
        self.cookie = ""
        self.csrf = ""

    async def sign_in(self, identity: Identity, proof: Proof | None = None) -> None:
        async with self._control_plane.units() as uow:
            given = {} if proof is None else {"proof": proof}
            opened = await self._control_plane.sign_ins.open(uow, identity, "console", **given)
        self.cookie, self.csrf = opened.token.reveal(), opened.csrf

    async def post(self, path: str, **fields: str) -> httpx.Response:
        sent = {"csrf_token": self.csrf, **fields}
        return await self._client.post(path, data=sent, headers={"cookie": f"{COOKIE}={self.cookie}"})

    async def get(self, path: str) -> httpx.Response:
        return await self._client.get(path, headers={"cookie": f"{COOKIE}={self.cookie}"})

    async def decide(self, asked: Mapping[str, Any], decision: str = "confirm") -> httpx.Response:
        return await self.post("/device/decision", code=asked["user_code"], decision=decision)
