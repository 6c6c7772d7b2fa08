"""A wrapping key that is an age identity (`age-keygen`), X25519 only, read from its file at the start.

age neither binds a context nor tells who encrypted: its public half is enough to write. So what is encrypted is the
data key and a MAC over it and its context, by a key that only who holds the identity can derive.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from control_plane.secrets.ports import WrappedKeyError, WrapperConfigurationError
from control_plane.secrets.wrapping.local import KEY_BYTES, read_private
from control_plane.secrets.wrapping.sdk import library

_PREFIX: Final = "AGE-SECRET-KEY-"


class AgeKey:
    """Implements `ports.KeyWrapper`. An X25519 operation is quick enough for the event loop."""

    def __init__(self, path: Path, where: str) -> None:
        self._pyrage = library("pyrage", "age")
        text = _identity(read_private(path, where), where)
        self._identity = self._parsed(text, where)
        self._recipient = self._identity.to_public()
        self._mac_key = HKDF(SHA256(), 32, salt=None, info=b"assentry age wrapping").derive(text.encode())
        self.id = f"age:{hashlib.sha256(str(self._recipient).encode()).hexdigest()[:16]}"

    def _parsed(self, text: str, where: str) -> Any:
        try:
            return self._pyrage.x25519.Identity.from_str(text)
        except self._pyrage.IdentityError:
            raise WrapperConfigurationError(f"{where}: not an X25519 identity of age") from None

    async def wrap(self, data_key: bytes, context: bytes) -> bytes:
        wrapped: bytes = self._pyrage.encrypt(data_key + self._mac(data_key, context), [self._recipient])
        return wrapped

    async def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        try:
            plain: bytes = self._pyrage.decrypt(wrapped, [self._identity])
        except self._pyrage.DecryptError:
            plain = b""
        data_key, mac = plain[:KEY_BYTES], plain[KEY_BYTES:]
        if not hmac.compare_digest(mac, self._mac(data_key, context)):
            raise WrappedKeyError(f"{self.id} did not wrap this, or not for this context")
        return data_key

    def _mac(self, data_key: bytes, context: bytes) -> bytes:
        return hmac.digest(self._mac_key, data_key.ljust(KEY_BYTES, b"\0") + context, "sha256")


def _identity(text: str, where: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) != 1 or not lines[0].startswith(_PREFIX):
        raise WrapperConfigurationError(
            f"{where}: must hold one identity, as age-keygen writes it, without a passphrase"
        )
    return lines[0]
