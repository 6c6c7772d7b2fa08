"""A TCP relay between an agent and its control plane that can be shut: then nothing passes and nobody is told."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any, Self

from control_plane.cli.demo.planes import LocalControlPlane

HOST = "127.0.0.1"


class Valve:
    """`shut` is a network that loses everything; `cut` also ends the connections, as a router that restarts."""

    def __init__(self) -> None:
        self._to = 0
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        self._open = threading.Event()
        self._open.set()
        self._sockets: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A thread that stands in accept would keep the port open.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def settings(self, control: LocalControlPlane) -> dict[str, Any]:
        """For an agent whose link goes through here to this control plane."""
        self._to = control.grpc_port
        return {"control_plane": f"{HOST}:{self.port}", "enrolment": f"{HOST}:{control.grpc_port + 1}"}

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        """What stood still in a shut valve is lost with its connection."""
        self.cut()
        self._open.set()

    def cut(self) -> None:
        for one in list(self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection((HOST, self._to)) as server:
            pair = {client, server}
            self._sockets |= pair
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            back.start()
            self._pump(client, server)
            back.join()
            self._sockets -= pair

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self._open.is_set():
                    sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
