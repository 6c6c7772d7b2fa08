"""Rewriting of DataRow messages by a plan. Pure: a run of whole messages in, as many whole messages out. Never raises.

A DataRow is `D`, Int32 length, Int16 number of fields, and for each field Int32 length (-1: NULL) and its bytes
(chapter 55.7). A row that contradicts its own lengths or the plan's number of fields is replaced by a row of NULLs.

What is fast here: headers are walked up to the last masked field only, the rest of a row is one slice, and detectors
look at a whole batch once before they look at any field.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from data_plane.masking.detectors import Detectors
from data_plane.masking.strategies import Replacement, apply
from data_plane.protocols.postgres import cells

_DATA_ROW: Final = ord("D")
_HEAD: Final = struct.Struct("!BI")
_ROW: Final = struct.Struct("!IH")
_LENGTH: Final = struct.Struct("!i")
_NULL: Final = b"\xff\xff\xff\xff"
_TOP: Final = 7  # type, length, number of fields


class Scanned(msgspec.Struct, frozen=True):
    """A field that detectors look into."""

    index: int
    type: int
    format: int
    whole: Replacement  # where a part of it cannot be replaced


def field(value: bytes | None) -> bytes:
    return _NULL if value is None else _LENGTH.pack(len(value)) + value


def row_of_nulls(fields: int) -> bytes:
    return _HEAD.pack(_DATA_ROW, 6 + 4 * fields) + struct.pack("!H", fields) + _NULL * fields


def withheld(rows: bytes, fields: int) -> bytes:
    """As many rows as there were, with nothing in them."""
    count, at, end = 0, 0, len(rows)
    while at + 5 <= end:
        at += 1 + max(4, _ROW_LENGTH(rows, at + 1)[0])
        count += at <= end
    return row_of_nulls(fields) * count


_ROW_LENGTH: Final = struct.Struct("!I").unpack_from


class ColumnMasks:
    """Replaces whole fields. Constants are laid out once, with their length."""

    def __init__(self, fields: int, replacements: Mapping[int, Replacement]) -> None:
        self._fields = fields
        steps, before = [], 0
        for index in sorted(replacements):
            replacement = replacements[index]
            laid_out = None if callable(replacement) else field(replacement)
            steps.append((range(index - before), laid_out, replacement))
            before = index + 1
        self._steps = tuple(steps)

    def mask_rows(self, rows: bytes) -> bytes:
        try:
            return self._mask(rows)
        except Exception:  # noqa: BLE001 - whatever is wrong with the rows, none of them may leave unmasked
            return withheld(rows, self._fields)

    def _mask(self, rows: bytes) -> bytes:
        out: list[bytes] = []
        append, unpack_row, length_of, pack = out.append, _ROW.unpack_from, _LENGTH.unpack_from, _HEAD.pack
        at, end, steps = 0, len(rows), self._steps
        while at < end:
            size, count = unpack_row(rows, at + 1)
            stop = at + 1 + size
            head, copied, cell, added = len(out), at + 5, at + _TOP, 0
            whole = count == self._fields and stop <= end
            append(b"")
            for skipped, laid_out, replacement in steps if whole else ():
                for _ in skipped:
                    (length,) = length_of(rows, cell)
                    cell += 4 + length if length > 0 else 4
                (length,) = length_of(rows, cell)
                after = cell + 4 + length if length > 0 else cell + 4
                if after > stop:
                    whole = False
                    break
                if length >= 0:
                    new = laid_out or field(apply(replacement, rows[cell + 4 : after]))
                    out += (rows[copied:cell], new)
                    added += len(new) - after + cell
                    copied = after
                cell = after
            if whole:
                out[head] = pack(_DATA_ROW, size + added)
                append(rows[copied:stop])
            else:
                out[head:] = (row_of_nulls(self._fields),)
            at = max(stop, at + 5)
        return b"".join(out)


class DetectorMasks:
    """Looks for values by what they look like: over the batch once, then into the fields of rows that were hit."""

    def __init__(self, fields: int, scanned: Sequence[Scanned], detectors: Detectors) -> None:
        self._fields = fields
        self._scanned = {column.index: column for column in scanned}
        self._detectors = detectors

    def mask_rows(self, rows: bytes) -> bytes:
        try:
            return self._mask(rows)
        except Exception:  # noqa: BLE001 - whatever is wrong with the rows, none of them may leave unmasked
            return withheld(rows, self._fields)

    def _mask(self, rows: bytes) -> bytes:
        out: list[bytes] = []
        length_of, at, copied = _ROW_LENGTH, 0, 0
        for start, end in self._detectors.suspects(rows):
            stop = at + 1 + length_of(rows, at + 1)[0] if at < end else at
            while at < end:
                if stop > start:
                    out += (rows[copied:at], self._row(rows, at, stop))
                    copied = stop
                at = stop
                if at < end:
                    stop = at + 1 + length_of(rows, at + 1)[0]
        return b"".join((*out, rows[copied:])) if out else rows

    def _row(self, rows: bytes, at: int, stop: int) -> bytes:
        """One row, rewritten where something was found."""
        values = decode_row(rows, at, stop)
        if values is None or len(values) != self._fields:
            return row_of_nulls(self._fields)
        for index, column in self._scanned.items():
            value = values[index]
            if value is not None:
                values[index] = scanned_value(value, column, self._detectors)
        body = struct.pack("!H", len(values)) + b"".join(map(field, values))
        return _HEAD.pack(_DATA_ROW, 4 + len(body)) + body


def scanned_value(value: bytes, column: Scanned, detectors: Detectors) -> bytes | None:
    """The value with what was found in it replaced: in part where that leaves a valid value, else whole."""
    masked = detectors.mask(value)
    if masked is value or masked is None:
        return masked
    if cells.is_plain_text(column.type) or (cells.user_made(column.type) and column.format == cells.TEXT):
        return masked
    if column.type in cells.JSON_TYPES and _is_json(masked):
        return masked
    return apply(column.whole, value)


def _is_json(value: bytes) -> bool:
    """Whether the mark fell into a string, so that the document is still one (jsonb's version byte aside)."""
    try:
        json.loads(value.removeprefix(b"\x01"))
    except (ValueError, RecursionError):
        return False
    return True


def decode_row(rows: bytes, at: int, stop: int) -> list[bytes | None] | None:
    """The fields of the row from `at` to `stop`; None when they do not fill it exactly."""
    values: list[bytes | None] = []
    cell, count = at + _TOP, (rows[at + 5] << 8) + rows[at + 6]
    for _ in range(count):
        if cell + 4 > stop:
            return None
        length = _LENGTH.unpack_from(rows, cell)[0]
        cell += 4
        values.append(None if length < 0 else rows[cell : cell + length])
        cell += max(0, length)
    return values if cell == stop and stop <= len(rows) else None


class WithheldRows:
    """For rows whose description cannot be read: each keeps its own number of fields, all NULL."""

    def mask_rows(self, rows: bytes) -> bytes:
        out, at = [], 0
        while at + _TOP <= len(rows):
            size, fields = _ROW.unpack_from(rows, at + 1)
            out.append(row_of_nulls(fields))
            at += 1 + max(6, size)
        return b"".join(out)


class BothMasks:
    """Columns first, so that detectors see nothing of what is masked already."""

    def __init__(self, columns: ColumnMasks, detectors: DetectorMasks) -> None:
        self._columns = columns
        self._detectors = detectors

    def mask_rows(self, rows: bytes) -> bytes:
        return self._detectors.mask_rows(self._columns.mask_rows(rows))
