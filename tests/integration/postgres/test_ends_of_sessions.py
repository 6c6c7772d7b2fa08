"""How sessions end through listener, session glue and driver: for the client, and at a real PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import os

import asyncpg
import psycopg
import pytest

from data_plane.protocols.postgres.messages import encode_query
from tests.integration.postgres.test_through_the_gateway import dsn, psql, started, through, until, until_running
from tests.support.postgres import PostgresServer


async def test_the_death_of_the_backend_reaches_the_client(postgres: PostgresServer) -> None:
    async with through(postgres) as relay:
        process = await started(relay.port, "select pg_sleep(20)", application_name="dies")
        await until_running(postgres, "dies")
        connection = await asyncpg.connect(postgres.url())
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'dies'"
        )
        await connection.close()
        _, err = await process.communicate()
        assert b"57P01" in err
        await until(lambda: relay.sessions.count == 0)


async def test_the_death_of_the_client_reaches_the_backend(postgres: PostgresServer) -> None:
    async with through(postgres) as relay:
        process = await started(relay.port, "select pg_sleep(1)", application_name="killed")
        await until_running(postgres, "killed")
        process.kill()
        await process.wait()
        await until(lambda: relay.sessions.count == 0)
        await until_running(postgres, "killed", 0)
        assert "client closed" in relay.cores[0].heard


async def test_what_a_session_runs_when_it_is_ended_is_cancelled_at_the_target(postgres: PostgresServer) -> None:
    """Invariant 7: a server that is busy does not see that its client has gone."""
    async with through(postgres) as relay:
        process = await started(relay.port, "select pg_sleep(20)", application_name="ended")
        await until_running(postgres, "ended")
        assert relay.sessions.terminate_where(lambda _: True, "terminated", "the identity was disabled") == 1
        _, err = await process.communicate()
        assert b"the identity was disabled" in err
        await until_running(postgres, "ended", 0)


@pytest.mark.parametrize("mode", ["disable", "verify-full"])
@pytest.mark.parametrize("how", ["terminated", "drained"])
async def test_nothing_that_was_sent_behind_a_running_statement_runs_after_the_end(
    postgres: PostgresServer, mode: str, how: str
) -> None:
    """Invariant 7: each had its verdict when it was sent, and the client was told that all has ended."""
    late, name = f"late_{how}_{mode[:4]}", f"late-{how}-{mode}"
    async with contextlib.AsyncExitStack() as open_, through(postgres, mode=mode) as relay:
        own = await asyncpg.connect(postgres.url())
        open_.push_async_callback(own.close)
        await own.execute(f"create table {late} (n int)")
        client = await psycopg.AsyncConnection.connect(f"{dsn(relay)}?application_name={name}", autocommit=True)
        open_.push_async_callback(client.close)
        os.write(client.fileno(), sleep := encode_query("select pg_sleep(60)"))
        await until_running(postgres, name)
        behind = b"".join(encode_query(f"insert into {late} values ({n})") for n in range(900))
        os.write(client.fileno(), behind)
        await until(lambda: relay.cores[0].sent == len(sleep + behind))
        if how == "drained":
            await relay.sessions.drain(0)
        else:
            relay.sessions.terminate_where(lambda _: True, "terminated", "the identity was disabled")
        await gone(postgres, name)
        ran = await own.fetchval(f"select count(*) from {late}")
        await own.execute(f"drop table {late}")
        assert ran == 0


async def gone(postgres: PostgresServer, application_name: str) -> None:
    """The target has let go of the session."""
    connection = await asyncpg.connect(postgres.url())
    there = "select count(*) from pg_stat_activity where application_name = $1"
    async with asyncio.timeout(30):
        while await connection.fetchval(there, application_name):
            await asyncio.sleep(0.02)
    await connection.close()


async def test_draining_ends_open_sessions_with_57p01(postgres: PostgresServer) -> None:
    async with through(postgres) as relay:
        connection = await psycopg.AsyncConnection.connect(dsn(relay), autocommit=True)
        await relay.sessions.drain(0.05)
        assert relay.sessions.count == 0
        with pytest.raises(psycopg.errors.AdminShutdown):
            await connection.execute("select 1")


async def test_a_session_ends_when_its_credential_expires(postgres: PostgresServer) -> None:
    async with through(postgres) as relay:
        relay.admission.expires_at = relay.endpoint.clock.now() + 0.3
        connection = await psycopg.AsyncConnection.connect(dsn(relay), autocommit=True)
        await until(lambda: relay.sessions.count == 0)
        with pytest.raises(psycopg.errors.AdminShutdown):
            await connection.execute("select 1")


async def test_a_bug_in_a_core_ends_that_session_only(postgres: PostgresServer) -> None:
    async with through(postgres) as relay:
        healthy = await asyncpg.connect(dsn(relay))
        code, _, err = await psql(relay.port, "boom")
        assert code != 0
        assert "XX000" in err
        assert await healthy.fetchval("select 1") == 1
        await healthy.close()
