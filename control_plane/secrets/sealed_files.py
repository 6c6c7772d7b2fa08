"""The files of the control plane's own keys (signing keys, certificate authority), sealed like secrets.

They are read before there is an event loop, so each call runs in a thread with a loop of its own. Sealing protects
copies of the state directory and of its backups; who can run code as this process can ask for the keys like it does.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections import Counter
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import structlog

from control_plane.kit.sealing import SealError
from control_plane.secrets.envelope import Envelope, Sealed, file_context
from control_plane.secrets.ports import WrappedKeyError, WrappingError

_log = structlog.get_logger(__name__)
T = TypeVar("T")

_PLAIN: Final = b"-----BEGIN "  # PEM, as versions before this one kept their keys


class _SealedFile(msgspec.Struct, frozen=True, tag="assentry-sealed-v1", tag_field="format"):
    wrapping_key: str
    wrapped_key: bytes
    ciphertext: bytes


class SealedFiles:
    """Implements `kit.sealing.FileSeal`. Remembers which files it was asked for."""

    def __init__(self, envelope: Envelope, deployment: str) -> None:
        self._envelope = envelope
        self._deployment = deployment
        self._known: dict[Path, str] = {}

    def read(self, file: Path, what: str) -> bytes:
        """Raises SealError."""
        content = file.read_bytes()
        if content.startswith(_PLAIN):
            self.write(file, content, what)
            _log.warning("sealed a key that lay open; copies of it may exist elsewhere", file=str(file))
            return content
        self._known[file] = what
        return _at_once(self._told(file, self._opened(file, content, what)))

    def write(self, file: Path, content: bytes, what: str) -> None:
        """Raises SealError."""
        self._known[file] = what
        sealed = _at_once(self._told(file, self._envelope.seal(file_context(self._deployment, what), content)))
        _replace(file, _encoded(sealed))

    async def rewrap(self) -> None:
        """Those that another wrapping key sealed. Raises SealError."""
        for file, what in list(self._known.items()):
            if file.exists():  # a step of a rotation may have taken it away
                await self._told(file, self._rewrapped(file, what))

    def by_wrapping_key(self) -> Mapping[str, int]:
        """How many files are sealed with each."""
        return Counter(_decoded(file.read_bytes()).wrapping_key for file in self._known if file.exists())

    async def _opened(self, file: Path, content: bytes, what: str) -> bytes:
        sealed = _decoded(content)
        opened = await self._envelope.open(file_context(self._deployment, what), sealed)
        if sealed.wrapping_key != self._envelope.wraps_with:
            await self._rewrapped(file, what)
        return opened

    async def _rewrapped(self, file: Path, what: str) -> None:
        sealed = _decoded(await asyncio.to_thread(file.read_bytes))
        if sealed.wrapping_key != self._envelope.wraps_with:
            fresh = await self._envelope.rewrapped(file_context(self._deployment, what), sealed)
            await asyncio.to_thread(_replace, file, _encoded(fresh))

    async def _told(self, file: Path, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await work
        except WrappedKeyError as error:
            raise SealError(
                f"{file}: {error}; was it swapped, or has ASSENTRY_DEPLOYMENT changed from {self._deployment!r}?"
            ) from error
        except WrappingError as error:
            raise SealError(f"{file}: {error}") from error


def _at_once(work: Coroutine[Any, Any, T]) -> T:
    with ThreadPoolExecutor(1, "sealed-files") as thread:
        return thread.submit(asyncio.run, work).result()


def _encoded(sealed: Sealed) -> bytes:
    return msgspec.json.encode(_SealedFile(sealed.wrapping_key, sealed.wrapped_key, sealed.ciphertext)) + b"\n"


def _decoded(content: bytes) -> Sealed:
    try:
        kept = msgspec.json.decode(content, type=_SealedFile)
    except msgspec.DecodeError as error:
        raise WrappedKeyError("it is neither a sealed key nor a PEM file") from error
    return Sealed(kept.ciphertext, kept.wrapped_key, kept.wrapping_key)


def _replace(file: Path, content: bytes) -> None:
    """A crash leaves the old content or the new."""
    fresh = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(file)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
