"""TLS in front of something that speaks plain TCP on this machine, as a proxy that ends TLS is in front of a console."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterable, Iterator

import trustme


@contextlib.contextmanager
def tls_front(port: int, behind: int, host: str = "localhost") -> Iterator[None]:
    """Listens on this port with a certificate that nobody trusts, and relays to the other one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert(host).configure_cert(context)
    loop, ready = asyncio.new_event_loop(), threading.Event()
    over = asyncio.Event()

    async def serve() -> None:
        async with await asyncio.start_server(lambda *one: _relay(*one, behind), "127.0.0.1", port, ssl=context):
            ready.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(10), "the TLS front does not listen"
        yield
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.run_until_complete(_stopped(asyncio.all_tasks(loop)))
        loop.close()


async def _stopped(relays: Iterable[asyncio.Task[None]]) -> None:
    for task in relays:
        task.cancel()
    await asyncio.gather(*relays, return_exceptions=True)
    await asyncio.sleep(0.1)  # the ends of the connections


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, behind: int) -> None:
    writers = [writer]
    try:
        there, here = await asyncio.open_connection("127.0.0.1", behind)
        writers.append(here)
        await asyncio.gather(_pump(reader, here), _pump(there, writer))
    except BaseException:
        for one in writers:
            one.transport.abort()
        raise
    for one in writers:
        one.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()
