"""The agent's own connections by asyncpg, which would give its password in clear to whoever asks.

Outside TLS and this machine nobody gets it so, as in `target_startup`: who stands at the address, or between, is not
known there. asyncpg has no setting for that, so what the target says is read before asyncpg hears it.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any, Final, cast

import asyncpg

from data_plane.protocols.postgres.messages import Authentication, AuthenticationCleartextPassword, ReadyForQuery
from data_plane.runtime.connection import is_loopback

_HEADER: Final = struct.Struct("!ci")
_KIND: Final = struct.Struct("!i")
_LONGEST: Final = 1 << 16  # bytes of a message by then


async def connect(*, host: str, **how: Any) -> asyncpg.Connection[Any]:
    """As asyncpg.connect, and raises what it raises."""
    if how["ssl"] is False and not is_loopback(host):
        how["loop"] = _Loop(asyncio.get_running_loop())
    connection: asyncpg.Connection[Any] = await asyncpg.connect(host=host, **how)
    return connection


class _Loop:
    """The running loop, but for what stands between a connection and asyncpg."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    async def create_connection(
        self, factory: Callable[[], asyncio.Protocol], *address: Any
    ) -> tuple[asyncio.BaseTransport, asyncio.Protocol]:
        transport, first = await self._loop.create_connection(lambda: _SigningIn(factory()), *address)
        return transport, first.inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def __eq__(self, other: object) -> bool:
        return other is self or other is self._loop

    def __hash__(self) -> int:
        return hash(self._loop)


class _SigningIn(asyncio.Protocol):
    """Until the target is ready for the first query."""

    def __init__(self, inner: asyncio.Protocol) -> None:
        self.inner = inner
        self._transport: asyncio.Transport | None = None
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by their class
        self.inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while (transport := self._transport) is not None and len(self._unread) >= _HEADER.size:
            size = 1 + int(_HEADER.unpack_from(self._unread)[1])
            if not _HEADER.size <= size <= _LONGEST or _asks_in_clear(self._unread[:size]):
                self._transport = None
                transport.abort()
            elif len(self._unread) < size:
                return
            else:
                self._heard(transport, size)

    def _heard(self, transport: asyncio.Transport, size: int) -> None:
        message, self._unread = self._unread[:size], self._unread[size:]
        if message[0] == ReadyForQuery:
            self._transport = None
            transport.set_protocol(self.inner)
            message += self._unread
        self.inner.data_received(message)

    def eof_received(self) -> bool | None:
        return self.inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()


def _asks_in_clear(message: bytes) -> bool:
    if message[0] != Authentication or len(message) < _HEADER.size + _KIND.size:
        return False
    return bool(_KIND.unpack_from(message, _HEADER.size)[0] == AuthenticationCleartextPassword)
