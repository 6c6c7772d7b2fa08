"""What hostile peers do before they are anybody: each costs that connection alone and a bounded time."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from data_plane.policy.model import TargetSpec, TargetTls
from data_plane.protocols.postgres.target_startup import SSL_REQUEST, encode_startup
from tests.support.postgres import PostgresServer
from tests.support.relaying import TOKEN, Relay, certificates, relaying


@pytest.fixture
async def relay(postgres: PostgresServer, tmp_path: Path) -> AsyncIterator[Relay]:
    tls, *_ = certificates(tmp_path)
    spec = TargetSpec(
        "postgres", "test", "agent", f"{postgres.host}:{postgres.port}", "", TargetTls("verify-full", postgres.ca_pem)
    )
    settings = {"most_pending": 4, "handshake_seconds": 0.5, "fair_seconds": 0.2}
    async with relaying(spec, postgres.superuser, postgres.password, tls=tls, **settings) as running:
        yield running


async def connected(relay: Relay, **named):
    return await asyncio.open_connection("127.0.0.1", relay.port, **named)


async def answer(relay: Relay, data: bytes, **named) -> bytes:
    """Everything that comes back until the gateway closes."""
    reader, writer = await connected(relay, **named)
    writer.write(data)
    try:
        async with asyncio.timeout(5):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def still_works(relay: Relay) -> bool:
    connection = await asyncpg.connect(f"postgresql://robot:{TOKEN}@127.0.0.1:{relay.port}/postgres", ssl="require")
    found = await connection.fetchval("select 1")
    await connection.close()
    return found == 1


def insecure() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\0" * 64,
        b"\xff" * 64,
        b"\0\0\0\x07\0\3\0",
        struct.pack("!II", 8, 4 << 16),
        b"SSH-2.0-OpenSSH_9.2\r\n",
        struct.pack("!II", 1 << 30, 196608),
    ],
)
async def test_garbage_is_refused_and_others_are_served(relay: Relay, garbage: bytes) -> None:
    assert (await answer(relay, garbage))[:1] in (b"E", b"")
    assert await still_works(relay)
    assert len(relay.admission.seen) == 1


async def test_a_start_up_behind_an_ssl_request_is_not_taken_for_encrypted(relay: Relay) -> None:
    got = await answer(relay, SSL_REQUEST + encode_startup("robot", "postgres", {}))
    assert not got.startswith(b"S")
    assert relay.admission.seen == []


async def test_bytes_in_clear_between_the_answer_and_tls_are_not_taken_for_encrypted(relay: Relay) -> None:
    reader, writer = await connected(relay)
    writer.write(SSL_REQUEST)
    assert await reader.readexactly(1) == b"S"
    writer.write(encode_startup("robot", "postgres", {}))
    got = b""
    try:
        async with asyncio.timeout(5):
            got = await reader.read()
    except ConnectionResetError:
        pass
    writer.close()
    assert b"R\0\0\0\x08\0\0\0\x03" not in got
    assert relay.admission.seen == []


async def test_an_ssl_request_inside_tls_is_refused(relay: Relay) -> None:
    context = insecure()
    context.set_alpn_protocols(["postgresql"])
    assert b"08P01" in await answer(relay, SSL_REQUEST, ssl=context)


@pytest.mark.parametrize("protocols", [None, ["http/1.1"]])
async def test_direct_tls_without_the_alpn_protocol_is_refused(relay: Relay, protocols: list[str] | None) -> None:
    context = insecure()
    if protocols:
        context.set_alpn_protocols(protocols)
    assert b"ALPN" in await answer(relay, encode_startup("robot", "postgres", {}), ssl=context)
    assert relay.admission.seen == []


async def test_replication_is_refused(relay: Relay) -> None:
    got = await answer(relay, encode_startup("robot", "postgres", {"replication": "database"}))
    assert b"C42501\0" in got


async def test_a_query_instead_of_a_password_is_refused(relay: Relay) -> None:
    got = await answer(relay, encode_startup("robot", "postgres", {}) + b"Q\0\0\0\x0dselect 1\0")
    assert b"08P01" in got
    assert relay.admission.seen == []


async def test_peers_that_say_nothing_are_ended_in_time_and_keep_nobody_out(relay: Relay) -> None:
    silent = [await connected(relay) for _ in range(12)]
    assert await still_works(relay)
    for reader, writer in silent:
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()
    assert relay.listener.pending == 0


async def test_peers_that_drip_are_ended_in_time(relay: Relay) -> None:
    reader, writer = await connected(relay)
    started = asyncio.get_running_loop().time()
    try:
        for byte in encode_startup("robot", "postgres", {"application_name": "x" * 200}):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.02)
            if reader.at_eof() or writer.is_closing():
                break
    except ConnectionError:
        pass
    assert asyncio.get_running_loop().time() - started < 3
    writer.close()
    assert relay.admission.seen == []


async def test_a_tls_handshake_that_never_ends_is_ended(relay: Relay) -> None:
    got = await answer(relay, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")
    assert b"R" not in got
    assert await still_works(relay)
