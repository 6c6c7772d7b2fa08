"""Why the control plane cannot start, told in one line: the setting, its value, what is wrong and what to do."""

from __future__ import annotations

import errno
import socket
from typing import Final

_ADVICE: Final = {
    errno.EADDRINUSE: "stop what listens there, or choose another port",
    errno.EADDRNOTAVAIL: "choose an address of this machine",
    errno.EACCES: "choose a port from 1024 up, or allow this user the lower ones",
}
_NOT_HERE: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}  # of one address of a name that has others
_NO_SUCH_HOST: Final = "choose an address of this machine"


class StartError(Exception):
    """`args[0]` begins with the name of the setting. Never a secret."""


def bind(setting: str, host: str, port: int) -> list[socket.socket]:
    """One socket for each address of the host, not listening yet. Raises StartError."""
    bound: list[socket.socket] = []
    failed: OSError | None = None
    try:
        for family, *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
            try:
                bound.append(_bound(family, address))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                failed = error
        if failed is not None and not bound:
            raise failed
    except OSError as error:
        for one in bound:
            one.close()
        raise StartError(_told(setting, f"{host}:{port}", error)) from error
    return bound


def check_free(setting: str, address: str) -> None:
    """For a library that tells more on the terminal, and less to its caller, than one line. Raises StartError."""
    host, _, port = address.rpartition(":")
    for one in bind(setting, host.strip("[]"), int(port)):
        one.close()


def _told(setting: str, address: str, error: OSError) -> str:
    advice = _NO_SUCH_HOST if isinstance(error, socket.gaierror) else _ADVICE.get(error.errno or 0, "")
    why = (error.strerror or str(error)).lower()
    return f"{setting}: cannot listen on {address}: {why}" + (f"; {advice}" if advice else "")


def _bound(family: int, address: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made
