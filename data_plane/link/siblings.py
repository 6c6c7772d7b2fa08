"""News between the workers of one agent: a word that something in what they share has changed, and for which ticket.

Datagrams on Unix sockets in a folder that only the agent's user can enter. A word that is lost costs a client that
waits at another worker nothing but time: it is told to come back, and finds the answer then. Nothing is believed:
whoever hears a word reads the shared database.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from data_plane.identifiers import ApprovalId

_SUFFIX: Final = ".news"
_LONGEST: Final = 256


class SiblingNews:
    """`folder` is shared by the workers, `name` is this worker's own. Used from its event loop."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._own = folder / f"{name}{_SUFFIX}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    def listen(self, heard: Callable[[ApprovalId], None]) -> None:
        """A socket that a crashed worker of the same name has left is replaced."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._own.unlink(missing_ok=True)
        self._socket.bind(str(self._own))
        self._own.chmod(0o600)
        asyncio.get_running_loop().add_reader(self._socket, self._hear, heard)

    def tell(self, approval: ApprovalId) -> None:
        for path in self._folder.glob(f"*{_SUFFIX}"):
            if path != self._own:
                with contextlib.suppress(OSError):  # it is gone, or too busy to hear
                    self._socket.sendto(approval.encode(), str(path))

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._own.unlink(missing_ok=True)

    def _hear(self, heard: Callable[[ApprovalId], None]) -> None:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            heard(ApprovalId(self._socket.recv(_LONGEST).decode()))
