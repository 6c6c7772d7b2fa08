"""A person in the console with a security key in software; every step of both ceremonies in one line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from control_plane.assembly import ControlPlane
from control_plane.audit import repository as audit
from control_plane.kit.unit_of_work import Units
from tests.control_plane.conftest import ManualClock
from tests.support.authenticator import SoftwareKey

ORIGIN = "https://assentry.example.org"
REGISTRATIONS, CHALLENGES = "/v1/security-keys/registrations", "/v1/security-keys/challenges"


def kind_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("urn:assentry:problem:")


@dataclass
class Console:
    """One sign-in of one person in a browser."""

    client: httpx.AsyncClient
    units: Units
    sign_in: str

    async def post(self, path: str, body: Any = None) -> httpx.Response:
        return await self.client.post(path, json=body)

    async def options(self, path: str, body: Any = None) -> tuple[str, dict[str, Any]]:
        answer = await self.post(path, body)
        assert answer.status_code == 201, answer.text
        return answer.json()["challenge_id"], answer.json()["public_key"]

    async def register(self, key: SoftwareKey, name: str = "blue") -> httpx.Response:
        challenge, options = await self.options("/v1/security-keys/registrations")
        body = {"name": name, "challenge_id": challenge, "credential": key.make(options)}
        return await self.post("/v1/security-keys", body)

    async def prove(self, key: SoftwareKey, **response: Any) -> httpx.Response:
        challenge, options = await self.options("/v1/security-keys/challenges")
        return await self.prove_with(challenge, key.sign(options, **response))

    async def prove_with(self, challenge: str, credential: dict[str, Any]) -> httpx.Response:
        evidence = {"challenge_id": challenge, "credential": credential}
        return await self.post("/v1/session/reauthenticate", {"method": "security-key", "evidence": evidence})

    async def proven_at(self) -> str:
        return str((await self.client.get("/v1/session")).json()["authenticated_at"])

    async def audited(self, kind: str) -> list[Any]:
        """Newest first."""
        async with self.units.reading() as uow:
            rows = await audit.newest(uow.session, audit.Filter(kind), None, 100)
        return [audit.entry_of(row) for row in rows]


@pytest.fixture
async def console_of(app: FastAPI, control_plane: ControlPlane, person: Any) -> AsyncIterator[Any]:
    """Signs somebody in to the console, as often as it is asked to; makes them when they are not there."""
    opened: list[httpx.AsyncClient] = []

    async def make(name: str = "ada", *roles: str) -> Console:
        async with control_plane.units.reading() as uow:
            known = await control_plane.identities.find_named(uow, [name])
        identity = known[0] if known else await person(name, *(roles or ("reviewer",)))
        async with control_plane.units() as uow:
            sign_in = await control_plane.sign_ins.open(uow, identity, "console")
        cookie = f"{control_plane.cookies.name}={sign_in.token.reveal()}"
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        headers = {"cookie": cookie, "x-csrf-token": sign_in.csrf}
        client = httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=headers)
        opened.append(client)
        return Console(client, control_plane.units, sign_in.token.reveal())

    yield make
    for client in opened:
        await client.aclose()


@pytest.fixture
async def ada(console_of: Any) -> Console:
    return await console_of("ada")


@pytest.fixture
def key() -> SoftwareKey:
    return SoftwareKey(ORIGIN)


@pytest.fixture
async def keyed(ada: Console, key: SoftwareKey, clock: ManualClock) -> Console:
    """Ada with `key`, registered ten minutes ago."""
    assert (await ada.register(key)).status_code == 201
    clock.advance(minutes=10)
    return ada
