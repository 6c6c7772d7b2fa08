"""What a condition speaks of: its variables, and the texts it compares them with. Read from the compiled expression.

However it was written (white space, escapes, quotes, comments), it is the same expression: cel.expr.CheckedExpr of
cel-spec's checked.proto and syntax.proto, in Protocol Buffers' wire format. Texts that are put together of others count
whole as well; what is computed otherwise is not followed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

import msgspec

from data_plane.policy.conditions import Condition

_ANY_VALUE: Final = 2
_CHECKED_EXPR: Final = 4
_CONST, _IDENT, _CALL, _STRUCT = 3, 4, 6, 8  # of Expr
_STRING, _BYTES = 6, 7  # of Constant
_NAME: Final = 1  # of Ident
_FUNCTION, _ARGUMENT = 2, 3  # of Call
# Of Expr's kinds: select, call, list, comprehension; which of their fields are expressions.
_INSIDE: Final[Mapping[int, Collection[int]]] = {5: (1,), _CALL: (1, _ARGUMENT), 7: (1,), 9: (2, 4, 5, 6, 7)}
_ENTRY: Final = 2  # of Struct
_KEY_AND_VALUE: Final = (3, 4)  # of Entry
_PUTS_TOGETHER: Final = frozenset({b"_+_", b"string"})
_FIXED: Final[Mapping[int, int]] = {1: 8, 5: 4}  # wire types, by the bytes that they take
_VARINT, _LENGTH = 0, 2


class Mentions(msgspec.Struct, frozen=True):
    variables: frozenset[str]
    texts: frozenset[str]


def mentions(condition: Condition) -> Mentions:
    """Raises ValueError: the engine's form of it is none that is known here."""
    [checked] = _of(condition.checked, _ANY_VALUE)
    [expression] = _of(checked, _CHECKED_EXPR)
    every = list(_expressions(expression))
    names = {name.decode() for one in every for ident in _of(one, _IDENT) for name in _of(ident, _NAME)}
    texts = {text for one in every if (text := _text(one)) is not None}
    return Mentions(frozenset(name.removeprefix(".") for name in names), frozenset(texts))


def _expressions(expression: bytes) -> Iterator[bytes]:
    yield expression
    for kind, held in _fields(expression):
        inside = [one for field in _INSIDE.get(kind, ()) for one in _of(held, field)]
        if kind == _STRUCT:
            inside = [one for entry in _of(held, _ENTRY) for field in _KEY_AND_VALUE for one in _of(entry, field)]
        for one in inside:
            yield from _expressions(one)


def _text(expression: bytes) -> str | None:
    """None: it is none, or one that is not known before it is evaluated."""
    for constant in _of(expression, _CONST):
        for text in (*_of(constant, _STRING), *_of(constant, _BYTES)):
            return text.decode(errors="replace")
    for call in _of(expression, _CALL):
        parts = [_text(one) for one in _of(call, _ARGUMENT)]
        known = [part for part in parts if part is not None]
        if _PUTS_TOGETHER.issuperset(_of(call, _FUNCTION)) and len(known) == len(parts):
            return "".join(known)
    return None


def _of(message: bytes, number: int) -> list[bytes]:
    return [held for field, held in _fields(message) if field == number]


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Those that have a length; numbers tell nothing here. Raises ValueError."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag & 7 == _VARINT:
            _, at = _varint(message, at)
        elif tag & 7 == _LENGTH:
            length, at = _varint(message, at)
            yield tag >> 3, message[at : at + length]
            at += length
        elif tag & 7 in _FIXED:
            at += _FIXED[tag & 7]
        else:
            raise ValueError("a compiled condition has a field of an unknown wire type")
    if at > len(message):
        raise ValueError("a compiled condition is cut short")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """With where it ends."""
    value = shift = 0
    while at < len(message):
        value |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if message[at - 1] < 0x80:
            return value, at
    raise ValueError("a compiled condition is cut short")
