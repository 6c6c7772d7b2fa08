"""The three formats of COPY, as far as masking needs them: rows are found, fields replaced, the rest left as it is.

Text: a row is a line, fields stand between delimiters, special characters are escaped with a backslash. CSV: a field
may be quoted, with quotes doubled and newlines inside. Binary: a header, tuples of length-prefixed fields, a trailer of
-1.

`broken` is set when a row could not be read or does not end within the bound: nothing follows then, and the session
should be ended, for the client would take what it has for the whole.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from typing import Final

import msgspec
import re2

from data_plane.masking.detectors import Detectors
from data_plane.masking.strategies import Replacement, apply
from data_plane.protocols.postgres.column_masks import field
from data_plane.protocols.postgres.rows import Scanned, scanned_value

LONGEST_ROW: Final = 64 * 1024 * 1024

_ESCAPES: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_ESCAPED: Final = re2.compile(rb"(?s)\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|.)")
_SPECIAL: Final = {10: b"\\n", 13: b"\\r", 9: b"\\t", 8: b"\\b", 12: b"\\f", 11: b"\\v", 92: b"\\\\"}
_ORDINARY_DELIMITERS: Final = frozenset((b"\t", b",", b";", b"|"))
_BINARY_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0"


class CopyColumn(msgspec.Struct, frozen=True):
    masked: bool
    whole: Replacement
    scanned: Scanned | None


class Dialect(msgspec.Struct, frozen=True):
    delimiter: bytes
    null: bytes
    quote: bytes
    header: bool


class CopyFields(msgspec.Struct, frozen=True):
    """What happens to each field. `count` None: not known, every field is looked into."""

    count: int | None
    columns: tuple[CopyColumn, ...]
    unknown: Scanned
    detectors: Detectors | None

    @property
    def only_looks(self) -> bool:
        return not any(column.masked for column in self.columns)

    def touches(self, index: int) -> bool:
        column = self.columns[index] if self.count is not None else None
        return column is None or column.masked or column.scanned is not None

    def value(self, index: int, value: bytes) -> bytes | None:
        """The masked value; the same object when it is left as it is."""
        column = self.columns[index] if self.count is not None else None
        if column is not None and column.masked:
            return apply(column.whole, value)
        scanned = column.scanned if column is not None else self.unknown
        return value if scanned is None or self.detectors is None else scanned_value(value, scanned, self.detectors)


class _Lines(ABC):
    """What text and csv share: whole rows out of chunks. A row that does not end in time ends the output."""

    def __init__(self, fields: CopyFields, dialect: Dialect) -> None:
        self._fields = fields
        self._dialect = dialect
        self._partial: list[bytes] = []
        self._held = 0
        self.broken = False
        self._header = dialect.header

    def mask_data(self, data: bytes) -> bytes:
        if self.broken:
            return b""
        end = self._last_end(data)
        if end == 0:
            self._keep(data)
            return b""
        whole = b"".join((*self._partial, data[:end]))
        self._partial, self._held = [], 0
        self._keep(data[end:])
        return self._guarded(whole)

    def finish(self) -> bytes:
        """A row without an end is not shown: whole rows end with a newline."""
        self._partial = []
        return b""

    def _keep(self, data: bytes) -> None:
        if data:
            self._partial.append(data)
        self._held += len(data)
        if self._held > LONGEST_ROW:
            self.broken, self._partial = True, []

    def _guarded(self, whole: bytes) -> bytes:
        try:
            return self._mask(whole)
        except Exception:  # noqa: BLE001 - whatever is wrong with the rows, none of them may leave unmasked
            self.broken = True
            return b""

    def _clean(self, whole: bytes) -> bool:
        """Whether the batch needs no look at its fields."""
        detectors = self._fields.detectors
        plain = self._dialect.delimiter in _ORDINARY_DELIMITERS
        return plain and self._fields.only_looks and not (detectors and detectors.suspicious(whole))

    def _mask(self, whole: bytes) -> bytes:
        if self._clean(whole) and not self._header:
            return whole
        return b"".join([self._row(row) for row in self._rows(whole)])

    def _row(self, row: list[bytes]) -> bytes:
        if self._header:
            self._header = False
            return self._dialect.delimiter.join(row) + b"\n"
        fields = self._fields
        if fields.count is not None and len(row) != fields.count:
            row = [self._dialect.null] * fields.count
        for index, raw in enumerate(row):
            if raw != self._dialect.null and fields.touches(index):
                row[index] = self._field(index, raw)
        return self._dialect.delimiter.join(row) + b"\n"

    def _field(self, index: int, raw: bytes) -> bytes:
        value = self._decoded(raw)
        masked = self._fields.value(index, value)
        if masked is None:
            return self._dialect.null
        return raw if masked is value else self._encoded(masked)

    def _last_end(self, data: bytes) -> int:
        """Behind the last row that ends in `data`; 0: none does."""
        return data.rfind(b"\n") + 1

    @abstractmethod
    def _rows(self, whole: bytes) -> list[list[bytes]]: ...

    @abstractmethod
    def _decoded(self, raw: bytes) -> bytes: ...

    @abstractmethod
    def _encoded(self, value: bytes) -> bytes: ...


class TextCopy(_Lines):
    """FORMAT text."""

    def _rows(self, whole: bytes) -> list[list[bytes]]:
        return [self._split(line) for line in whole[:-1].split(b"\n")]

    def _split(self, line: bytes) -> list[bytes]:
        pieces = line.split(self._dialect.delimiter)
        if b"\\" + self._dialect.delimiter not in line:
            return pieces
        fields: list[bytes] = []
        begun: bytes | None = None
        for piece in pieces:
            joined = piece if begun is None else begun + self._dialect.delimiter + piece
            if (len(joined) - len(joined.rstrip(b"\\"))) % 2:
                begun = joined
            else:
                fields.append(joined)
                begun = None
        return fields if begun is None else [*fields, begun]

    def _decoded(self, raw: bytes) -> bytes:
        return _ESCAPED.sub(_unescaped, raw) if b"\\" in raw else raw

    def _encoded(self, value: bytes) -> bytes:
        delimiter = self._dialect.delimiter[0]
        special = _SPECIAL if delimiter in _SPECIAL else {**_SPECIAL, delimiter: b"\\" + self._dialect.delimiter}
        return b"".join([special.get(byte) or bytes((byte,)) for byte in value])


def _unescaped(found: re2._Match[bytes]) -> bytes:
    escape: bytes = found.group(1)
    if escape[:1] == b"x" and len(escape) > 1:
        return bytes((int(escape[1:], 16),))
    if escape[:1] in b"01234567":
        return bytes((int(escape, 8) & 0xFF,))
    return _ESCAPES.get(escape, escape)


class CsvCopy(_Lines):
    """FORMAT csv. The escape is the quote: so the number of quotes before a newline tells whether it ends a row."""

    _inside = False

    def _last_end(self, data: bytes) -> int:
        at, end, inside = 0, 0, self._inside
        for segment in data.split(self._dialect.quote):
            newline = -1 if inside else segment.rfind(b"\n")
            if newline >= 0:
                end = at + newline + 1
            at += len(segment) + 1
            inside = not inside
        self._inside = not inside
        return end

    def _rows(self, whole: bytes) -> list[list[bytes]]:
        delimiter = self._dialect.delimiter
        if self._dialect.quote not in whole:
            return [line.split(delimiter) for line in whole[:-1].split(b"\n")]
        rows: list[list[bytes]] = [[]]
        at = 0
        while at < len(whole):
            stop = self._field_end(whole, at)
            rows[-1].append(whole[at:stop])
            if whole[stop : stop + 1] == b"\n":
                rows.append([])
            at = stop + 1
        return rows[:-1]

    def _field_end(self, whole: bytes, at: int) -> int:
        quote, inside = self._dialect.quote[0], False
        ends = (self._dialect.delimiter[0], 10)
        while at < len(whole):
            byte = whole[at]
            if byte == quote:
                inside = not inside
                if inside:
                    at = whole.index(quote, at + 1)
                    continue
            elif not inside and byte in ends:
                break
            at += 1
        return at

    def _decoded(self, raw: bytes) -> bytes:
        quote = self._dialect.quote
        return raw[1:-1].replace(quote * 2, quote) if len(raw) > 1 and raw[:1] == raw[-1:] == quote else raw

    def _encoded(self, value: bytes) -> bytes:
        quote = self._dialect.quote
        special = (self._dialect.delimiter, quote, b"\n", b"\r")
        if value in (self._dialect.null, b"\\.") or any(mark in value for mark in special):
            return quote + value.replace(quote, quote * 2) + quote
        return value


class BinaryCopy:
    """FORMAT binary."""

    def __init__(self, fields: CopyFields) -> None:
        self._fields = fields
        self._buffer = bytearray()
        self._begun = False
        self._over = self.broken = False

    def mask_data(self, data: bytes) -> bytes:
        if self._over or self.broken:
            return b""
        self._buffer += data
        out: list[bytes] = []
        at = 0
        try:
            while (taken := self._next(at, out)) > at:
                at = taken
        except Exception:  # noqa: BLE001 - whatever is wrong with the rows, none of them may leave unmasked
            self.broken = True
        del self._buffer[:at]
        self.broken = self.broken or len(self._buffer) > LONGEST_ROW
        if self.broken or self._over:
            self._buffer.clear()
        return b"".join(out)

    def finish(self) -> bytes:
        self._buffer.clear()
        return b""

    def _next(self, at: int, out: list[bytes]) -> int:
        """Takes the header, a tuple or the trailer at `at`; returns where it ends, or `at` when it is not all there."""
        if not self._begun:
            return self._header(at, out)
        if self._over or len(self._buffer) - at < 2:
            return at
        (count,) = struct.unpack_from("!h", self._buffer, at)
        if count == -1:
            self._over = True
            out.append(b"\xff\xff")
            return at + 2
        return self._tuple(at, count, out)

    def _header(self, at: int, out: list[bytes]) -> int:
        if len(self._buffer) < 19:
            return at
        flags, extension = struct.unpack_from("!II", self._buffer, 11)
        if self._buffer[:11] != _BINARY_SIGNATURE or flags >> 16:
            raise ValueError("not a binary COPY that is understood")
        if len(self._buffer) < 19 + extension:
            return at
        self._begun = True
        out.append(bytes(self._buffer[: 19 + extension]))
        return int(19 + extension)

    def _tuple(self, begin: int, count: int, out: list[bytes]) -> int:
        values: list[bytes | None] = []
        at = begin + 2
        for _ in range(count):
            if len(self._buffer) < at + 4:
                return begin
            (length,) = struct.unpack_from("!i", self._buffer, at)
            at += 4
            if len(self._buffer) < at + length:
                return begin
            values.append(None if length < 0 else bytes(self._buffer[at : at + length]))
            at += max(0, length)
        if self._fields.count is not None and count != self._fields.count:
            values = [None] * self._fields.count
        masked = [None if value is None else self._fields.value(index, value) for index, value in enumerate(values)]
        out.append(struct.pack("!h", len(masked)) + b"".join(map(field, masked)))
        return at
