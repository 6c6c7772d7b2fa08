"""A wrapping key that this process holds itself: 32 bytes from a file or a variable. AES-256-GCM, bound to its context.

The nonce is random, so one key may wrap some billions of data keys. Whoever reads the key reads every secret: keep it
away from the database and its copies.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from control_plane.secrets.ports import WrappedKeyError, WrapperConfigurationError

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_ADVICE: Final = "make one with: openssl rand -base64 32"


class LocalKey:
    """Implements `ports.KeyWrapper`."""

    def __init__(self, key: bytes) -> None:
        self.id = f"local:{hashlib.sha256(b'assentry wrapping key' + key).hexdigest()[:16]}"
        self._cipher = AESGCM(key)

    async def wrap(self, data_key: bytes, context: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data_key, context)

    async def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        try:
            return self._cipher.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], context)
        except (InvalidTag, ValueError):
            raise WrappedKeyError(f"{self.id} did not wrap this, or not for this context") from None


def from_text(text: str, where: str) -> LocalKey:
    """`where` names the place for people. Raises WrapperConfigurationError."""
    try:
        key = base64.b64decode(text.strip().replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise WrapperConfigurationError(f"{where}: not base64; {_ADVICE}") from None
    if len(key) != KEY_BYTES:
        raise WrapperConfigurationError(f"{where}: {len(key)} bytes, a wrapping key has {KEY_BYTES}; {_ADVICE}")
    return LocalKey(key)


def read_private(path: Path, where: str) -> str:
    """The text of a file that strangers cannot read. Raises WrapperConfigurationError."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(1 << 16).decode()
    except OSError as error:
        raise WrapperConfigurationError(f"{where}: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise WrapperConfigurationError(f"{where}: {path} is no text") from None
    if mode & 0o027:
        raise WrapperConfigurationError(f"{where}: {path} is open to other users; run: chmod o=,g-w {path}")
    return text
