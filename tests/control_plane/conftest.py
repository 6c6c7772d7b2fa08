"""A whole control plane for every test, on SQLite and on PostgreSQL, with its clock in the test's hands.

`control_plane` is open (migrated, events on) but nothing runs by itself: no timers, no HTTP or gRPC server; `client_of("admin")` gives an HTTP client
signed in as a person with that role. `uow` is one open transaction, rolled back by nothing: it commits at the end.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI

from control_plane.app import create_app
from control_plane.assembly import ControlPlane
from control_plane.config import Settings
from control_plane.db.engine import Database, parse_url
from control_plane.db.migrate import migrate
from control_plane.identities.domain import Identity
from control_plane.kit import access
from control_plane.kit.unit_of_work import SYSTEM, UnitOfWork, Units

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
ROLES = tuple(access.ROLES)
_migrated: dict[str, str] = {}  # backend -> a migrated database to copy


class ManualClock:
    def __init__(self) -> None:
        self.instant = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.instant

    def advance(self, **length: float) -> None:
        self.instant += timedelta(**length)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """A migrated, empty database of the test's own."""
    if request.param == "sqlite":
        yield await _sqlite(tmp_path)
        return
    async for url in _postgres(request.getfixturevalue("postgres")):
        yield url


async def _sqlite(folder: Path) -> str:
    file = folder / "control-plane.sqlite3"
    if "sqlite" not in _migrated:
        await _migrate(f"sqlite:///{file}")
        kept = folder.parent / "migrated.sqlite3"
        shutil.copy(file, kept)
        _migrated["sqlite"] = str(kept)
    shutil.copy(_migrated["sqlite"], file)
    return f"sqlite:///{file}"


async def _postgres(server: Any) -> AsyncIterator[str]:
    if "postgresql" not in _migrated:
        name = server.fresh_database()
        await _migrate(server.url(name))
        _migrated["postgresql"] = name
    name = f"test_{id(object()):x}_{len(_migrated)}_{datetime.now(UTC):%H%M%S%f}"
    await _execute(server, f"CREATE DATABASE {name} TEMPLATE {_migrated['postgresql']}")
    yield server.url(name)
    await _execute(server, f"DROP DATABASE {name} WITH (FORCE)")


async def _execute(server: Any, statement: str) -> None:
    connection = await asyncpg.connect(server.url())
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _migrate(url: str) -> None:
    database = Database(parse_url(url))
    await migrate(database)
    await database.close()


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(
        state_dir=tmp_path / "state",
        database_url=database_url,
        public_url="https://assentry.example.org",
        deployment="test",
        grpc_address="127.0.0.1:0",
    )


@pytest.fixture
async def control_plane(settings: Settings, clock: ManualClock) -> AsyncIterator[ControlPlane]:
    made = ControlPlane(settings, clock, QUICK)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def units(control_plane: ControlPlane) -> Units:
    return control_plane.units


@pytest.fixture
async def uow(units: Units) -> AsyncIterator[UnitOfWork]:
    async with units() as opened:
        yield opened


@pytest.fixture
def app(control_plane: ControlPlane) -> FastAPI:
    return create_app(control_plane)


@pytest.fixture
async def anonymous(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with _client(app) as client:
        yield client


def _client(app: FastAPI, **headers: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="https://assentry.example.org", headers=headers)


@pytest.fixture
def person(control_plane: ControlPlane) -> Callable[..., Awaitable[Identity]]:
    """Makes a person, in a group of every role that is named."""

    async def make(name: str, *roles: str) -> Identity:
        async with control_plane.units() as uow:
            await control_plane.identities.create(uow, SYSTEM, name=name, kind="person", email=f"{name}@example.org")
            for role in roles:
                group = await control_plane.identities.find_group(uow, f"{role}s")
                members = [*(group.members if group else ()), name]
                await control_plane.identities.put_group(uow, SYSTEM, f"{role}s", roles=[role], members=members)
            return await control_plane.identities.named(uow, name)

    return make


@pytest.fixture
async def client_of(
    app: FastAPI, control_plane: ControlPlane, person: Callable[..., Awaitable[Identity]]
) -> AsyncIterator[Callable[[str], Awaitable[httpx.AsyncClient]]]:
    """An HTTP client signed in as a person who has one role; the person is called as the role."""
    clients: dict[str, httpx.AsyncClient] = {}

    async def make(role: str) -> httpx.AsyncClient:
        if role not in clients:
            identity = await person(role, role)
            async with control_plane.units() as uow:
                opened = await control_plane.sign_ins.open(uow, identity, "cli")
            clients[role] = _client(app, authorization=f"Bearer {opened.token.reveal()}")
        return clients[role]

    yield make
    for client in clients.values():
        await client.aclose()


@pytest.fixture
async def browser_of(
    app: FastAPI, control_plane: ControlPlane, client_of: Callable[[str], Awaitable[httpx.AsyncClient]]
) -> AsyncIterator[Callable[[str], Awaitable[httpx.AsyncClient]]]:
    """The same person at the console: with a cookie, and with what its forms send back."""
    browsers: list[httpx.AsyncClient] = []

    async def make(role: str) -> httpx.AsyncClient:
        await client_of(role)
        async with control_plane.units() as uow:
            identity = await control_plane.identities.named(uow, role)
            opened = await control_plane.sign_ins.open(uow, identity, "console")
        cookie = f"{control_plane.cookies.name}={opened.token.reveal()}"
        browsers.append(_client(app, cookie=cookie, **{"x-csrf-token": opened.csrf}))
        return browsers[-1]

    yield make
    for browser in browsers:
        await browser.aclose()


@pytest.fixture
async def admin(client_of: Callable[[str], Awaitable[httpx.AsyncClient]]) -> httpx.AsyncClient:
    return await client_of("admin")


@pytest.fixture
async def reviewer(client_of: Callable[[str], Awaitable[httpx.AsyncClient]]) -> httpx.AsyncClient:
    return await client_of("reviewer")


@pytest.fixture
async def auditor(client_of: Callable[[str], Awaitable[httpx.AsyncClient]]) -> httpx.AsyncClient:
    return await client_of("auditor")


@pytest.fixture
async def requester(client_of: Callable[[str], Awaitable[httpx.AsyncClient]]) -> httpx.AsyncClient:
    return await client_of("requester")


@pytest.fixture
async def machine(
    app: FastAPI, control_plane: ControlPlane, admin: httpx.AsyncClient
) -> AsyncIterator[httpx.AsyncClient]:
    """A machine called `bot`, owned by `admin`, with every role there is, by its service-account key."""
    bot = {"name": "bot", "kind": "machine", "owner": "admin", "purpose": "is tested with"}
    assert (await admin.post("/v1/identities", json=bot)).is_success
    group = {"roles": list(ROLES), "members": ["bot"]}
    assert (await admin.put("/v1/groups/machines", json=group)).is_success
    made = await admin.post("/v1/service-account-keys", json={"identity": "bot"})
    async with _client(app, authorization=f"Bearer {made.json()['key']}") as client:
        yield client
