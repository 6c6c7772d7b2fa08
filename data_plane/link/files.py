"""Files of the state directory: written whole or not at all, readable by their owner only."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable
from pathlib import Path


def private_directory(path: Path) -> Path:
    """Made with mode 0700. Raises PermissionError for one that others can enter."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_mode & 0o077:
        raise PermissionError(f"{path} is open to other users; run: chmod 700 {path}")
    return path


def locked_directory(path: Path) -> int:
    """Keeps every other process out until this one ends, however it ends. Raises BlockingIOError when one is in.

    The number is the open file that holds the lock; to be kept, not to be used."""
    descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def write_atomically(file: Path, content: bytes, *, durable: bool = True) -> None:
    """Replaces `file`; a crash leaves the old content or the new. `durable`: on disk when it returns."""
    fresh = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        fresh.replace(file)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    if durable:
        _sync_directory(file.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def kept_secret(file: Path, make: Callable[[], bytes]) -> bytes:
    """The bytes of a file that only this user can read, made at the first call."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        write_atomically(file, make())
        return file.read_bytes()
