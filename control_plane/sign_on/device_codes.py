"""The two codes of a sign-in that a browser confirms (RFC 8628), and what its asker may be told. Pure but for chance.

The device code is a secret of the asker, 260 random bits. The user code is read off one screen and typed into another:
letters only, none of them a vowel or like a digit (§6.1), 34 bits, good for ten minutes and few tries.
"""

from __future__ import annotations

import enum
import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Final

import msgspec

from control_plane.identities.sign_ins import OpenedSignIn
from control_plane.kit.ids import random_text
from control_plane.kit.secret import Secret

PREFIX: Final = "assentry_d_"
LIFETIME: Final = timedelta(minutes=10)
PAUSE_SECONDS: Final = 5  # between two polls; each that comes too soon adds as much (§3.5)
LONGEST_PAUSE: Final = 60
_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
_LENGTH: Final = 8
_DEVICE_LENGTH: Final = 52
_BETWEEN: Final = str.maketrans("", "", " -_.\u2010\u2011\u2013")


class State(enum.StrEnum):
    PENDING = "pending"
    CONFIRMED = "confirmed"
    DENIED = "denied"
    USED = "used"


class NotYet(enum.StrEnum):
    """Why a poll gets no token, in the words of RFC 8628 §3.5 and RFC 6749 §5.2."""

    PENDING = "authorization_pending"
    SLOW_DOWN = "slow_down"
    DENIED = "access_denied"
    EXPIRED = "expired_token"
    UNKNOWN = "invalid_grant"


class Begun(msgspec.Struct, frozen=True):
    """What the asker gets. `pause_seconds` lie between two polls."""

    device_code: Secret
    user_code: str
    verification_uri: str
    complete_uri: str
    lifetime_seconds: int
    pause_seconds: int


class Asked(msgspec.Struct, frozen=True):
    """What whoever has the code sees of a sign-in that waits, before confirming it."""

    user_code: str
    client_address: str
    created_at: datetime
    expires_at: datetime


class Opened(msgspec.Struct, frozen=True):
    """Confirmed: the sign-in, and for how long it is good."""

    sign_in: OpenedSignIn
    seconds: int


def new_device_code() -> Secret:
    return Secret(PREFIX + random_text(_DEVICE_LENGTH))


def new_user_code() -> str:
    letters = "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
    return f"{letters[:4]}-{letters[4:]}"


def typed(text: str) -> str:
    """A user code as it is shown, however it was typed: small letters, blanks, another dash. Empty: it is none."""
    letters = text.upper().translate(_BETWEEN)
    if len(letters) != _LENGTH or not set(letters) <= set(_LETTERS):
        return ""
    return f"{letters[:4]}-{letters[4:]}"


def hash_of(code: str) -> str:
    return hashlib.sha256(code.encode(errors="surrogatepass")).hexdigest()
