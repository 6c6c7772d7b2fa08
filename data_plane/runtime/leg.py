"""One side of a session: what the event loop calls for each piece of data that a peer sent, and what writes to it.

A Leg is an asyncio protocol in all but its base class, without which it can be compiled to a native class.
"""

from __future__ import annotations

import asyncio
import select
import struct
from collections.abc import Callable
from socket import AF_INET, AF_INET6, SO_LINGER, SOL_SOCKET
from typing import Final, Protocol, cast

from data_plane.gate.interface import Permit
from data_plane.runtime.connection import Connection

WRITE_HIGH: Final = 256 * 1024  # bytes that may wait for a slow peer before the other is not read any more
WRITE_LOW: Final = 64 * 1024

_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time

BACKPRESSURE: Final = 1
BY_CORE: Final = 2
BY_CANCEL: Final = 4


class Owner(Protocol):
    """What a leg tells the driver of its session."""

    @property
    def client(self) -> Leg: ...

    def failed(self, error: Exception) -> None: ...

    def client_stopped_writing(self) -> None: ...

    def leg_lost(self, leg: Leg) -> None: ...


class Leg:
    """One side of a session. `sent` and `closed` are the core's methods for this side."""

    def __init__(self, driver: Owner, connection: Connection) -> None:
        self._driver = driver
        self.connection = connection
        self.transport = connection.transport
        self.other: Leg
        self.sent: Callable[[bytes], None]
        self.closed: Callable[[], None]
        self.ended = False  # nothing more comes from this peer
        self.lost = False  # nor can anything be sent to it
        self._paused = 0
        self._delayed: list[bytes] | None = None  # what waits until something else has been delivered
        self._send = self.transport.write

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Never called: the transport comes from the handshake."""

    def open(self) -> None:
        """Takes the transport over from the handshake and passes on what came in meanwhile."""
        self.transport.set_write_buffer_limits(WRITE_HIGH, WRITE_LOW)
        early, ended = self.connection.hand_over(cast("asyncio.Protocol", self))
        if early:
            self.data_received(early)
        if ended:
            self.connection_lost(None)
        elif not self._paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        try:
            self.sent(data)
        except Exception as error:  # noqa: BLE001  # a bug or a full disk ends this session, not the process
            self._driver.failed(error)

    def eof_received(self) -> bool:
        self._end()
        # A client that only stopped writing may still want its answers; TLS has no half-closed connections.
        if self is not self._driver.client or self.connection.tls is not None or self.transport.is_closing():
            return False
        self._driver.client_stopped_writing()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self.lost = True
        self._end()
        self._driver.leg_lost(self)

    def _end(self) -> None:
        if self.ended:
            return
        self.ended = True
        try:
            self.closed()
        except Exception as error:  # noqa: BLE001  # as above
            self._driver.failed(error)

    def pause_writing(self) -> None:
        self.other.pause(BACKPRESSURE)

    def resume_writing(self) -> None:
        self.other.resume(BACKPRESSURE)

    def pause(self, why: int) -> None:
        if not self._paused and not self.lost and not self.transport.is_closing():
            self.transport.pause_reading()
        self._paused |= why

    def resume(self, why: int) -> None:
        if self._paused == why and not self.lost and not self.transport.is_closing():
            self.transport.resume_reading()
        self._paused &= ~why

    @property
    def paused(self) -> bool:
        return bool(self._paused)

    def write(self, data: bytes) -> None:
        if self._delayed is not None:
            self._delayed.append(data)
        elif not self.lost:
            self._send(data)

    def write_permitted(self, permit: Permit) -> None:
        self.write(permit.raw)

    def delay(self) -> None:
        """From now on what is written waits for `undelay`."""
        if self._delayed is None:
            self._delayed = []

    def undelay(self) -> None:
        delayed, self._delayed = self._delayed, None
        for data in delayed or ():
            self.write(data)

    def close(self) -> None:
        """Sends what is written; what still comes in is of no interest."""
        self.sent = _ignore
        if not self.lost:
            self.transport.close()

    def cut(self) -> None:
        """At once, with a reset: what is sent and not read is dropped at both ends, where a close delivers it."""
        if self.lost:
            return
        socket = self.transport.get_extra_info("socket")
        if socket is not None and socket.family in {AF_INET, AF_INET6} and socket.fileno() >= 0:
            socket.setsockopt(SOL_SOCKET, SO_LINGER, _RESET)
        self.transport.abort()

    def hung_up(self) -> bool:
        """Whether the peer has closed, even when it is not being read: asks the kernel."""
        if self.ended or self.lost:
            return True
        socket = self.transport.get_extra_info("socket")
        if socket is None or not hasattr(select, "POLLRDHUP") or socket.fileno() < 0:
            return False
        poll = select.poll()
        poll.register(socket.fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))


def _ignore(data: bytes) -> None:
    del data
