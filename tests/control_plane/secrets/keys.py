"""A wrapping key in memory that a test can take away, slow down and count."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from control_plane.secrets.ports import WrappedKeyError, WrapperUnavailableError


class PlayedKey:
    """Implements `ports.KeyWrapper`."""

    def __init__(self, name: str, *, binds: bool = True) -> None:
        """`binds`: to the context, as not every service does."""
        self.id = f"played:{name}"
        self._binds = binds
        self.away = False
        self.wrapped = 0
        self.before_wrap: Callable[[], Awaitable[object]] | None = None
        self._cipher = AESGCM(AESGCM.generate_key(256))

    async def wrap(self, data_key: bytes, context: bytes) -> bytes:
        self._here()
        if self.before_wrap is not None:
            await self.before_wrap()
        self.wrapped += 1
        nonce = os.urandom(12)
        return nonce + self._cipher.encrypt(nonce, data_key, context if self._binds else None)

    async def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        self._here()
        try:
            return self._cipher.decrypt(wrapped[:12], wrapped[12:], context if self._binds else None)
        except (InvalidTag, ValueError):
            raise WrappedKeyError(f"{self.id} did not wrap this") from None

    def _here(self) -> None:
        if self.away:
            raise WrapperUnavailableError(f"{self.id} cannot be asked now")
