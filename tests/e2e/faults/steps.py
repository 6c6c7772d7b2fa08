"""A TCP relay between an agent and its PostgreSQL that stops at one step of a session's account: what is asked waits
before the server, or what the server answered waits before the agent, while the test kills somebody."""

from __future__ import annotations

import contextlib
import enum
import socket
import threading
from collections.abc import Iterator
from typing import Final, Self

HOST: Final = "127.0.0.1"
_PATIENCE: Final = 30.0


class Step(enum.Enum):
    """Name, what the agent sends then, and whether the server does it before everything stops."""

    LEASED = ("its lease is written", b"create role %I login", False)
    CREATED = ("its role is made, and the agent does not know", b"create role %I login", True)
    SIGNING_IN = ("it is about to sign in", b"user\0gw_", False)
    SIGNED_IN = ("it has signed in, and the role is still open", b"nologin password null", False)
    CLOSED = ("its role is closed, and the agent does not know", b"nologin password null", True)
    CLEANING = ("what it holds is about to be taken away", b"drop owned by %I", False)
    DROPPING = ("its role is about to be dropped", b"drop role if exists %I", False)
    DROPPED = ("its role is dropped, and the agent does not know", b"drop role if exists %I", True)


class Stop:
    """One stop, for the first message that fits from `at` on."""

    def __init__(self) -> None:
        self._sent = b""
        self.answers = False
        self._reached, self._released = threading.Event(), threading.Event()
        self._taken = threading.Lock()
        self.delivers = True

    def at(self, step: Step) -> None:
        _, sent, self.answers = step.value
        self._sent = sent  # from here on it stops

    def fits(self, data: bytes) -> bool:
        return bool(self._sent) and self._sent in data and self._taken.acquire(blocking=False)

    def wait(self) -> bool:
        """In the relay: whether to go on."""
        self._reached.set()
        self._released.wait()
        return self.delivers

    def reached(self) -> None:
        """In the test: returns when everything stands still."""
        assert self._reached.wait(_PATIENCE), "the step was never reached"

    def release(self, *, delivers: bool) -> None:
        """`delivers`: what stood still arrives, also when its sender is dead by now."""
        self.delivers = delivers
        self._released.set()


class Relay:
    def __init__(self, port: int) -> None:
        self._to = port
        self._stop: Stop | None = None
        self._listener = socket.create_server((HOST, 0))
        self.address = f"{HOST}:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @contextlib.contextmanager
    def stopping(self) -> Iterator[Stop]:
        stop = self._stop = Stop()
        try:
            yield stop
        finally:
            self._stop = None
            stop.release(delivers=stop.delivers)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection((HOST, self._to)) as server:
            withheld: list[Stop] = []
            back = threading.Thread(target=self._answers, args=(server, client, withheld), daemon=True)
            back.start()
            self._asks(client, server, withheld)
            back.join()

    def _asks(self, client: socket.socket, server: socket.socket, withheld: list[Stop]) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                stop = self._stop
                if stop is not None and stop.fits(data):
                    if stop.answers:
                        withheld.append(stop)
                    elif not stop.wait():
                        break
                server.sendall(data)
        _shut(server, client)

    def _answers(self, server: socket.socket, client: socket.socket, withheld: list[Stop]) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if withheld and not withheld.pop().wait():
                    break
                client.sendall(data)
        _shut(server, client)


def _shut(*sockets: socket.socket) -> None:
    for one in sockets:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
