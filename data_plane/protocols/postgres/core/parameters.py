"""Bound values as a reviewer reads them, by type and format. What cannot be decoded is shown in hexadecimal.

Follows the binary formats of the target's `…send` functions. It decodes to show, never to decide: the digest of an
approval is over the raw bytes.
"""

from __future__ import annotations

import datetime as dt
import struct
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from data_plane.gate.interface import Parameter
from data_plane.protocols.postgres.framing import Fields, RemoteProtocolError

_DECIMAL_DIGITS: Final = 4
_NEGATIVE, _NAN, _INFINITY, _MINUS_INFINITY = 0x4000, 0xC000, 0xD000, 0xF000
_MOST_DIMENSIONS: Final = 6
_EPOCH: Final = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
_MOST_ARRAY_VALUES: Final = 100_000


def _int(value: bytes, size: int) -> str:
    if len(value) != size:
        raise ValueError("wrong size")
    return str(int.from_bytes(value, "big", signed=True))


def _float(value: bytes, code: str) -> str:
    return repr(struct.unpack(code, value)[0])


def _numeric(value: bytes) -> str:
    fields = Fields(value)
    count, weight, sign, scale = fields.uint16(), fields.int16(), fields.uint16(), fields.uint16()
    digits = [fields.uint16() for _ in range(count)]
    fields.end()
    named = {_NAN: "NaN", _INFINITY: "Infinity", _MINUS_INFINITY: "-Infinity"}.get(sign)
    if named:
        return named
    if sign not in (0, _NEGATIVE) or any(digit > 9999 for digit in digits):
        raise ValueError("not a numeric")

    def digit(exponent: int) -> str:
        place = weight - exponent
        return f"{digits[place]:04}" if 0 <= place < count else "0000"

    whole = "".join(digit(exponent) for exponent in range(max(weight, 0), -1, -1)).lstrip("0") or "0"
    fraction = "".join(digit(-place) for place in range(1, -(-scale // _DECIMAL_DIGITS) + 1))[:scale]
    return ("-" if sign else "") + whole + (f".{fraction}" if scale else "")


def _boolean(value: bytes) -> str:
    return {b"\0": "false", b"\1": "true"}[value]


def _text(value: bytes) -> str:
    return value.decode()


def _date(value: bytes) -> str:
    days = int(_int(value, 4))
    return (_EPOCH + dt.timedelta(days=days)).date().isoformat()


def _timestamp(value: bytes) -> str:
    moment = _EPOCH + dt.timedelta(microseconds=int(_int(value, 8)))
    return moment.replace(tzinfo=None).isoformat(sep=" ")


def _jsonb(value: bytes) -> str:
    if value[:1] != b"\1":
        raise ValueError("an unknown version of jsonb")
    return value[1:].decode()


_Decoder = Callable[[bytes], str]

_TYPES: Final[Mapping[int, tuple[str, _Decoder]]] = {
    16: ("bool", _boolean),
    17: ("bytea", lambda value: "\\x" + value.hex()),
    18: ("char", _text),
    19: ("name", _text),
    20: ("int8", lambda value: _int(value, 8)),
    21: ("int2", lambda value: _int(value, 2)),
    23: ("int4", lambda value: _int(value, 4)),
    25: ("text", _text),
    26: ("oid", lambda value: str(int.from_bytes(value, "big"))),
    114: ("json", _text),
    700: ("float4", lambda value: _float(value, "!f")),
    701: ("float8", lambda value: _float(value, "!d")),
    705: ("unknown", _text),
    1042: ("bpchar", _text),
    1043: ("varchar", _text),
    1082: ("date", _date),
    1114: ("timestamp", _timestamp),
    1184: ("timestamptz", lambda value: _timestamp(value) + "+00"),
    1700: ("numeric", _numeric),
    2950: ("uuid", lambda value: str(uuid.UUID(bytes=value))),
    3802: ("jsonb", _jsonb),
}

_ARRAYS: Final[Mapping[int, int]] = {
    1000: 16, 1001: 17, 1002: 18, 1003: 19, 1005: 21, 1007: 23, 1009: 25, 1014: 1042, 1015: 1043, 1016: 20,
    1021: 700, 1022: 701, 1028: 26, 1115: 1114, 1182: 1082, 1185: 1184, 1231: 1700, 199: 114, 2951: 2950, 3807: 3802,
}  # fmt: skip


def type_name(oid: int) -> str:
    if oid in _ARRAYS:
        return _TYPES[_ARRAYS[oid]][0] + "[]"
    return _TYPES[oid][0] if oid in _TYPES else (f"oid {oid}" if oid else "unknown")


def shown(name: str, oid: int, format_: int, value: bytes | None) -> Parameter:
    """One bound value; `oid` 0: the target will infer the type, so only text can be read."""
    type_ = type_name(oid)
    if value is None:
        return Parameter(name, type_, "", null=True)
    try:
        return Parameter(name, type_, value.decode() if not format_ else _binary(oid, value))
    except (ValueError, KeyError, OverflowError, struct.error, RemoteProtocolError):
        return Parameter(name, type_, value.hex(), decoded=False)


def all_shown(
    formats: Sequence[int], values: Sequence[bytes | None], types: Sequence[int], prefix: str = ""
) -> list[Parameter]:
    """The values of one Bind; as many `types` as are known."""
    found = []
    for place, value in enumerate(values):
        format_ = (formats[place] if len(formats) > 1 else formats[0]) if formats else 0
        found.append(shown(f"{prefix}${place + 1}", types[place] if place < len(types) else 0, format_, value))
    return found


def _binary(oid: int, value: bytes) -> str:
    element = _ARRAYS.get(oid)
    return _TYPES[oid][1](value) if element is None else _array(value, element)


def _array(value: bytes, element: int) -> str:
    fields = Fields(value)
    dimensions, _, oid = fields.int32(), fields.int32(), fields.uint32()
    if not 0 <= dimensions <= _MOST_DIMENSIONS or oid != element:
        raise ValueError("not such an array")
    sizes = []
    for _ in range(dimensions):
        sizes.append(fields.int32())
        fields.int32()
    count = 1
    for size in sizes:
        count *= size
    if not 0 <= count <= _MOST_ARRAY_VALUES:
        raise ValueError("too many values")
    items = [_item(fields.value(), element) for _ in range(count if dimensions else 0)]
    fields.end()
    return _braces(items, sizes) if dimensions else "{}"


def _item(value: bytes | None, element: int) -> str:
    if value is None:
        return "NULL"
    text = _TYPES[element][1](value)
    plain = text and text.upper() != "NULL" and not set(text) & set('{},"\\ \t\n')
    return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _braces(items: Sequence[str], sizes: Sequence[int]) -> str:
    if len(sizes) == 1:
        return "{" + ",".join(items) + "}"
    width = len(items) // sizes[0] if sizes[0] else 0
    inner = (_braces(items[place * width : (place + 1) * width], sizes[1:]) for place in range(sizes[0]))
    return "{" + ",".join(inner) + "}"
