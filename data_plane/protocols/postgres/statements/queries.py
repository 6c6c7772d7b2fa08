"""SELECT, INSERT, UPDATE, DELETE, MERGE, TRUNCATE, LOCK and what they carry: CTEs, INTO, row locks, RETURNING.

Each judge adds what its statement does to the findings; the same judges serve a statement that stands alone,
in a CTE, a sub-query, a view, a rule or behind EXPLAIN.
"""

from __future__ import annotations

from data_plane.gate.interface import Action
from data_plane.protocols.postgres.interface import CreatesTemporary
from data_plane.protocols.postgres.statements.tree import Fields, Node
from data_plane.protocols.postgres.statements.walker import DDL, LOCK, READ, WRITE, Walker


def select(walker: Walker, fields: Fields) -> None:
    findings = walker.findings
    findings.act(Action.READ)
    if "valuesLists" not in fields:
        findings.verbs["SELECT"] = None
    before, scope, started = walker.access, walker.common.opened(), len(walker.seen)
    walker.access = READ
    with_clause(walker, fields)
    walker.children("SelectStmt", fields, "withClause", "intoClause", "lockingClause")
    if "lockingClause" in fields:
        findings.act(Action.WRITE)
        findings.facts["locks"] = True
        for name in walker.seen[started:]:
            findings.relation(name, LOCK)
    if "intoClause" in fields:
        findings.verbs["CREATE"] = None
        into(walker, fields["intoClause"])
    if "limitCount" in fields:
        limit(walker, fields["limitCount"])
    walker.access = before
    walker.common.close(scope)


def limit(walker: Walker, count: Node) -> None:
    if "A_Const" in count:
        walker.findings.constant_limits += 1


def with_clause(walker: Walker, fields: Fields) -> None:
    """Brings the CTEs into scope: all at once when RECURSIVE, else each for those that follow it."""
    clause = fields.get("withClause")
    if clause is None:
        return
    expressions = [node.get("CommonTableExpr", {}) for node in clause.get("ctes", ())]
    if clause.get("recursive"):
        for expression in expressions:
            walker.common.add(expression.get("ctename", ""))
    for expression in expressions:
        walker.node(expression.get("ctequery"))
        walker.common.add(expression.get("ctename", ""))


def into(walker: Walker, fields: Fields, *, unless_there: bool = False) -> None:
    """INTO and CREATE TABLE AS: a relation is made and filled."""
    walker.findings.act(Action.DDL)
    alone = not (unless_there or walker.findings.facts.get("explain"))  # EXPLAIN need not make it
    creates(walker, fields.get("rel", {}), lasts=fields.get("onCommit") != "ONCOMMIT_DROP", alone=alone)
    walker.nodes(fields.get("options", ()))


def creates(walker: Walker, relation: Fields, *, lasts: bool = True, alone: bool = False) -> None:
    """A new relation; one of the session's own schema hides others of its name. `alone`: see `CreatesTemporary`."""
    walker.touch_relation(relation, DDL)
    if is_temporary(relation):
        walker.findings.facts["temporary"] = True
        walker.findings.effects.append(CreatesTemporary(relation.get("relname", ""), lasts, alone))


def is_temporary(relation: Fields) -> bool:
    """Of one that is made, by what is written. The session's own schema also has a name like `pg_temp_7`."""
    return relation.get("relpersistence") == "t" or is_own(relation.get("schemaname", ""))


def is_own(schema: str) -> bool:
    return schema.startswith("pg_temp")


def insert(walker: Walker, fields: Fields) -> None:
    findings, scope = walker.findings, walker.common.opened()
    findings.changes += 1
    with_clause(walker, fields)
    conflict = fields.get("onConflictClause", {})
    updates = conflict.get("action") == "ONCONFLICT_UPDATE"
    reads = updates or "returningClause" in fields
    walker.touch_relation(fields.get("relation", {}), *((WRITE, READ) if reads else (WRITE,)))
    if updates:
        findings.verbs["UPDATE"] = None
        findings.filters.append(True)  # the conflict names the row
        _assigned(walker, conflict.get("targetList", ()))
    _assigned(walker, fields.get("cols", ()))
    _returning(walker, fields)
    _parts(walker, "InsertStmt", fields, "withClause", "relation", "selectStmt")
    _inserted(walker, fields.get("selectStmt", {}))
    walker.common.close(scope)


