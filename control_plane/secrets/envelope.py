"""Envelope encryption: a random data key for every value, wrapped by a wrapping key.

AES-256-GCM (NIST SP 800-38D), a fresh key for every value, so that no nonce can repeat. Value and data key are bound to
their context: a row that is swapped with another, or an older value under a newer number, does not open. It does not
tell that a whole row, with its number, was put back to what it was before: agents refuse a number below what they had.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from control_plane.secrets.ports import KeyWrapper, WrappedKeyError, WrapperConfigurationError

_KEY: Final = 32
_NONCE: Final = 12


class Sealed(msgspec.Struct, frozen=True):
    ciphertext: bytes  # the nonce first
    wrapped_key: bytes
    wrapping_key: str  # the id of the wrapper


def secret_context(deployment: str, name: str, version: int) -> bytes:
    """None of the parts can hold a zero byte."""
    return b"\0".join((b"assentry-secret-v1", deployment.encode(), name.encode(), str(version).encode()))


def file_context(deployment: str, what: str) -> bytes:
    return b"\0".join((b"assentry-file-v1", deployment.encode(), what.encode()))


class Envelope:
    """Every error is a WrappingError that names the wrapping key and what to do, never a value."""

    def __init__(self, wrappers: Sequence[KeyWrapper], beside: str = "") -> None:
        """The first one wraps, all unwrap. `beside`: the id of the one that lies in the state directory."""
        if not wrappers:
            raise ValueError("sealing needs a wrapping key")
        self.beside = beside
        self._first = wrappers[0]
        self._wrappers = {one.id: one for one in reversed(wrappers)}

    @property
    def wraps_with(self) -> str:
        return self._first.id

    @property
    def configured(self) -> Sequence[str]:
        """The one that wraps first."""
        return list(reversed(self._wrappers))

    async def seal(self, context: bytes, value: bytes) -> Sealed:
        """Raises WrapperUnavailableError."""
        key, nonce = AESGCM.generate_key(_KEY * 8), os.urandom(_NONCE)
        wrapped = await self._first.wrap(key, context)
        return Sealed(nonce + AESGCM(key).encrypt(nonce, value, context), wrapped, self._first.id)

    async def open(self, context: bytes, sealed: Sealed) -> bytes:
        """Raises WrappedKeyError for what was not sealed so, WrapperConfigurationError, WrapperUnavailableError."""
        key = await self._data_key(context, sealed)
        try:
            return AESGCM(key).decrypt(sealed.ciphertext[:_NONCE], sealed.ciphertext[_NONCE:], context)
        except (InvalidTag, ValueError) as error:
            raise WrappedKeyError("it was changed after it was sealed, or it belongs elsewhere") from error

    async def rewrapped(self, context: bytes, sealed: Sealed) -> Sealed:
        """The same value under the first wrapping key; only its data key was opened."""
        key = await self._data_key(context, sealed)
        return Sealed(sealed.ciphertext, await self._first.wrap(key, context), self._first.id)

    async def _data_key(self, context: bytes, sealed: Sealed) -> bytes:
        wrapper = self._wrappers.get(sealed.wrapping_key)
        if wrapper is None:
            raise WrapperConfigurationError(
                f"it is sealed with the wrapping key {sealed.wrapping_key}, which is not configured: "
                "add it to ASSENTRY_WRAPPING_KEYS"
            )
        key = await wrapper.unwrap(sealed.wrapped_key, context)
        if len(key) != _KEY:
            raise WrappedKeyError(f"{wrapper.id} gave back {len(key)} bytes where a data key has {_KEY}")
        return key
