"""Segments as files below one directory: written beside, synced, then renamed, so a crash leaves whole files only."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from pathlib import Path
from typing import Final

from control_plane.recordings.ports import SegmentMissingError

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)


class LocalStore:
    """`root/ab/<session>/<name>.segment`; the first folder keeps directories small."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def put(self, session_id: str, name: str, data: bytes) -> None:
        await asyncio.to_thread(_write, self._file(session_id, name), data)

    async def get(self, session_id: str, name: str) -> bytes:
        return await asyncio.to_thread(_read, self._file(session_id, name))

    def _file(self, session_id: str, name: str) -> Path:
        for part in (session_id, name):
            if _NAME.fullmatch(part) is None:
                raise SegmentMissingError(f"{part[:64]!r} is no name of a recording")
        return self._root / session_id[-2:] / session_id / f"{name}.segment"


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise SegmentMissingError(f"{file.name}: {error.strerror}") from error


def _write(file: Path, data: bytes) -> None:
    if file.exists():
        return
    _make_folder(file.parent)
    beside = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)
    _sync(file.parent)


def _make_folder(folder: Path) -> None:
    for one in (folder.parent, folder):
        if not one.is_dir():
            one.mkdir(mode=0o700, exist_ok=True)
            _sync(one.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