def _inserted(walker: Walker, node: Node) -> None:
    """Values that are written out are not read from anywhere."""
    query = node.get("SelectStmt", {})
    plain = "valuesLists" in query and not query.keys() - {"valuesLists", "limitOption", "op"}
    _parts(walker, "SelectStmt", query if plain else {"selectStmt": node})


def update(walker: Walker, fields: Fields) -> None:
    scope = walker.common.opened()
    walker.findings.changes += 1
    with_clause(walker, fields)
    walker.touch_relation(fields.get("relation", {}), WRITE, READ)
    _assigned(walker, fields.get("targetList", ()))
    _filter(walker, fields.get("whereClause"))
    _returning(walker, fields)
    _parts(walker, "UpdateStmt", fields, "withClause", "relation", "whereClause")
    walker.common.close(scope)


def delete(walker: Walker, fields: Fields) -> None:
    scope = walker.common.opened()
    walker.findings.changes += 1
    with_clause(walker, fields)
    walker.touch_relation(fields.get("relation", {}), WRITE, READ)
    _filter(walker, fields.get("whereClause"))
    _returning(walker, fields)
    _parts(walker, "DeleteStmt", fields, "withClause", "relation", "whereClause")
    walker.common.close(scope)


def merge(walker: Walker, fields: Fields) -> None:
    findings, scope = walker.findings, walker.common.opened()
    findings.changes += 1
    with_clause(walker, fields)
    walker.touch_relation(fields.get("relation", {}), WRITE, READ)
    before = findings.column_references
    _parts(walker, "MergeStmt", {"joinCondition": fields.get("joinCondition", {})})
    joined = findings.column_references > before
    for when in fields.get("mergeWhenClauses", ()):
        _merge_action(walker, when.get("MergeWhenClause", {}), joined=joined)
    _returning(walker, fields)
    _parts(walker, "MergeStmt", fields, "withClause", "relation", "joinCondition", "mergeWhenClauses")
    walker.common.close(scope)


def _merge_action(walker: Walker, fields: Fields, *, joined: bool) -> None:
    verb = str(fields.get("commandType", "")).removeprefix("CMD_")
    if verb in ("UPDATE", "DELETE"):
        # What the ON does not match reaches every other row of the target.
        by_source = fields.get("matchKind") == "MERGE_WHEN_NOT_MATCHED_BY_SOURCE"
        walker.findings.filters.append(joined and (not by_source or "condition" in fields))
    if verb != "NOTHING":
        walker.findings.verbs[verb] = None
    _assigned(walker, fields.get("targetList", ()))
    _parts(walker, "MergeWhenClause", fields)


def _parts(walker: Walker, kind: str, fields: Fields, *without: str) -> None:
    """The clauses of a change are read, also where the change itself stands in a definition."""
    before, walker.access = walker.access, READ
    walker.children(kind, fields, *without)
    walker.access = before


def _filter(walker: Walker, where: Node | None) -> None:
    before = walker.findings.column_references
    if where is not None:
        _parts(walker, "", {"whereClause": where})
    walker.findings.filters.append(walker.findings.column_references > before)


def _assigned(walker: Walker, targets: list[Node]) -> None:
    for target in targets:
        walker.findings.assigned[target.get("ResTarget", {}).get("name", "")] = None


def _returning(walker: Walker, fields: Fields) -> None:
    if "returningClause" in fields:
        walker.findings.facts["returning"] = True


def truncate(walker: Walker, fields: Fields) -> None:
    walker.findings.filters.append(False)
    for node in fields.get("relations", ()):
        walker.touch_relation(node.get("RangeVar", {}), WRITE)
    if fields.get("behavior") == "DROP_CASCADE":
        walker.findings.facts["cascade"] = True


def lock(walker: Walker, fields: Fields) -> None:
    walker.findings.facts["locks"] = True
    for node in fields.get("relations", ()):
        walker.touch_relation(node.get("RangeVar", {}), LOCK)
