"""The descriptors of segments that are being written: kept open, because a busy session appends several times a second.

Bounded: of many sessions those that wrote last are kept. Used by the recording thread only.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, final

_MOST: Final = 512


@final
class Descriptors:
    """Of files that are appended to, by path. Whoever closes, renames or removes such a file calls `close` first."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._open: dict[str, int] = {}  # in the order of their last use

    def open(self, path: str, *, new: bool) -> int:
        """Raises OSError: also when a file that is not new is gone."""
        descriptor = self._open.pop(path, -1)
        if descriptor < 0:
            if len(self._open) >= self._most:
                self.close(next(iter(self._open)))
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | (os.O_CREAT if new else 0), 0o600)
        self._open[path] = descriptor
        return descriptor

    def close(self, path: str | Path) -> None:
        descriptor = self._open.pop(str(path), -1)
        if descriptor >= 0:
            os.close(descriptor)
