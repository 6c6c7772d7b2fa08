"""The mark that stands where a value was: made here, and recognised in whatever a client sends back.

A mark is the text `‹masked›`, `‹masked:…1234›` (partial) or `‹masked:kwxqhgzzmpnr›` (keyed hash). The name between the
angle quotes is what is recognised, without any key: a mark that was read in one session and written in another is a
mark still. Types that cannot hold the text have a value of their own where one exists that nobody would choose: a UUID
that begins with the bytes of "masked", the mark in hexadecimal for bytea, the mark as a string for JSON. Types that
have none (numbers, dates, booleans) become NULL, and a NULL that is written back is *not* recognised.

Recognition is against accidents (read, modify, write), not against a client that disguises a mark on purpose: such a
client gains nothing but a column full of marks.

The key belongs to one session: equal values have equal hash marks inside it and can be joined, and nothing can be
compared across sessions. Inside a session a client that may write chosen values to a hashed column can test guesses.
"""

# ruff: noqa: RUF001, RUF002 - the angle quotes are the mark
from __future__ import annotations

import hashlib
from typing import Final

import re2

MARK: Final = "‹masked›".encode()
_OPEN: Final = "‹masked:".encode()
_CLOSE: Final = "›".encode()
_ELLIPSIS: Final = "…"
UUID_MARK: Final = b"masked\x40\x00\x80\x00\x00\x00\x00\x00\x00\x00"

_K: Final = ord("k")
_SEVEN: Final = ord("7")
_SHORTEST_PARTIAL: Final = 8
_KEPT: Final = 4
_PLAIN: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@._-")
_LETTERS: Final = bytes.maketrans(b"0123456789abcdef", b"ghijkmnpqrstvwxz")  # no digit: no detector takes it for one


def session_key(deployment_key: bytes, session: str) -> bytes:
    """The key of one session's marks, from a key that the agent keeps."""
    return hashlib.blake2b(session.encode(), key=deployment_key[:64], person=b"assentry-marks").digest()


class Marks:
    """Makes the marks of one session."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) < 16:
            raise ValueError("a key of at least 16 bytes is needed to make marks")
        self._key = key[:64]

    def hashed(self, value: bytes) -> bytes:
        """Equal for equal values, for as long as the key lives."""
        digest = hashlib.blake2b(value, digest_size=6, key=self._key).hexdigest().encode()
        return _OPEN + digest.translate(_LETTERS) + _CLOSE

    def hashed_uuid(self, value: bytes) -> bytes:
        """The 16 bytes of a UUID that is a mark; `value` in either of its two formats."""
        plain = value.hex().encode() if len(value) == 16 else value.replace(b"-", b"").lower()
        return UUID_MARK[:9] + hashlib.blake2b(plain, digest_size=7, key=self._key).digest()


def partial(value: bytes) -> bytes:
    """The mark with the last four characters of a value of at least eight; of a shorter one nothing is kept."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return MARK
    if len(text) < _SHORTEST_PARTIAL:
        return MARK
    kept = "".join(character if character in _PLAIN else "•" for character in text[-_KEPT:])
    return _OPEN + (_ELLIPSIS + kept).encode() + _CLOSE


def _options() -> re2.Options:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    return options


_FORMS: Final = re2.compile(
    rb"(?i:\xe2\x80\xb9|\\u2039|\\\+?0{0,2}2039|\\xe2\\x80\\xb9|\\342\\200\\271|&#8249;|&#x2039;|&lsaquo;)masked"
    rb"|(?i:e280b96d61736b6564)"
    rb"|(?i:6d61736b-?6564-?4000-?80)"
    rb"|masked\x40\x00\x80",
    _options(),
)


def carries_mark(data: bytes) -> bool:
    """Whether `data` holds a mark: as UTF-8, escaped as JSON or SQL would, in hexadecimal, or as a marked UUID."""
    # The word, or what its hexadecimal has in either case. One byte is found several times as quickly as a word, and
    # a word more quickly by `partition` than by `find`, whose arguments take longer to be read than such data.
    if (_K in data and data.partition(b"masked")[1]) or (_SEVEN in data and data.partition(b"61736")[1]):
        return _FORMS.search(data) is not None
    return False
