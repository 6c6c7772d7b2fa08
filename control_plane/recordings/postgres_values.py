"""PostgreSQL values as people read them: text as it is, the common binary types by OID, the rest as bytes. Pure.

A prepared statement may be described once and run in binary later, so a value that is announced as text and
cannot be text is read as its type's binary form. `\\x…` is never a guess: it is what was sent.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import struct
import uuid
from collections.abc import Callable, Mapping
from typing import Final

_EPOCH: Final = dt.datetime(2000, 1, 1)  # noqa: DTZ001 - PostgreSQL's own epoch, for types without a zone too
_TYPES: Final[Mapping[int, str]] = {
    16: "boolean",
    17: "bytea",
    18: "char",
    19: "name",
    20: "bigint",
    21: "smallint",
    23: "integer",
    25: "text",
    26: "oid",
    114: "json",
    142: "xml",
    650: "cidr",
    700: "real",
    701: "double precision",
    705: "unknown",
    790: "money",
    869: "inet",
    1000: "boolean[]",
    1005: "smallint[]",
    1007: "integer[]",
    1009: "text[]",
    1015: "character varying[]",
    1016: "bigint[]",
    1021: "real[]",
    1022: "double precision[]",
    1042: "character",
    1043: "character varying",
    1082: "date",
    1083: "time",
    1114: "timestamp",
    1115: "timestamp[]",
    1182: "date[]",
    1184: "timestamp with time zone",
    1185: "timestamp with time zone[]",
    1186: "interval",
    1231: "numeric[]",
    1266: "time with time zone",
    1700: "numeric",
    2950: "uuid",
    2951: "uuid[]",
    3802: "jsonb",
    3807: "jsonb[]",
}


def type_name(oid: int) -> str:
    return _TYPES.get(oid, f"type {oid}")


def read_value(oid: int, data: bytes, *, binary: bool) -> str:
    if not binary:
        text = _text(data)
        if text is not None:
            return text
    reader = _BINARY.get(oid, _text_or_bytes)
    try:
        return reader(data)
    except (ValueError, OverflowError, struct.error, IndexError):
        return as_bytes(data)


def as_bytes(data: bytes) -> str:
    return "\\x" + data.hex()


def _text(data: bytes) -> str | None:
    """None: these bytes are no text that PostgreSQL sends (it has no NUL in text)."""
    if b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _text_or_bytes(data: bytes) -> str:
    text = _text(data)
    return as_bytes(data) if text is None else text


def _number(form: str) -> Callable[[bytes], str]:
    unpack = struct.Struct(form).unpack
    return lambda data: str(unpack(data)[0])


def _float(form: str, digits: int) -> Callable[[bytes], str]:
    unpack = struct.Struct(form).unpack

    def read(data: bytes) -> str:
        text = f"{unpack(data)[0]:.{digits}g}"
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(text, text)

    return read


def _boolean(data: bytes) -> str:
    return {b"\0": "f", b"\1": "t"}.get(data) or as_bytes(data)


def _jsonb(data: bytes) -> str:
    return data[1:].decode() if data[:1] == b"\1" else as_bytes(data)


def _uuid(data: bytes) -> str:
    return str(uuid.UUID(bytes=data))


def _date(data: bytes) -> str:
    (days,) = struct.unpack(">i", data)
    return _infinite(days, 32) or str((_EPOCH + dt.timedelta(days=days)).date())


def _timestamp(data: bytes) -> str:
    (microseconds,) = struct.unpack(">q", data)
    return _infinite(microseconds, 64) or _short(str(_EPOCH + dt.timedelta(microseconds=microseconds)))


def _timestamp_with_zone(data: bytes) -> str:
    text = _timestamp(data)
    return text if text.endswith("infinity") else f"{text}+00"


def _infinite(value: int, bits: int) -> str:
    return {2 ** (bits - 1) - 1: "infinity", -(2 ** (bits - 1)): "-infinity"}.get(value, "")


def _time(data: bytes) -> str:
    (microseconds,) = struct.unpack(">q", data[:8])
    return _short(str((_EPOCH + dt.timedelta(microseconds=microseconds)).time()))


def _short(text: str) -> str:
    """PostgreSQL writes no zeros at the end of a fraction."""
    return text.rstrip("0") if "." in text else text


def _time_with_zone(data: bytes) -> str:
    (west,) = struct.unpack(">i", data[8:])
    sign, minutes = ("-", west // 60) if west > 0 else ("+", -west // 60)
    return f"{_time(data)}{sign}{minutes // 60:02d}" + (f":{minutes % 60:02d}" if minutes % 60 else "")


def _interval(data: bytes) -> str:
    microseconds, days, months = struct.unpack(">qii", data)
    parts = [f"{months} mons"] if months else []
    parts += [f"{days} days"] if days else []
    if microseconds or not parts:
        seconds, rest = divmod(abs(microseconds), 1_000_000)
        clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        parts.append(("-" if microseconds < 0 else "") + clock + (f".{rest:06d}" if rest else ""))
    return " ".join(parts)


def _numeric(data: bytes) -> str:
    count, weight, sign, scale = struct.unpack_from(">hhHh", data)
    if sign in _NUMERIC_SPECIAL:
        return _NUMERIC_SPECIAL[sign]
    digits = struct.unpack_from(f">{count}h", data, 8)
    before = max(0, weight + 1)  # base-10000 digits in front of the point
    whole = "".join(f"{digit:04d}" for digit in (*digits[:before], *[0] * (before - count)))
    behind = (*[0] * max(0, -weight - 1), *digits[before:])
    fraction = "".join(f"{digit:04d}" for digit in behind).ljust(scale, "0")[:scale]
    return ("-" if sign == 0x4000 else "") + (whole.lstrip("0") or "0") + (f".{fraction}" if scale else "")


_NUMERIC_SPECIAL: Final = {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}


def _network(data: bytes) -> str:
    _, bits, _, length = data[:4]
    address = ipaddress.ip_address(data[4 : 4 + length])
    return str(address) if bits == address.max_prefixlen else f"{address}/{bits}"


def _array(data: bytes) -> str:
    """`{1,2,NULL}`; more dimensions are shown one after the other in a flat list of lists."""
    dimensions, _, oid = struct.unpack_from(">iiI", data)
    if not 0 <= dimensions <= 6:
        raise ValueError("too many dimensions")
    sizes = [struct.unpack_from(">ii", data, 12 + 8 * index)[0] for index in range(dimensions)]
    values, at = [], 12 + 8 * dimensions
    while at < len(data):
        (length,) = struct.unpack_from(">i", data, at)
        at += 4
        values.append("NULL" if length < 0 else _element(read_value(oid, data[at : at + length], binary=True)))
        at += max(0, length)
    for size in reversed(sizes[1:]):
        if size <= 0:
            raise ValueError("an empty dimension")
        values = ["{" + ",".join(values[place : place + size]) + "}" for place in range(0, len(values), size)]
    return "{" + ",".join(values) + "}"


def _element(text: str) -> str:
    if text and text.upper() != "NULL" and not set(text) & set('{}," \\\t\n\r'):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_BINARY: Final[Mapping[int, Callable[[bytes], str]]] = {
    16: _boolean,
    17: as_bytes,
    20: _number(">q"),
    21: _number(">h"),
    23: _number(">i"),
    26: _number(">I"),
    650: _network,
    700: _float(">f", 6),
    701: _float(">d", 15),
    869: _network,
    1082: _date,
    1083: _time,
    1114: _timestamp,
    1184: _timestamp_with_zone,
    1186: _interval,
    1266: _time_with_zone,
    1700: _numeric,
    2950: _uuid,
    3802: _jsonb,
    **dict.fromkeys((1000, 1005, 1007, 1009, 1015, 1016, 1021, 1022, 1115, 1182, 1185, 1231, 2951, 3807), _array),
}
