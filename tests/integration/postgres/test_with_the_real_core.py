"""The same endpoint with the real core, statements, catalogue and masking, and a gate that allows everything."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import psycopg
import pytest

from data_plane.protocols.interface import Process
from data_plane.protocols.postgres.service import PostgresService
from data_plane.runtime.listener import Listener
from tests.integration.postgres.test_through_the_gateway import dsn, psql, started, through, until, until_running
from tests.support.postgres import PostgresServer
from tests.support.relaying import Relay


@pytest.fixture
async def relay(postgres: PostgresServer, tmp_path: Path) -> AsyncIterator[Relay]:
    async with through(postgres, folder=tmp_path) as running:
        yield running
    await until(lambda: running.sessions.count == 0)


async def test_psql_and_drivers_work(relay: Relay) -> None:
    assert await psql(relay.port, "select 6*7") == (0, "42\n", "")
    connection = await asyncpg.connect(dsn(relay))
    assert await connection.fetchval("select $1::int + 1", 41) == 42
    await connection.close()
    async with await psycopg.AsyncConnection.connect(dsn(relay)) as other:
        assert await (await other.execute("select %s::text", ["x"])).fetchone() == ("x",)


async def test_ctrl_c_cancels_a_running_statement(relay: Relay, postgres: PostgresServer) -> None:
    process = await started(relay.port, "select pg_sleep(60)", application_name="real-ctrl-c")
    await until_running(postgres, "real-ctrl-c")
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert b"57014" in err


async def test_draining_tells_the_client(relay: Relay) -> None:
    connection = await psycopg.AsyncConnection.connect(dsn(relay), autocommit=True)
    await relay.sessions.drain(0.05)
    with pytest.raises(psycopg.errors.AdminShutdown):
        await connection.execute("select 1")


async def test_a_cancel_reaches_the_session_through_another_worker(
    relay: Relay, postgres: PostgresServer, tmp_path: Path
) -> None:
    """Two workers share a port; the kernel gave the cancel request to the one without the session."""
    assert relay.service is not None
    await relay.service.start()
    sibling = PostgresService(Process(tmp_path, "worker-1"))
    await sibling.start()
    listener = Listener(sibling.serving(relay.endpoint))
    await listener.start("127.0.0.1", 0)
    connection = await asyncpg.connect(dsn(relay), server_settings={"application_name": "sibling"})
    query = asyncio.ensure_future(connection.fetch("select pg_sleep(60)"))
    await until_running(postgres, "sibling")
    connection._addr = ("127.0.0.1", listener.port)
    await connection._cancel(asyncio.get_running_loop().create_future())
    with pytest.raises(asyncpg.QueryCanceledError):
        await query
    await connection.close()
    await listener.close()
    await sibling.close()
    await relay.service.close()
