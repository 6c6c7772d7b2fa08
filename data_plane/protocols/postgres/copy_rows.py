"""Masking of COPY … TO STDOUT in text, csv and binary format. Pure; keeps a partial row between calls.

COPY tells nothing about its columns, so they come from the statement: the columns of a relation, or the outputs of a
query that can be followed by name (`exposure`). What cannot be told is refused with what to write instead. A row with
another number of fields than expected is replaced by NULLs; a row that does not end within the bound ends the output.
Format and escapes as in the reference page of COPY, "File Formats".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from data_plane.masking import strategies
from data_plane.masking.marks import Marks
from data_plane.masking.strategies import Replacement
from data_plane.policy.model import Strategy
from data_plane.protocols.postgres import cells
from data_plane.protocols.postgres.catalog import Catalogue
from data_plane.protocols.postgres.catalog_data import VIEWS, Relation
from data_plane.protocols.postgres.columns import SetOfMasks
from data_plane.protocols.postgres.copy_formats import BinaryCopy, CopyColumn, CopyFields, CsvCopy, Dialect, TextCopy
from data_plane.protocols.postgres.exposure import exposed_outputs
from data_plane.protocols.postgres.interface import CopyPlan, CopyRefused, CopyStatement, Statement
from data_plane.protocols.postgres.rows import Scanned

_UTF8: Final = frozenset({"", "utf8", "utf-8", "unicode", "sql_ascii"})
_TEXT_TYPE: Final = 25
_UNKNOWN_TYPE: Final = 0
_NAME_THEM: Final = "name the schema, the table and the columns: COPY schema.table (column, …) TO STDOUT"


class _Named(msgspec.Struct, frozen=True):
    """A column of the output: its type where it is known, and how it is masked."""

    type: int
    strategy: Strategy | None


def plan(statement: Statement, masks: SetOfMasks, catalogue: Catalogue, keyed: Marks) -> CopyPlan | CopyRefused | None:
    copy = statement.copy
    if copy is None or not copy.to_client:
        return None
    if masks.everything:
        return CopyRefused(
            "a mask of this session is not defined or the schema is changing, so nothing can be copied", "use SELECT"
        )
    named = _of_relation(copy, masks, catalogue) if copy.relation else _of_query(statement, masks)
    if isinstance(named, CopyRefused):
        return named
    if masks.detectors is None and (named is None or all(column.strategy is None for column in named)):
        return None
    return _of_format(dict(copy.options), named, masks, keyed)


def _of_relation(copy: CopyStatement, masks: SetOfMasks, catalogue: Catalogue) -> Sequence[_Named] | CopyRefused | None:
    found = catalogue.relations(copy.relation)
    if not found:
        if not masks.protection:
            return None
        return CopyRefused(f"it is not known which columns {copy.relation} has", _NAME_THEM)
    if masks.protection and copy.relation.removeprefix("?.") in masks.hidden:
        return CopyRefused(f"{copy.relation[2:]} may be a temporary relation", _NAME_THEM)
    if len(found) > 1 and not copy.columns:
        if masks.protection and any(_guarded(relation, masks, catalogue) for relation in found):
            return CopyRefused(f"more than one schema has a relation {copy.relation}", _NAME_THEM)
        return None
    listed = copy.columns or tuple(
        name for attnum, name in sorted(found[0].columns.items()) if attnum not in found[0].generated
    )
    return [_column(name, found, masks, catalogue) for name in listed]


def _guarded(relation: Relation, masks: SetOfMasks, catalogue: Catalogue) -> bool:
    stale = catalogue.stale and relation.kind in VIEWS
    return relation.temporary or stale or masks.protection.protects(relation.oid)


def _column(name: str, found: Sequence[Relation], masks: SetOfMasks, catalogue: Catalogue) -> _Named:
    """One column over all the relations that may be meant: the strictest of their strategies."""
    wanted: list[Strategy] = []
    types: set[int] = set()
    for relation in found:
        attnum = next((attnum for attnum, column in relation.columns.items() if column == name), None)
        if attnum is None:
            continue
        types.add(relation.types.get(attnum, _UNKNOWN_TYPE))
        strategy = masks.protection.strategy(relation.oid, attnum)
        if (
            strategy is None
            and masks.protection
            and (relation.temporary or (catalogue.stale and relation.kind in VIEWS))
        ):
            strategy = "redact"
        wanted += [strategy] if strategy else []
    type_ = types.pop() if len(types) == 1 else _UNKNOWN_TYPE
    if type_ == _UNKNOWN_TYPE and masks.protection:
        return _Named(type_, strategies.strongest([*wanted, "redact"]))
    if type_ in masks.protection.row_types:
        wanted.append("redact")
    return _Named(type_, strategies.strongest(wanted) if wanted else None)


def _of_query(statement: Statement, masks: SetOfMasks) -> Sequence[_Named] | CopyRefused | None:
    reach = masks.reach(statement)
    if reach.nothing:
        return None
    lineage = statement.lineage
    if reach.anything or lineage is None or lineage.renamed or lineage.outputs is None:
        return CopyRefused(
            "this query reads masked columns in a way that COPY cannot follow",
            "list plain columns: COPY (SELECT column, … FROM schema.table) TO STDOUT; or use SELECT",
        )
    exposed = exposed_outputs(lineage, len(lineage.outputs), reach)
    return [_Named(_UNKNOWN_TYPE, "redact" if shows else None) for shows in exposed]


def _of_format(
    options: Mapping[str, str], named: Sequence[_Named] | None, masks: SetOfMasks, keyed: Marks
) -> CopyPlan | CopyRefused:
    form = options.get("format", "text").lower()
    if options.get("encoding", "").lower() not in _UTF8:
        return CopyRefused("masked columns can be copied in UTF-8 only", "leave out ENCODING")
    fields = _fields(named, masks, keyed, cells.BINARY if form == "binary" else cells.TEXT)
    if form == "binary":
        return BinaryCopy(fields)
    csv = form == "csv"
    quote = options.get("quote", '"')
    if form not in ("text", "csv") or (csv and options.get("escape", quote) != quote):
        return CopyRefused("this form of COPY cannot be masked", "use FORMAT text, csv or binary, without ESCAPE")
    dialect = Dialect(
        delimiter=options.get("delimiter", "," if csv else "\t").encode(),
        null=options.get("null", "" if csv else "\\N").encode(),
        quote=quote.encode(),
        header=options.get("header", "false").lower() not in ("false", "off", "0", "no"),
    )
    if len(dialect.delimiter) != 1 or len(dialect.quote) != 1:
        return CopyRefused("a delimiter or a quote is a single byte", "leave out DELIMITER and QUOTE")
    return CsvCopy(fields, dialect) if csv else TextCopy(fields, dialect)


def _fields(named: Sequence[_Named] | None, masks: SetOfMasks, keyed: Marks, format_: int) -> CopyFields:
    if named is None:
        return CopyFields(None, (), _any_column(format_), masks.detectors)
    columns = tuple(_copy_column(index, column, masks, keyed, format_) for index, column in enumerate(named))
    return CopyFields(len(columns), columns, _any_column(format_), masks.detectors)


def _any_column(format_: int) -> Scanned:
    """A field of which nothing is known: in binary it cannot be replaced in part."""
    return Scanned(0, _TEXT_TYPE if format_ == cells.TEXT else _UNKNOWN_TYPE, format_, None)


def _copy_column(index: int, column: _Named, masks: SetOfMasks, keyed: Marks, format_: int) -> CopyColumn:
    known = column.type != _UNKNOWN_TYPE
    type_ = column.type if known or format_ == cells.BINARY else _TEXT_TYPE
    strategy = column.strategy
    if strategy is None and masks.detectors and "ip" in masks.detectors.names and type_ in cells.NETWORK_TYPES:
        strategy = "redact"
    whole: Replacement = cells.replacement(type_, format_, strategy or "redact", keyed)
    looked_into = masks.detectors is not None and strategy is None and (not known or cells.holds_text(type_))
    return CopyColumn(
        masked=strategy is not None,
        whole=whole,
        scanned=Scanned(index, type_, format_, whole) if looked_into else None,
    )
