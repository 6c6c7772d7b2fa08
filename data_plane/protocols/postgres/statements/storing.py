"""What a statement stores of what it reads, by column names alone: `lineage` for values that go into relations.

Followed are INSERT, UPDATE, MERGE, CREATE TABLE AS, SELECT INTO, views (what they select can be read by another name
until the catalogue knows them), ALTER TABLE that computes a column from others, and functions that write what they are
given (pg_notify, setval), wherever they stand: in a CTE, in a rule, behind EXPLAIN or COPY. PREPARE stores nothing, its
statement does when it is executed. Filters and join conditions are not followed: they tell, but they store nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from data_plane.gate.interface import Action
from data_plane.protocols.postgres.interface import ColumnSource, Lineage
from data_plane.protocols.postgres.statements import catalogue
from data_plane.protocols.postgres.statements.lineage import HIDDEN, NOTHING, Tracer
from data_plane.protocols.postgres.statements.tree import Fields, Node, strings

Sources = list[ColumnSource]
_WITHOUT_TRACE = (Action.READ, Action.SESSION, None)


def stored_by(kind: str, fields: Fields) -> Lineage | None:
    """The values that it stores, as outputs; None: nothing that it has read."""
    if kind == "PrepareStmt":
        return None
    tracer = Tracer()
    sources = [source for part in _parts({kind: fields}) for source in _STORES[part[0]](tracer, part[1])]
    if all(source == NOTHING for source in sources):
        return None
    if kind == "SelectStmt":
        tracer.query(fields)  # what its CTEs and sub-queries are called
    tracer.common(fields)
    return Lineage(tuple(sources), tuple(tracer.derived), frozenset(tracer.aliases), tracer.renamed)


def _parts(tree: object) -> Iterator[tuple[str, Fields]]:
    """Every node that stores something, at any depth."""
    stack = [tree]
    while stack:
        value = stack.pop()
        if isinstance(value, list):
            stack.extend(value)
        elif isinstance(value, dict):
            yield from ((name, found) for name, found in value.items() if name in _STORES)
            stack.extend(value.values())


def _query(tracer: Tracer, node: Node) -> Sources:
    if not node:
        return []
    outputs = tracer.query(node["SelectStmt"]).sources if "SelectStmt" in node else None
    return [HIDDEN] if outputs is None else list(outputs)


def _assigned(tracer: Tracer, targets: Iterable[Node]) -> Sources:
    return [tracer.source(target.get("ResTarget", {}).get("val", {})) for target in targets]


def _insert(tracer: Tracer, fields: Fields) -> Sources:
    tracer.common(fields)
    tracer.table(fields.get("relation", {}))
    updates = fields.get("onConflictClause", {}).get("targetList", ())
    kept = [target for target in updates if not _is_excluded(target)]
    return _query(tracer, fields.get("selectStmt", {})) + _assigned(tracer, kept)


def _is_excluded(target: Node) -> bool:
    """Bare `excluded.x` is what the INSERT itself would have stored."""
    names = strings(target.get("ResTarget", {}).get("val", {}).get("ColumnRef", {}).get("fields", ()))
    return len(names) == 2 and names[0] == "excluded"


def _update(tracer: Tracer, fields: Fields) -> Sources:
    tracer.common(fields)
    tracer.table(fields.get("relation", {}))
    tracer.from_clause(fields.get("fromClause", ()))
    return _assigned(tracer, fields.get("targetList", ()))


def _merge(tracer: Tracer, fields: Fields) -> Sources:
    tracer.common(fields)
    tracer.table(fields.get("relation", {}))
    tracer.from_clause((fields.get("sourceRelation", {}),))
    sources: Sources = []
    for node in fields.get("mergeWhenClauses", ()):
        clause = node.get("MergeWhenClause", {})
        sources += _assigned(tracer, clause.get("targetList", ()))
        sources += [tracer.source(value) for value in clause.get("values", ())]
    return sources


def _select(tracer: Tracer, fields: Fields) -> Sources:
    """Only SELECT INTO; in a UNION the INTO stands in the first branch."""
    first = fields
    while "larg" in first:
        first = first["larg"]
    return _query(tracer, {"SelectStmt": fields}) if "intoClause" in first else []


def _defined(tracer: Tracer, fields: Fields) -> Sources:
    """CREATE TABLE AS and views."""
    return _query(tracer, fields.get("query", {}))


def _alter(tracer: Tracer, fields: Fields) -> Sources:
    tracer.table(fields.get("relation", {}))
    sources: Sources = []
    for node in fields.get("cmds", ()):
        column = node.get("AlterTableCmd", {}).get("def", {}).get("ColumnDef", {})
        constraints = [part.get("Constraint", {}) for part in column.get("constraints", ())]
        computed = [part for part in constraints if part.get("contype") == "CONSTR_GENERATED"]
        sources += [tracer.source(part.get("raw_expr", {})) for part in computed]
        sources.append(tracer.source(column.get("raw_default", {})))
    return sources


def _call(tracer: Tracer, fields: Fields) -> Sources:
    names = strings(fields.get("funcname", ()))
    if catalogue.FUNCTIONS.get(names[-1] if names else "") in _WITHOUT_TRACE:
        return []
    return [tracer.source(argument) for argument in fields.get("args", ())]


_STORES: dict[str, Callable[[Tracer, Fields], Sources]] = {
    "AlterTableStmt": _alter,
    "CreateTableAsStmt": _defined,
    "FuncCall": _call,
    "InsertStmt": _insert,
    "MergeStmt": _merge,
    "SelectStmt": _select,
    "UpdateStmt": _update,
    "ViewStmt": _defined,
}
