"""What stands in a masked field, so that it is valid for the field's type and format. Pure.

Drivers parse a field by the type they were told, so a mark may not be put anywhere:

| type | text format | binary format |
|---|---|---|
| text, varchar, char(n), name, xml, unknown, refcursor … | the mark | the mark |
| json, jsonb | the mark as a JSON string | the same (jsonb: version byte 1) |
| bytea | the mark in hexadecimal | the mark's bytes |
| uuid | a UUID that is a mark | its 16 bytes |
| arrays of these | one element | one element |
| record | `(mark)` | NULL |
| int, numeric, float, bool, date, time, money, inet, ranges, geometry, oid, reg… and arrays of them | NULL | NULL |
| types of extensions and users (enum, composite, domain over array, citext, hstore) | the mark | NULL |
| void | as it is | as it is |

A constant of a number or a date would look like a value; NULL is valid for all of them and cannot be taken for one. A
NULL stays NULL under every strategy: whether there is a value is told, unless the strategy is `null`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from data_plane.masking import marks, strategies
from data_plane.masking.marks import Marks
from data_plane.masking.strategies import Replacement
from data_plane.policy.model import Strategy

TEXT: Final = 0
BINARY: Final = 1

VOID: Final = 2278
_RECORD: Final = 2249
_BYTEA: Final = 17
_UUID: Final = 2950
_JSON: Final = 114
_JSONB: Final = 3802
_ARRAY_OF: Final = {
    1009: 25, 1015: 1043, 1014: 1042, 1003: 19, 1002: 18, 143: 142, 1263: 2275, 2201: 1790,
    199: _JSON, 3807: _JSONB, 1001: _BYTEA, 2951: _UUID,
}  # fmt: skip
_PLAIN_TEXT: Final = frozenset({25, 1043, 1042, 19, 142, 705, 2275, 1790})
_QUOTED_CHAR: Final = 18
JSON_TYPES: Final = frozenset({_JSON, _JSONB})
NETWORK_TYPES: Final = frozenset({869, 650, 1041, 651})  # inet, cidr and their arrays
_FIRST_OF_USERS: Final = 16384


def holds_text(oid: int) -> bool:
    """Whether detectors look into values of this type; types of users and extensions may hold anything."""
    return (
        oid in _PLAIN_TEXT or oid in JSON_TYPES or oid in _ARRAY_OF or oid in (_QUOTED_CHAR, _RECORD) or user_made(oid)
    )


def user_made(oid: int) -> bool:
    return oid >= _FIRST_OF_USERS


def is_plain_text(oid: int) -> bool:
    """Whether a part of a value can be replaced and leave a valid value."""
    return oid in _PLAIN_TEXT


def replacement(oid: int, format_: int, strategy: Strategy, keyed: Marks) -> Replacement:
    """What a field of this type and format becomes."""
    if strategy == "null":
        return None
    if oid in _ARRAY_OF:
        return _array(_ARRAY_OF[oid], format_, _scalar(_ARRAY_OF[oid], format_, strategy, keyed))
    return _scalar(oid, format_, strategy, keyed)


def _scalar(oid: int, format_: int, strategy: Strategy, keyed: Marks) -> Replacement:
    text = strategies.of_text(strategy, keyed)
    if oid in _PLAIN_TEXT:
        return text
    if oid == _UUID:
        return _uuid(format_, strategy, keyed)
    whole = text if strategy == "hash" else marks.MARK
    if oid in JSON_TYPES:
        return _wrapped(whole, _json(oid, format_))
    if oid == _BYTEA:
        return _wrapped(whole, bytes if format_ == BINARY else _hexadecimal)
    return text if format_ == TEXT and (user_made(oid) or oid == _QUOTED_CHAR) else _record(oid, format_)


def _record(oid: int, format_: int) -> Replacement:
    return b"(" + marks.MARK + b")" if oid == _RECORD and format_ == TEXT else None


def _wrapped(inner: Replacement, wrap: Callable[[bytes], bytes]) -> Replacement:
    if callable(inner):
        made = inner
        return lambda value: None if (mark := made(value)) is None else wrap(mark)
    return None if inner is None else wrap(inner)


def _json(oid: int, format_: int) -> Callable[[bytes], bytes]:
    version = b"\x01" if oid == _JSONB and format_ == BINARY else b""
    return lambda mark: version + b'"' + mark + b'"'


def _hexadecimal(mark: bytes) -> bytes:
    return b"\\x" + mark.hex().encode()


def _uuid(format_: int, strategy: Strategy, keyed: Marks) -> Replacement:
    form = bytes if format_ == BINARY else _uuid_text
    if strategy == "hash":
        return lambda value: form(keyed.hashed_uuid(value))
    return form(marks.UUID_MARK)


def _uuid_text(value: bytes) -> bytes:
    digits = value.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}".encode()


def _array(element: int, format_: int, inner: Replacement) -> Replacement:
    if format_ == BINARY:
        return _wrapped(inner, lambda mark: struct.pack("!iiIiii", 1, 0, element, 1, 1, len(mark)) + mark)
    return _wrapped(inner, _array_literal)


def _array_literal(mark: bytes) -> bytes:
    return b'{"' + mark.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"}'
