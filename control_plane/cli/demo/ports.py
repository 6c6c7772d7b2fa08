"""Ports for servers that are about to start, each given to one of them only."""

from __future__ import annotations

import contextlib
import random
import socket

HOST = "127.0.0.1"

# Below those that the system gives to outgoing connections, one of which could take a port before its server does.
_FIRST, _LAST = 20_000, 32_000


def free_port() -> int:
    """A port of 127.0.0.1 for a server that starts within a minute; meanwhile no process is given it again."""
    while not _reserved(port := random.randint(_FIRST, _LAST)):
        pass
    return port


def free_pair() -> int:
    """The first of two neighbouring ports that are free."""
    while not _reserved(port := random.randint(_FIRST, _LAST)) or not _reserved(port + 1):
        pass
    return port


def _reserved(port: int) -> bool:
    """Whether the port was free. Leaves a closed connection on it, which for a minute keeps all but servers, who say
    SO_REUSEADDR, from taking it (TIME-WAIT, RFC 9293 section 3.6.1)."""
    with socket.socket() as listener, socket.socket() as caller, contextlib.suppress(OSError):
        listener.bind((HOST, port))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.listen()
        caller.connect((HOST, port))
        answerer, _ = listener.accept()
        answerer.close()  # who closes first keeps the port
        return True
    return False
