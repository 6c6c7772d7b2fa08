"""One socket while its handshake runs: awaited reads, TLS, deadlines. Afterwards the driver takes the transport over.

A handshake is a handful of messages, so awaiting them is fine here; a session in full flow never awaits (see `driver`).
Nothing that was received in clear survives the start of TLS.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from typing import Any, Final, cast

MOST_UNREAD: Final = 64 * 1024
TLS_HANDSHAKE_SECONDS: Final = 10.0


class InjectedError(ConnectionError):
    """Bytes in clear came before a TLS handshake that the peer had not been told of yet."""


class Connection(asyncio.Protocol):
    """Reads are bounded: beyond MOST_UNREAD the peer is not read until somebody takes what is there."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._unread = bytearray()
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None

    # -------------------------------------------------------------- called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's does not derive from it

    def data_received(self, data: bytes) -> None:
        self._unread += data
        if len(self._unread) > MOST_UNREAD:
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._ended = True
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -------------------------------------------------------------- called by handshakes

    async def receive(self) -> bytes:
        """What has come in; empty when the peer is gone. The caller sets the deadline."""
        while not self._unread and not self._ended:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        received = self._take()
        if len(received) > MOST_UNREAD and not self.transport.is_closing():
            self.transport.resume_reading()
        return received

    def send(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    async def start_tls(self, context: ssl.SSLContext, *, server_side: bool, server_name: str | None = None) -> None:
        """Raises InjectedError, ssl.SSLError or OSError; the connection is of no use then."""
        if self._unread:
            raise InjectedError("bytes in clear came before the TLS handshake")
        upgraded = await asyncio.get_running_loop().start_tls(
            self.transport,
            self,
            context,
            server_side=server_side,
            server_hostname=server_name,
            ssl_handshake_timeout=TLS_HANDSHAKE_SECONDS,
        )
        if upgraded is None:
            raise ConnectionAbortedError("the peer went away in the TLS handshake")
        self.transport = upgraded

    def hand_over(self, protocol: asyncio.Protocol) -> tuple[bytes, bool]:
        """From now on `protocol` hears of everything; what came in before, and whether the peer is gone already."""
        self.transport.set_protocol(protocol)
        return self._take(), self._ended

    def close(self) -> None:
        """Sends what is written, then closes."""
        self.transport.close()

    def abort(self) -> None:
        self.transport.abort()

    def _take(self) -> bytes:
        taken = bytes(self._unread)
        self._unread.clear()
        return taken

    # -------------------------------------------------------------- what is known of the peer

    @property
    def tls(self) -> ssl.SSLObject | None:
        found: ssl.SSLObject | None = self.transport.get_extra_info("ssl_object")
        return found

    @property
    def peer_certificate(self) -> bytes | None:
        """DER. On the client's side verified by the handshake; None when none was shown."""
        return self.tls.getpeercert(binary_form=True) if self.tls is not None else None

    @property
    def peer_address(self) -> str:
        """Host and port; "local" for a Unix socket."""
        name: Any = self.transport.get_extra_info("peername")
        return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else "local"

    @property
    def is_local(self) -> bool:
        name: Any = self.transport.get_extra_info("peername")
        return not isinstance(name, tuple) or is_loopback(name[0])


def is_loopback(host: str) -> bool:
    """Of an address or `localhost`; a path is a Unix socket and never leaves the machine."""
    if host.startswith("/") or host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


async def dial(host: str, port: int, path: str = "") -> Connection:
    """Connects to a host, or to the Unix socket at `path`. Raises OSError."""
    loop = asyncio.get_running_loop()
    if path:
        _, connection = await loop.create_unix_connection(Connection, path)
    else:
        _, connection = await loop.create_connection(Connection, host, port)
    return connection
