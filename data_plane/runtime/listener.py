"""Accepts connections for one endpoint. The accept loop never waits for a handshake.

Handshakes that are not settled are bounded in number and time, so that peers that say nothing (slow loris) cost little:
when all places are taken the oldest that has had its fair time gives way. The first byte is looked at without being
taken, because a client may begin with TLS at once (PostgreSQL 17, `sslnegotiation=direct`); asyncio's own servers
must choose before.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from data_plane.runtime import tasks
from data_plane.runtime.connection import TLS_HANDSHAKE_SECONDS, Connection

log = structlog.get_logger(__name__)

MOST_PENDING: Final = 512
HANDSHAKE_SECONDS: Final = 15.0  # from the connection to the credential
FAIR_SECONDS: Final = 3.0  # a handshake of this age may have to give way
BACKLOG: Final = 1024
_TLS_HANDSHAKE: Final = b"\x16"


class Accepted:
    """A connection on its way to become a session. `settled` frees its place: the peer has shown who it is."""

    def __init__(self, connection: Connection, *, direct_tls: bool, settled: Callable[[], None]) -> None:
        self.connection = connection
        self.direct_tls = direct_tls
        self.settled = settled


class Listener:
    """`serve` handles one connection to its end and closes it."""

    def __init__(
        self,
        serve: Callable[[Accepted], Awaitable[None]],
        *,
        tls: Callable[[], ssl.SSLContext | None] = lambda: None,
        most_pending: int = MOST_PENDING,
        handshake_seconds: float = HANDSHAKE_SECONDS,
        fair_seconds: float = FAIR_SECONDS,
    ) -> None:
        self._serve = serve
        self._tls = tls
        self._most_pending = most_pending
        self._handshake_seconds = handshake_seconds
        self._fair_seconds = fair_seconds
        self._pending: dict[asyncio.Task[None], float] = {}  # in order of their age
        self._freed = asyncio.Event()
        self._socket: socket.socket | None = None
        self._loop_task: asyncio.Task[None] | None = None
        self.running: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        return int(self._bound.getsockname()[1])

    @property
    def pending(self) -> int:
        return len(self._pending)

    @property
    def _bound(self) -> socket.socket:
        if self._socket is None:
            raise RuntimeError("the listener is not started")
        return self._socket

    async def start(self, host: str, port: int, *, reuse_port: bool = False) -> None:
        """Raises OSError when the address cannot be had."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=reuse_port)
        self._socket.setblocking(False)
        self._loop_task = tasks.spawn(self._accept(), f"accept {host}:{self.port}")

    async def close(self) -> None:
        """Takes no new connections and ends unfinished handshakes; sessions that are open go on."""
        if self._loop_task is not None:
            self._loop_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop_task
        if self._socket is not None:
            self._socket.close()
        for task in list(self._pending):
            task.cancel()

    # -------------------------------------------------------------- accepting

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._place()
            try:
                accepted, _ = await loop.sock_accept(self._bound)
            except OSError as error:  # out of file descriptors, or the peer is gone already
                log.warning("cannot accept", error=str(error))
                await asyncio.sleep(0.1)
                continue
            task = tasks.spawn(self._guarded(accepted), "connection")
            self._pending[task] = loop.time()
            self.running.add(task)
            loop.call_later(self._handshake_seconds, self._expire, task)
            task.add_done_callback(self._done)

    async def _place(self) -> None:
        """Returns when one more handshake may begin."""
        loop = asyncio.get_running_loop()
        while len(self._pending) >= self._most_pending:
            oldest, since = next(iter(self._pending.items()))
            if loop.time() - since >= self._fair_seconds:
                self._expire(oldest)
                return
            self._freed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(since + self._fair_seconds):
                    await self._freed.wait()

    def _expire(self, task: asyncio.Task[None]) -> None:
        if self._pending.pop(task, None) is not None:
            log.info("handshake ended: it took too long")
            task.cancel()

    def _settle(self, task: asyncio.Task[None]) -> None:
        self._pending.pop(task, None)
        self._freed.set()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._settle(task)
        self.running.discard(task)

    # -------------------------------------------------------------- one connection

    async def _guarded(self, accepted: socket.socket) -> None:
        """Whatever happens to one connection is its own business."""
        connection: Connection | None = None
        try:
            connection, direct = await self._open(accepted)
            task = asyncio.current_task()
            settled = (lambda: self._settle(task)) if task is not None else (lambda: None)
            await self._serve(Accepted(connection, direct_tls=direct, settled=settled))
        except (OSError, ssl.SSLError, EOFError) as error:
            log.info("connection failed", error=f"{type(error).__name__}: {error}")
        finally:
            if connection is not None:
                connection.close()
            else:
                accepted.close()

    async def _open(self, accepted: socket.socket) -> tuple[Connection, bool]:
        loop = asyncio.get_running_loop()
        accepted.setblocking(False)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        context = self._tls()
        direct = context is not None and await _first_byte(accepted) == _TLS_HANDSHAKE
        connection = Connection()
        await loop.connect_accepted_socket(
            lambda: connection,
            accepted,
            ssl=context if direct else None,
            ssl_handshake_timeout=TLS_HANDSHAKE_SECONDS if direct else None,
        )
        return connection, direct


async def _first_byte(accepted: socket.socket) -> bytes:
    """Looks at it and leaves it there; empty when the peer is gone."""
    loop = asyncio.get_running_loop()
    while True:
        with contextlib.suppress(BlockingIOError):
            return accepted.recv(1, socket.MSG_PEEK)
        readable = loop.create_future()
        loop.add_reader(accepted, _set, readable)
        try:
            await readable
        finally:
            loop.remove_reader(accepted)


def _set(readable: asyncio.Future[None]) -> None:
    if not readable.done():
        readable.set_result(None)
