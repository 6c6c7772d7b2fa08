"""Secrets that stand at the agent itself: in a file, or told once at the start (the environment).

The file may be replaced while the agent runs, by an administrator, by an orchestrator that mounts it, or from here
when the account is rotated; the next sign-in uses what is in it by then. Nothing else is ever written to the folder.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

from data_plane.credentials.ports import CredentialError
from data_plane.link.files import write_atomically
from data_plane.runtime.secret import Secret

_PATIENCE: Final = 5.0  # seconds; a file may be on a server that hangs
_MOST_BYTES: Final = 1 << 16
_State = tuple[int, int, int, int]


class FileSecret:
    """Implements `ports.SecretStore`. One newline at the end is no part of the secret."""

    writable = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: tuple[_State, Secret] | None = None

    async def read(self) -> Secret:
        try:
            async with asyncio.timeout(_PATIENCE):
                self._kept = await asyncio.to_thread(self._read, self._kept)
        except TimeoutError:
            raise CredentialError(f"{self._path} cannot be read: no answer within {_PATIENCE:g} s") from None
        return self._kept[1]

    def _read(self, kept: tuple[_State, Secret] | None) -> tuple[_State, Secret]:
        try:
            with self._path.open("rb") as file:
                seen = _state(os.fstat(file.fileno()))
                if kept is not None and kept[0] == seen:
                    return kept
                text = file.read(_MOST_BYTES + 1)
        except OSError as error:
            raise CredentialError(f"{self._path} cannot be read: {error.strerror}") from None
        return seen, self._decoded(text)

    def _decoded(self, text: bytes) -> Secret:
        if len(text) > _MOST_BYTES:
            raise CredentialError(f"{self._path} is larger than {_MOST_BYTES} bytes: this is no password")
        try:
            secret = Secret(text.decode().removesuffix("\n"))
        except UnicodeDecodeError:
            raise CredentialError(f"{self._path} is not UTF-8") from None
        if not secret:
            raise CredentialError(f"{self._path} is empty: write the password into it")
        return secret

    async def write(self, value: Secret) -> None:
        """Waits for the disk: a write that was given up on could still happen."""
        try:
            await asyncio.to_thread(self._write, value)
        except OSError as error:
            advice = f"let the agent's user replace files in {self._path.parent}"
            raise CredentialError(f"{self._path} cannot be replaced: {error.strerror}; {advice}") from None

    def _write(self, value: Secret) -> None:
        """Where the path is a link, what it leads to is replaced."""
        write_atomically(self._path.resolve(strict=True), value.reveal().encode() + b"\n")


def _state(status: os.stat_result) -> _State:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


class FixedSecret:
    """Implements `ports.SecretStore` for a value that was read once, from the environment. It cannot be replaced."""

    writable = False

    def __init__(self, value: Secret, where: str) -> None:
        self._value, self._where = value, where

    async def read(self) -> Secret:
        if not self._value:
            raise CredentialError(f"{self._where} is empty")
        return self._value

    async def write(self, value: Secret) -> None:
        del value
        raise CredentialError(
            f"{self._where} cannot be written from here: keep the secret in a file or a store instead"
        )
