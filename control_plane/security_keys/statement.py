"""What a security key signs: a statement in plain JSON, whose hash is the challenge of the ceremony. Pure, and light.

A decision's statement names every request that it is for, with the digest of what was shown of it and of the operation
that would run. So the signature of the key is one over exactly that, and whoever keeps the statement can show it later.
"""

from __future__ import annotations

import enum
import hashlib
from typing import Final

import msgspec

FORM: Final = "assentry-statement-v1"
_CONTEXT: Final = b"assentry-security-key-v1\0"


class Purpose(enum.StrEnum):
    REGISTER = "register"
    AUTHENTICATE = "authenticate"  # who one is, and nothing else
    DECIDE = "decide"


class Request(msgspec.Struct, frozen=True):
    approval: str
    shown: str  # hex: of everything that was shown
    operation: str = ""  # hex: of what would run; empty: a plan or access, of which `shown` is all


class Window(msgspec.Struct, frozen=True):
    """Chosen in place of one operation."""

    uses: int
    minutes: int | None = None
    until_ms: int | None = None


class Decision(msgspec.Struct, frozen=True):
    verb: str  # approve, break-glass
    requests: tuple[Request, ...]
    window: Window | None = None


class Statement(msgspec.Struct, frozen=True):
    purpose: Purpose
    deployment: str
    person_id: str
    person: str
    sign_in: str
    at_ms: int
    nonce: str
    decision: Decision | None = None
    form: str = FORM


class StatementError(ValueError):
    """`args[0]` says what is wrong."""


def encode(statement: Statement) -> str:
    return msgspec.json.encode(statement, order="deterministic").decode()


def decode(text: str) -> Statement:
    """Raises StatementError, also for what `encode` would have written otherwise."""
    try:
        statement = msgspec.json.decode(text, type=Statement)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise StatementError(f"not a statement: {error}") from error
    if statement.form != FORM or encode(statement) != text:
        raise StatementError("not a statement of this version")
    return statement


def challenge_of(text: str) -> bytes:
    """Of what `encode` gave."""
    return hashlib.sha256(_CONTEXT + text.encode()).digest()
