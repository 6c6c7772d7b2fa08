"""Decides for each column of a RowDescription how it is masked. Pure.

| the column is | it is |
|---|---|
| a column of a known relation, protected | masked by the strategy of its mask |
| a column of a known relation, not protected | looked into by detectors |
| a column of a temporary relation, or of one that is not known (yet) | masked: what was put there is not known |
| a whole row of a protected relation, or a value of its row type | masked |
| computed | masked when it may show a protected value (`exposure`), else looked into by detectors |

Layout of the payload: Int16 number of columns; each: name, zero byte, Int32 table, Int16 attribute number, Int32 type,
Int16 size, Int32 modifier, Int16 format (chapter 55.7).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import msgspec

from data_plane.masking.detectors import Detectors
from data_plane.masking.marks import Marks
from data_plane.masking.strategies import Replacement
from data_plane.policy.model import Strategy
from data_plane.protocols.postgres import cells
from data_plane.protocols.postgres.catalog import Catalogue
from data_plane.protocols.postgres.catalog_data import VIEWS
from data_plane.protocols.postgres.column_masks import ColumnMasks
from data_plane.protocols.postgres.exposure import Reach, exposed_outputs
from data_plane.protocols.postgres.interface import ResultPlan, Statement
from data_plane.protocols.postgres.protection import Protection
from data_plane.protocols.postgres.rows import BothMasks, DetectorMasks, Scanned

_COLUMN: Final = struct.Struct("!IhIhih")


class Column(msgspec.Struct, frozen=True):
    name: bytes
    table: int
    attnum: int
    type: int
    format: int


class SetOfMasks(msgspec.Struct, frozen=True):
    """The masks of one result, compiled. `everything`: a mask or what names mean is not known, so that
    nothing may be shown."""

    protection: Protection
    detectors: Detectors | None
    everything: bool = False
    hidden: frozenset[str] = frozenset()  # names that may be those of temporary relations

    def reach(self, statement: Statement | None) -> Reach:
        return self.protection.reach(statement, self.hidden)


def decode(description: bytes, formats: Sequence[int]) -> tuple[Column, ...]:
    """Raises ValueError for a payload that is not a RowDescription or formats that do not fit it."""
    if len(description) < 2:
        raise ValueError("a RowDescription begins with the number of its columns")
    count, at, columns = (description[0] << 8) + description[1], 2, []
    for _ in range(count):
        stop = description.index(b"\0", at)
        if stop + 1 + _COLUMN.size > len(description):
            raise ValueError("a RowDescription ends inside a column")
        table, attnum, type_, _, _, format_ = _COLUMN.unpack_from(description, stop + 1)
        columns.append(Column(description[at:stop], table, attnum, type_, format_))
        at = stop + 1 + _COLUMN.size
    if at != len(description):
        raise ValueError("a RowDescription goes on behind its last column")
    return _with_formats(tuple(columns), formats)


def _with_formats(columns: tuple[Column, ...], formats: Sequence[int]) -> tuple[Column, ...]:
    if not formats:
        return columns
    each = list(formats) * len(columns) if len(formats) == 1 else list(formats)
    if len(each) != len(columns):
        raise ValueError(f"{len(each)} formats for {len(columns)} columns")
    return tuple(msgspec.structs.replace(column, format=format_) for column, format_ in zip(columns, each, strict=True))


def plan(
    columns: Sequence[Column], statement: Statement | None, masks: SetOfMasks, catalogue: Catalogue, keyed: Marks
) -> ResultPlan | None:
    """None: no column needs a look."""
    exposed = exposed_outputs(statement.lineage if statement else None, len(columns), masks.reach(statement))
    whole: dict[int, Replacement] = {}
    scanned: list[Scanned] = []
    for index, (column, computed_shows) in enumerate(zip(columns, exposed, strict=True)):
        strategy = "redact" if masks.everything else _strategy(column, masks.protection, catalogue, computed_shows)
        if strategy is None and masks.detectors is not None:
            strategy = _by_type(column, masks.detectors)
            if strategy is None and cells.holds_text(column.type):
                redacted = cells.replacement(column.type, column.format, "redact", keyed)
                scanned.append(Scanned(index, column.type, column.format, redacted))
        if strategy is not None and column.type != cells.VOID:
            whole[index] = cells.replacement(column.type, column.format, strategy, keyed)
    return _assembled(len(columns), whole, scanned, masks.detectors)


def _assembled(
    count: int, whole: dict[int, Replacement], scanned: list[Scanned], detectors: Detectors | None
) -> ResultPlan | None:
    by_column = ColumnMasks(count, whole) if whole else None
    by_look = DetectorMasks(count, scanned, detectors) if scanned and detectors else None
    if by_column and by_look:
        return BothMasks(by_column, by_look)
    return by_column or by_look


def _strategy(
    column: Column,
    protection: Protection,
    catalogue: Catalogue,
    computed_shows: bool,  # noqa: FBT001
) -> Strategy | None:
    if not protection:
        return None
    if column.table == 0 or column.type in protection.row_types:
        return "redact" if computed_shows or column.type in protection.row_types else None
    relation = catalogue.relation(column.table)
    if relation is None or relation.temporary or (catalogue.stale and relation.kind in VIEWS):
        return "redact"
    if column.attnum == 0:
        return "redact" if protection.protects(column.table) else None
    unseen = column.attnum > 0 and column.attnum not in relation.columns
    return "redact" if unseen else protection.strategy(column.table, column.attnum)


def _by_type(column: Column, detectors: Detectors) -> Strategy | None:
    """Addresses in columns made for them need no looking."""
    return "redact" if "ip" in detectors.names and column.type in cells.NETWORK_TYPES else None
