"""Reads recorded PostgreSQL output (protocol 3.0, section 55.7) as columns, rows, notices and errors. Pure.

It follows what the client was sent, after masking; marks of masked values are values like others and stay.
It is not a protocol core: it judges nothing, and what it does not know it leaves out. Bytes that do not make
sense end the reading of that result with `Unreadable`, never with an exception.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec

from control_plane.recordings.postgres_values import read_value, type_name


class Column(msgspec.Struct, frozen=True):
    name: str
    type: str
    oid: int
    binary: bool


class Columns(msgspec.Struct, frozen=True):
    """What the rows that follow consist of."""

    columns: tuple[Column, ...]


class Row(msgspec.Struct, frozen=True):
    """None: NULL. A value that cannot be read as its type is `\\x…`, its bytes."""

    values: tuple[str | None, ...]


class Message(msgspec.Struct, frozen=True):
    """ErrorResponse or NoticeResponse."""

    kind: str  # error, notice
    severity: str
    code: str
    message: str
    detail: str = ""
    hint: str = ""


class Tag(msgspec.Struct, frozen=True):
    """CommandComplete: `DELETE 3`."""

    text: str


class Copied(msgspec.Struct, frozen=True):
    """A piece of COPY OUT."""

    text: str


class Unreadable(msgspec.Struct, frozen=True):
    reason: str


Piece = Columns | Row | Message | Tag | Copied | Unreadable

_HEADER: Final = 5
_LARGEST: Final = 1 << 30
_FIELD: Final = struct.Struct(">ihihih")  # table, attribute, type, size, modifier, format
_COUNT: Final = struct.Struct(">H")
_LENGTH: Final = struct.Struct(">i")


class ResultReader:
    """Follows the output of one operation; a message may come in several pieces."""

    def __init__(self) -> None:
        self._rest = b""
        self._columns: tuple[Column, ...] = ()
        self._lost = False
        self._readers: Mapping[bytes, Callable[[bytes], Piece]] = {
            b"T": self._row_description,
            b"D": self._data_row,
            b"E": self._error,
            b"N": self._notice,
            b"C": self._tag,
            b"d": self._copied,
        }

    def feed(self, data: bytes) -> Iterator[Piece]:
        if self._lost:
            return
        buffer = self._rest + data
        at = 0
        while len(buffer) - at >= _HEADER:
            (length,) = _LENGTH.unpack_from(buffer, at + 1)
            if not 4 <= length <= _LARGEST:
                self._lost = True
                yield Unreadable("a message with an impossible length")
                return
            if len(buffer) - at < 1 + length:
                break
            yield from self._read(buffer[at : at + 1], buffer[at + _HEADER : at + 1 + length])
            at += 1 + length
        self._rest = buffer[at:]

    def _read(self, kind: bytes, payload: bytes) -> Iterator[Piece]:
        reader = self._readers.get(kind)
        if reader is None:
            return
        try:
            piece = reader(payload)
        except (struct.error, IndexError, ValueError):
            yield Unreadable(f"a {kind.decode('latin-1')!r} message that cannot be read")
            return
        yield piece

    def _row_description(self, payload: bytes) -> Columns:
        (count,) = _COUNT.unpack_from(payload)
        at, columns = 2, []
        for _ in range(count):
            end = payload.index(0, at)
            _, _, oid, _, _, format_code = _FIELD.unpack_from(payload, end + 1)
            name = payload[at:end].decode("utf-8", "replace")
            columns.append(Column(name, type_name(oid), oid, format_code == 1))
            at = end + 1 + _FIELD.size
        self._columns = tuple(columns)
        return Columns(self._columns)

    def _data_row(self, payload: bytes) -> Row:
        (count,) = _COUNT.unpack_from(payload)
        at = 2
        values: list[str | None] = []
        for index in range(count):
            (length,) = _LENGTH.unpack_from(payload, at)
            at += 4
            if length < 0:
                values.append(None)
                continue
            if at + length > len(payload):
                raise ValueError("a value longer than its message")
            values.append(self._value(index, payload[at : at + length]))
            at += length
        return Row(tuple(values))

    def _value(self, index: int, data: bytes) -> str:
        if index < len(self._columns):
            column = self._columns[index]
            return read_value(column.oid, data, binary=column.binary)
        return read_value(0, data, binary=False)

    def _error(self, payload: bytes) -> Message:
        return _message("error", payload)

    def _notice(self, payload: bytes) -> Message:
        return _message("notice", payload)

    def _tag(self, payload: bytes) -> Tag:
        return Tag(payload.rstrip(b"\0").decode("utf-8", "replace"))

    def _copied(self, payload: bytes) -> Copied:
        return Copied(read_value(0, payload, binary=False))


def _message(kind: str, payload: bytes) -> Message:
    fields = {part[:1]: part[1:].decode("utf-8", "replace") for part in payload.split(b"\0") if part}
    return Message(
        kind=kind,
        severity=fields.get(b"V", fields.get(b"S", "")),
        code=fields.get(b"C", ""),
        message=fields.get(b"M", ""),
        detail=fields.get(b"D", ""),
        hint=fields.get(b"H", ""),
    )
