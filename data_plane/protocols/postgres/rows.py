"""Rewriting of DataRow messages by a plan. Pure: a run of whole messages in, as many whole messages out. Never raises.

A DataRow is `D`, Int32 length, Int16 number of fields, and for each field Int32 length (-1: NULL) and its bytes
(chapter 55.7). A row that contradicts its own lengths or the plan's number of fields is replaced by a row of NULLs.

What is fast here: detectors look at a whole batch once before they look at any field. Masks of whole fields are in
`column_masks`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Final

import msgspec

from data_plane.masking.detectors import Detectors
from data_plane.masking.strategies import Replacement, apply
from data_plane.protocols.postgres import cells
from data_plane.protocols.postgres.column_masks import ColumnMasks, field, row_of_nulls, withheld

_DATA_ROW: Final = ord("D")
_HEAD: Final = struct.Struct("!BI")
_ROW: Final = struct.Struct("!IH")
_LENGTH: Final = struct.Struct("!i")
_ROW_LENGTH: Final = struct.Struct("!I").unpack_from
_TOP: Final = 7  # type, length, number of fields


class Scanned(msgspec.Struct, frozen=True):
    """A field that detectors look into."""

    index: int
    type: int
    format: int
    whole: Replacement  # where a part of it cannot be replaced


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
