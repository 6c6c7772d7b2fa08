"""Which processes of one agent are alive, so that what a dead one has left can be taken over.

Each process holds a lock on a file of its own for as long as it lives. The kernel gives it up with the process, however
that ends: kill -9 is seen at once, and neither a clock that jumps nor a machine that sleeps makes a living one look
dead. An owner's name is used once, by one run of one worker.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from data_plane.link.files import private_directory

_SUFFIX: Final = ".lock"
_LEADER: Final = "leader"


class Owners:
    """`folder` is shared by the workers of one agent."""

    def __init__(self, folder: Path, own: str) -> None:
        self.own = own
        self._folder = private_directory(folder)
        self._held: int | None = self._hold(own)
        self._leading: int | None = None

    def alive(self, owner: str) -> bool:
        if owner == self.own:
            return True
        descriptor = _locked(self._file(owner), fcntl.LOCK_SH)
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is None

    @property
    def leads(self) -> bool:
        """One process of the agent, until it ends: for what one is enough to do."""
        if self._leading is None:
            self._leading = _locked(self._file(_LEADER), fcntl.LOCK_EX)
        return self._leading is not None

    def forget_dead(self, but: frozenset[str]) -> None:
        """The files of those that have ended, except of owners that something still belongs to."""
        for file in self._folder.glob(f"*{_SUFFIX}"):
            owner = file.name.removesuffix(_SUFFIX)
            if owner in {self.own, _LEADER} or owner in but:
                continue
            descriptor = _locked(file, fcntl.LOCK_EX)
            if descriptor is not None:
                file.unlink(missing_ok=True)
                os.close(descriptor)

    def close(self) -> None:
        """From now on this process counts as dead. Harmless twice."""
        for descriptor in (self._held, self._leading):
            if descriptor is not None:
                os.close(descriptor)
        self._held = self._leading = None

    def _hold(self, owner: str) -> int:
        """Another process may look at the file, or take it for a dead one's and remove it, before it is locked."""
        while True:
            descriptor = os.open(self._file(owner), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                return descriptor
            os.close(descriptor)

    def _file(self, owner: str) -> Path:
        return self._folder / f"{owner}{_SUFFIX}"


def _locked(file: Path, kind: int) -> int | None:
    """None: somebody else holds it. Made when it is missing: then nobody does."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
