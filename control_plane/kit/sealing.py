"""How the control plane's own keys lie in files: sealed. `secrets` implements it; `keys` and the authority use it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class SealError(Exception):
    """`args[0]` names the file, says what is wrong and what to do."""


class FileSeal(Protocol):
    """`what` the content is goes into the seal: one file cannot be put in the place of another."""

    def read(self, file: Path, what: str) -> bytes:
        """The content. A file that lies open, as another version left it, is sealed first. Raises SealError."""

    def write(self, file: Path, content: bytes, what: str) -> None:
        """Whole or not at all, on disk when it returns, readable by its owner only. Raises SealError."""
