"""Masks of whole fields, for runs of whole DataRow messages: see `rows`. A module of its own because it is compiled.

Headers are walked up to the last masked field only, and the rest of a row is one slice.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from data_plane.masking.strategies import Replacement, apply
from data_plane.protocols.postgres.framing import uint32_at

if TYPE_CHECKING:
    from mypy_extensions import i64  # see `framing`

_DATA_ROW: Final = ord("D")
_HEAD: Final = struct.Struct("!BI")
_LENGTH: Final = struct.Struct("!i")
_NULL: Final = b"\xff\xff\xff\xff"
_NEGATIVE: Final = 0x80000000  # and up: a length below zero, which is a field that is NULL
_TOP: Final = 7  # type, length, number of fields


def field(value: bytes | None) -> bytes:
    return _NULL if value is None else _LENGTH.pack(len(value)) + value


def row_of_nulls(fields: int) -> bytes:
    return _HEAD.pack(_DATA_ROW, 6 + 4 * fields) + struct.pack("!H", fields) + _NULL * fields


def withheld(rows: bytes, fields: int) -> bytes:
    """As many rows as there were, with nothing in them."""
    count: i64 = 0
    at: i64 = 0
    end: i64 = len(rows)
    while at + 5 <= end:
        at += 1 + max(4, uint32_at(rows, at + 1))
        if at <= end:
            count += 1
    return row_of_nulls(fields) * count


class _Step:
    """Passes over some fields and replaces the next. `laid_out`: a constant with its length; None: no constant."""

    __slots__ = ("laid_out", "replacement", "skipped")

    def __init__(self, skipped: int, replacement: Replacement) -> None:
        self.skipped = skipped
        self.laid_out = None if callable(replacement) else field(replacement)
        self.replacement = replacement


class ColumnMasks:
    """Replaces whole fields. Constants are laid out once, with their length."""

    def __init__(self, fields: int, replacements: Mapping[int, Replacement]) -> None:
        self._fields = fields
        self._steps: list[_Step] = []
        before = 0
        for index in sorted(replacements):
            self._steps.append(_Step(index - before, replacements[index]))
            before = index + 1

    def mask_rows(self, rows: bytes) -> bytes:
        try:
            return self._mask(rows)
        except Exception:  # noqa: BLE001 - whatever is wrong with the rows, none of them may leave unmasked
            return withheld(rows, self._fields)

    def _mask(self, rows: bytes) -> bytes:
        out: list[bytes] = []
        at: i64 = 0
        end: i64 = len(rows)
        fields: i64 = self._fields
        while at < end:
            stop: i64 = at + 1 + uint32_at(rows, at + 1)
            count: i64 = rows[at + 5]
            count = count << 8 | rows[at + 6]
            kept = len(out)
            if stop > end or count != fields or not self._row(rows, at, stop, out):
                del out[kept:]
                out.append(row_of_nulls(self._fields))
            at = max(stop, at + 5)
        return b"".join(out)

    def _row(self, rows: bytes, at: i64, stop: i64, out: list[bytes]) -> bool:
        """One row to the end of `out`; False when a field that is masked does not lie in it."""
        head = len(out)
        out.append(b"")
        copied: i64 = at + 5
        cell: i64 = at + _TOP
        size: i64 = stop - at - 1
        for step in self._steps:
            for _ in range(step.skipped):
                length = uint32_at(rows, cell)
                cell += 4 if length >= _NEGATIVE else 4 + length
            length = uint32_at(rows, cell)
            after = cell + 4 if length >= _NEGATIVE else cell + 4 + length
            if after > stop:
                return False
            if length < _NEGATIVE:
                new = step.laid_out
                if new is None:
                    new = field(apply(step.replacement, rows[cell + 4 : after]))
                out.append(rows[copied:cell])
                out.append(new)
                size += len(new) - after + cell
                copied = after
            cell = after
        out[head] = _HEAD.pack(_DATA_ROW, size)
        out.append(rows[copied:stop])
        return True
