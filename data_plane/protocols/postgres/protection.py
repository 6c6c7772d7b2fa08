"""Which columns of a database a set of masks protects, closed over everything that shows the same values. Pure.

From the columns that a mask names it follows inheritance and partitions (both ways, by name), generated columns, and
views and materialized views: a view that reads a relation with a protected column is protected in every column that
cannot be shown to be harmless. Statistics in the system catalogue that hold values of columns are protected always.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import translate
from re import Pattern, compile  # noqa: A004 - patterns come from an admin's document, not from data
from typing import Final

from data_plane.masking import strategies
from data_plane.policy.model import ColumnMask, Strategy
from data_plane.protocols.postgres.catalog_data import VIEWS, CatalogData, Relation, View
from data_plane.protocols.postgres.exposure import REVEALING_FUNCTIONS, Reach, exposed_outputs
from data_plane.protocols.postgres.interface import CASCADE, Classifier, Statement
from data_plane.protocols.postgres.statements import newer_grammar

Columns = dict[int, dict[int, Strategy]]

_STATISTICS: Final = tuple(
    ColumnMask(column=column)
    for column in (
        "pg_catalog.pg_statistic.stavalues*",
        "pg_catalog.pg_stats.most_common_*",
        "pg_catalog.pg_stats.histogram_bounds",
        "pg_catalog.pg_stats_ext.most_common_*",
        "pg_catalog.pg_stats_ext_exprs.most_common_*",
        "pg_catalog.pg_stats_ext_exprs.histogram_bounds",
        "pg_catalog.pg_statistic_ext_data.stxd*",
        "pg_catalog.pg_stat_activity.query",
        "pg_catalog.pg_largeobject.data",
    )
)


class Protection:
    """The protected columns of one database under one set of column masks."""

    def __init__(self, data: CatalogData, columns: Mapping[int, Mapping[int, Strategy]], by_name: ByName) -> None:
        self._by_name = by_name
        self.columns = columns
        self._names = {
            oid: frozenset(data.relations[oid].columns.get(attnum, "") for attnum in protected)
            for oid, protected in columns.items()
            if oid in data.relations
        }
        self.row_types = frozenset(type_ for oid in self._names for type_ in data.relations[oid].row_types)

    def __bool__(self) -> bool:
        return bool(self.columns)

    def strategy(self, oid: int, attnum: int) -> Strategy | None:
        return self.columns.get(oid, {}).get(attnum)

    def protects(self, oid: int) -> bool:
        return oid in self.columns

    def names(self, oid: int) -> frozenset[str]:
        return self._names.get(oid, frozenset())

    def reach(self, statement: Statement | None, hidden: frozenset[str] = frozenset()) -> Reach:
        """What the statement could read. None, references and what is not understood: anything. So do names of
        temporary relations (`hidden`), that hide others."""
        if not self.columns:
            return Reach()
        if statement is None or statement.references or not statement.subject.understood:
            return Reach(anything=True)
        names: set[str] = set()
        for resource in statement.subject.resources:
            for candidate in resource.candidates:
                if resource.kind == "function" and not self._by_name.harmless(candidate):
                    return Reach(anything=True)
                if resource.kind == "relation":
                    found = self._by_name.relations(candidate)
                    if not found or _is_hidden(candidate, hidden) or any(relation.temporary for relation in found):
                        return Reach(anything=True)
                    names.update(*(self.names(relation.oid) for relation in found))
        return Reach(frozenset(names))

    def read_by(self, statement: Statement, hidden: frozenset[str]) -> Reach:
        """What the statement could take values from. What is only written gives none; what temporary relations hold was
        judged when it was put there; one that is made is not known and holds nothing yet."""
        if not self.columns:
            return Reach()
        if statement.references or not statement.subject.understood:
            return Reach(anything=True)
        names: set[str] = set()
        for resource in statement.subject.resources:
            for candidate in resource.candidates:
                if resource.kind == "function" and not self._by_name.harmless(candidate):
                    return Reach(anything=True)
                if resource.kind == "relation" and resource.access != ("write",):
                    found = self._by_name.relations(candidate)
                    temporary = candidate.startswith("pg_temp.") or _is_hidden(candidate, hidden)
                    if not found and "read" in resource.access and not temporary:
                        return Reach(anything=True)
                    names.update(*(self.names(relation.oid) for relation in found))
        return Reach(frozenset(names))


class ByName:
    """The catalogue by name. `?.name` finds the name in every schema: which one is meant is not known here."""

    def __init__(self, data: CatalogData) -> None:
        self._user_functions = data.user_functions
        self._builtin = data.builtin_functions and data.builtin_functions | newer_grammar.NAMES
        self._qualified = {(relation.schema, relation.name): relation for relation in data.relations.values()}
        self._anywhere: dict[str, list[Relation]] = {}
        for relation in data.relations.values():
            self._anywhere.setdefault(relation.name, []).append(relation)
        self._heirs: dict[str, set[str]] = {}
        for parent, child in data.inherits:
            if parent in data.relations and child in data.relations:
                self._heirs.setdefault(data.relations[parent].name, set()).add(data.relations[child].name)
        views = (relation.name for relation in data.relations.values() if relation.kind in VIEWS)
        self._dependent = frozenset(views).union(*self._heirs.values())

    def with_dependents(self, names: frozenset[str]) -> frozenset[str]:
        """With the names of what changes or goes along with relations of these names; see ChangesNames."""
        if CASCADE not in names and self._heirs.keys().isdisjoint(names):
            return names  # without a look at each: a transaction may have changed thousands
        found = set(names | self._dependent if CASCADE in names else names)
        waiting = list(self._heirs.keys() & found)
        while waiting:
            more = self._heirs.get(waiting.pop(), set()) - found
            found |= more
            waiting += more
        return names if len(found) == len(names) else frozenset(found)

    def relation(self, schema: str, name: str) -> Relation | None:
        return self._qualified.get((schema, name))

    def relations(self, candidate: str) -> list[Relation]:
        schema, separator, name = candidate.partition(".")
        if not separator or schema == "?":
            return self._anywhere.get(name or schema, [])
        found = self._qualified.get((schema, name))
        return [found] if found else []

    def harmless(self, candidate: str) -> bool:
        """Whether every function of this name came with the server and tells only what it was given."""
        name = candidate.rpartition(".")[2]
        return name in self._builtin and name not in self._user_functions and name not in REVEALING_FUNCTIONS


def _is_hidden(candidate: str, hidden: frozenset[str]) -> bool:
    return bool(hidden) and candidate.startswith("?.") and candidate[2:] in hidden


def close(
    data: CatalogData,
    by_name: ByName,
    masks: Iterable[ColumnMask],
    classifier: Classifier,
    sticky: Mapping[int, Mapping[int, Strategy]],
) -> Protection:
    """The columns that `masks` name, those that were protected before (`sticky`), and all that follow from them."""
    wanted = tuple(masks)
    if not wanted:
        return Protection(data, {}, by_name)
    columns: Columns = {oid: dict(before) for oid, before in sticky.items() if oid in data.relations}
    _named(data, [*wanted, *_STATISTICS], columns)
    statements = {oid: _statement(view, classifier) for oid, view in data.views.items()}
    size = -1
    while size != (size := sum(map(len, columns.values()))):
        _inherit(data, columns)
        _generate(data, columns)
        protection = Protection(data, columns, by_name)
        for oid, view in data.views.items():
            _look_through(data.relations.get(oid), view, statements[oid], protection, columns)
    return Protection(data, columns, by_name)


def _patterns(column: str) -> tuple[Pattern[str], Pattern[str]]:
    """Of `schema.table` and of `column`, with globs in each part; missing parts on the left match anything."""
    parts = column.casefold().split(".", 2)
    schema, table, name = ["*"] * (3 - len(parts)) + parts
    return compile(translate(f"{schema}\0{table}")), compile(translate(name))


def unknown_columns(data: CatalogData, masks: Sequence[ColumnMask]) -> list[str]:
    """What these masks name and no relation has: a misspelled name protects nothing."""
    found: dict[ColumnMask, Columns] = {}
    named(data, masks, found)
    return [mask.column for mask in masks if not found.get(mask)]


def named(data: CatalogData, masks: Iterable[ColumnMask], found: dict[ColumnMask, Columns]) -> None:
    """Adds to what each mask was `found` to name what it names here."""
    patterns = [(*_patterns(mask.column), mask) for mask in masks]
    for relation in data.relations.values():
        path = f"{relation.schema}\0{relation.name}".casefold()
        for table, column, mask in patterns:
            if relation.columns and table.match(path):
                for attnum, name in relation.columns.items():
                    if column.match(name.casefold()):
                        found.setdefault(mask, {}).setdefault(relation.oid, {})[attnum] = mask.strategy


def merged(found: Iterable[Mapping[int, Mapping[int, Strategy]]]) -> Columns:
    columns: Columns = {}
    for each in found:
        for oid, protected in each.items():
            for attnum, strategy in protected.items():
                _protect(columns, oid, attnum, strategy)
    return columns


def _named(data: CatalogData, masks: Iterable[ColumnMask], columns: Columns) -> None:
    found: dict[ColumnMask, Columns] = {}
    named(data, masks, found)
    columns.update(merged([columns, *found.values()]))


def _protect(columns: Columns, oid: int, attnum: int, strategy: Strategy) -> None:
    before = columns.setdefault(oid, {})
    before[attnum] = strategies.strongest([strategy, before.get(attnum, strategy)])


def _inherit(data: CatalogData, columns: Columns) -> None:
    for parent, child in data.inherits:
        for source, heir in ((parent, child), (child, parent)):
            if source in columns and source in data.relations and heir in data.relations:
                _copy_by_name(data.relations[source], data.relations[heir], columns)


def _copy_by_name(source: Relation, heir: Relation, columns: Columns) -> None:
    attnums = {name: attnum for attnum, name in heir.columns.items()}
    for attnum, strategy in list(columns[source.oid].items()):
        name = source.columns.get(attnum)
        if name in attnums:
            _protect(columns, heir.oid, attnums[name], strategy)


def _generate(data: CatalogData, columns: Columns) -> None:
    for oid, generated, read in data.generated:
        strategy = columns.get(oid, {}).get(read)
        if strategy is not None:
            _protect(columns, oid, generated, strategies.of_derived([strategy]))


def _statement(view: View, classifier: Classifier) -> Statement | None:
    statements = classifier.parse(view.definition.rstrip().rstrip(";").encode()).statements
    return statements[0] if len(statements) == 1 else None


def _look_through(
    relation: Relation | None, view: View, statement: Statement | None, protection: Protection, columns: Columns
) -> None:
    """Protects the columns of a view that could show something protected."""
    if relation is None or relation.kind not in VIEWS or len(columns.get(relation.oid, {})) == len(relation.columns):
        return
    reach = protection.reach(statement)
    reach = Reach(reach.names.union(*map(protection.names, view.reads)), reach.anything or view.calls_users)
    if reach.nothing:
        return
    attnums = sorted(relation.columns)
    exposed = exposed_outputs(statement.lineage if statement else None, len(attnums), reach)
    strategy = strategies.of_derived(s for oid in view.reads for s in protection.columns.get(oid, {}).values())
    for attnum, shows in zip(attnums, exposed, strict=True):
        if shows:
            _protect(columns, relation.oid, attnum, strategy)
