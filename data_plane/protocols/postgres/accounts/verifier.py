"""SCRAM-SHA-256 verifiers as PostgreSQL keeps them (RFC 5803): made here, so that no password travels to the target.

The form is that of `pg_authid.rolpassword`: `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Final

from data_plane.runtime.secret import Secret

ITERATIONS: Final = 4096  # the least that clients accept; a random password of 256 bits needs none
_SALT_BYTES: Final = 16


def new_password() -> Secret:
    """256 random bits in characters that need no preparation (SASLprep) and no quoting."""
    return Secret(secrets.token_urlsafe(32))


def verifier(password: Secret) -> str:
    """Of an ASCII password. It signs nobody in, but is no less to be kept from logs."""
    salt = secrets.token_bytes(_SALT_BYTES)
    salted = hashlib.pbkdf2_hmac("sha256", password.reveal().encode("ascii"), salt, ITERATIONS)
    stored = hashlib.sha256(_keyed(salted, b"Client Key")).digest()
    keys = f"{_text(stored)}:{_text(_keyed(salted, b'Server Key'))}"
    return f"SCRAM-SHA-256${ITERATIONS}:{_text(salt)}${keys}"


def _keyed(key: bytes, text: bytes) -> bytes:
    return hmac.new(key, text, hashlib.sha256).digest()


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
