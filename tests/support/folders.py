"""What is in a folder in which others are at work meanwhile."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def files_in(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Its files and those of its folders, but for what goes while they are looked for."""
    for inside, _, names in os.walk(folder):
        for name in sorted(names):
            with contextlib.suppress(FileNotFoundError):
                yield (path := Path(inside, name)), path.stat()


def contents_of(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path, _ in files_in(folder):
        if path.is_file():
            with contextlib.suppress(FileNotFoundError):
                yield path, path.read_bytes()
