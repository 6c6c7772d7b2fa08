"""Session roles are tested on the system's PostgreSQL and on the one of the bundled wheel, whose rules differ."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from control_plane.cli.demo.postgres import bundled_binaries
from tests.integration.postgres.accounts.world import World
from tests.support.postgres import PostgresServer, running_postgres

PREPARED = "max_prepared_transactions=20"


@pytest.fixture(scope="package", params=["system", "bundled"])
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    bundled = bundled_binaries() if request.param == "bundled" else None
    assert bundled or request.param == "system", "the demo's wheel is not installed: run `make setup`"
    with running_postgres(PREPARED, bin_folder=bundled, tls=bundled is None) as running:
        World.found(running)
        yield running


@pytest.fixture
async def world(server: PostgresServer) -> AsyncIterator[World]:
    made = await asyncio.to_thread(World, server)
    yield made
    await made.end()
