"""Accepting: nobody waits for another's handshake, and what never becomes a session is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from data_plane.runtime.listener import Accepted, Listener


@contextlib.asynccontextmanager
async def listening(serve, **settings) -> AsyncIterator[Listener]:
    listener = Listener(serve, **settings)
    await listener.start("127.0.0.1", 0, reuse_port=settings.pop("reuse_port", False))
    try:
        yield listener
    finally:
        await listener.close()
        await asyncio.gather(*listener.running, return_exceptions=True)


async def echo(accepted: Accepted) -> None:
    accepted.connection.send(await accepted.connection.receive())


async def until_gone(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(5):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def test_a_silent_peer_keeps_nobody_waiting() -> None:
    async with listening(echo) as listener:
        silent = await asyncio.open_connection("127.0.0.1", listener.port)
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(b"hello")
        assert await until_gone(reader) == b"hello"
        silent[1].close()
        writer.close()


async def test_a_handshake_has_a_deadline_and_a_settled_session_has_none() -> None:
    async def serve(accepted: Accepted) -> None:
        if await accepted.connection.receive() == b"settle":
            accepted.settled()
        await accepted.connection.receive()

    async with listening(serve, handshake_seconds=0.1) as listener:
        _reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(b"settle")
        assert await until_gone(other_reader) == b""
        assert (listener.pending, len(listener.running)) == (0, 1)
        writer.close()
        other_writer.close()


async def test_the_oldest_unfinished_handshake_gives_way() -> None:
    async with listening(echo, most_pending=2, fair_seconds=0.05) as listener:
        silent = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(2)]
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(b"hello")
        assert await until_gone(reader) == b"hello"
        assert await until_gone(silent[0][0]) == b""
        for _, open_writer in (*silent, (reader, writer)):
            open_writer.close()


async def test_a_failure_is_that_connections_own() -> None:
    async def serve(accepted: Accepted) -> None:
        if await accepted.connection.receive() == b"fail":
            raise ConnectionAbortedError("bad luck")
        accepted.connection.send(b"fine")

    async with listening(serve) as listener:
        for sent, expected in ((b"fail", b""), (b"go", b"fine")):
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            writer.write(sent)
            assert await until_gone(reader) == expected
            writer.close()


async def test_workers_share_a_port() -> None:
    first = Listener(echo)
    await first.start("127.0.0.1", 0, reuse_port=True)
    second = Listener(echo)
    await second.start("127.0.0.1", first.port, reuse_port=True)
    assert first.port == second.port
    await first.close()
    await second.close()


async def test_a_closed_listener_takes_nobody_and_leaves_sessions_alone() -> None:
    async def serve(accepted: Accepted) -> None:
        accepted.settled()
        accepted.connection.send(await accepted.connection.receive())

    listener = Listener(serve)
    await listener.start("127.0.0.1", 0)
    port = listener.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while not listener.running or listener.pending:
        await asyncio.sleep(0)
    await listener.close()
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=1):
        raise AssertionError("it still accepts")
    writer.write(b"still here")
    assert await until_gone(reader) == b"still here"
    writer.close()
