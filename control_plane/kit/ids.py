"""Identifiers: a prefix that tells the noun, then 100 random bits that nobody can guess."""

from __future__ import annotations

import re
import secrets

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"  # RFC 4648 base32, lower case
_LENGTH = 20
_FORM = re.compile(r"[a-z]{2,8}_[a-z2-7]{20}", re.ASCII)


def new_id(prefix: str) -> str:
    return f"{prefix}_{random_text(_LENGTH)}"


def random_text(length: int) -> str:
    """Five bits of randomness for each character."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def is_of(text: str, prefix: str) -> bool:
    """Whether an id that was made here is of this noun."""
    return text.startswith(f"{prefix}_")


def is_id(text: str, prefix: str) -> bool:
    return is_of(text, prefix) and _FORM.fullmatch(text) is not None
