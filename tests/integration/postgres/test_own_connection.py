"""The agent's own sign-in: to whom it gives its password."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from data_plane.credentials.ports import PasswordCredential
from data_plane.policy.model import TargetTls
from data_plane.protocols.postgres import own_connection
from data_plane.protocols.postgres.catalog_source import AsyncpgCatalogSource
from data_plane.protocols.postgres.own_sign_in import sign_in
from data_plane.runtime.secret import Secret
from tests.support.postgres import PostgresServer

PASSWORD = "the agent's own password"
CLEAR, OK, STATUS = struct.pack("!cii", b"R", 8, 3), struct.pack("!cii", b"R", 8, 0), b"S\0\0\0\x08a\0b\0"
ENDLESS, TOO_SHORT = b"N\x7f\xff\xff\xff", b"R\0\0\0\0"


@contextlib.asynccontextmanager
async def asking(*said: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Whoever stands at a target's address; what was told to it after the start-up message."""
    heard: list[bytes] = []
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            (size,) = struct.unpack("!i", await reader.readexactly(4))
            await reader.readexactly(size - 4)
            for one in said:
                writer.write(one)
                await writer.drain()
            while data := await reader.read(4096):
                heard.append(data)
        except OSError:
            pass  # it was hung up on
        finally:
            writer.close()
            over.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heard
        await over.wait()
    finally:
        server.close()


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this machine were another one."""
    monkeypatch.setattr(own_connection, "is_loopback", lambda _: False)


async def signed_in(port: int) -> asyncpg.Connection[Any]:
    credential = PasswordCredential("keeper", Secret(PASSWORD))
    return await sign_in(credential, host="127.0.0.1", port=port, database="postgres", ssl=False, timeout=5)


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    "said",
    [(CLEAR,), (STATUS, CLEAR), (STATUS + CLEAR[:3], CLEAR[3:]), (OK + CLEAR,), (ENDLESS, CLEAR), (TOO_SHORT + CLEAR,)],
)
async def test_nobody_elsewhere_is_given_the_password_in_clear_outside_tls(said: tuple[bytes, ...]) -> None:
    async with asking(*said) as (port, heard):
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await signed_in(port)
    assert PASSWORD.encode() not in b"".join(heard)


@pytest.mark.usefixtures("elsewhere")
async def test_nor_is_it_for_the_catalogue() -> None:
    async def own() -> tuple[str, str]:
        return "keeper", PASSWORD

    async with asking(CLEAR) as (port, heard):
        source = AsyncpgCatalogSource(f"127.0.0.1:{port}", "postgres", own, TargetTls(mode="disable"))
        with pytest.raises((asyncpg.ConnectionDoesNotExistError, ConnectionError)):
            await source.load("")
    assert PASSWORD.encode() not in b"".join(heard)


@pytest.mark.usefixtures("elsewhere")
async def test_whoever_proves_to_know_it_lets_the_agent_in(postgres: PostgresServer) -> None:
    connection = await own_connection.connect(
        host=postgres.host, port=postgres.port, user=postgres.superuser, password=postgres.password,
        database="postgres", ssl=False, timeout=5,
    )  # fmt: skip
    assert await connection.fetchval("select repeat('x', 300000)") == "x" * 300000
    with pytest.raises(TimeoutError):
        await connection.execute("select pg_sleep(30)", timeout=0.1)
    assert await connection.fetchval("select 1") == 1
    await connection.close()
