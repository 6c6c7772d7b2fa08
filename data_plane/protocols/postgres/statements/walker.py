"""Walks the whole tree of one statement: every relation, function, operator and type in every clause counts,
wherever it stands, because PostgreSQL will use it there.

Each node kind is handled, descended into (`PASSIVE`) or skipped (`LEAVES`); any other stops the judgement.
Statements, also those inside others, are judged by `table.STATEMENTS`. Names of common table expressions are
scoped as PostgreSQL scopes them, so that a CTE hides a relation only where it does so for the server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from data_plane.gate.interface import Action
from data_plane.protocols.postgres.statements import catalogue, newer_grammar
from data_plane.protocols.postgres.statements.findings import Findings
from data_plane.protocols.postgres.statements.tree import Fields, Node, items, strings, unwrap

READ, WRITE, DDL, LOCK, EXECUTE = "read", "write", "ddl", "lock", "execute"

LEAVES = frozenset(
    (
        "A_Const", "A_Star", "AccessPriv", "Alias", "BitString", "Boolean", "CTECycleClause", "CTESearchClause",
        "Float", "Integer", "JsonFormat", "JsonTablePathSpec", "ObjectWithArgs", "ParamRef", "ReturningOption",
        "SQLValueFunction", "SetToDefault", "String", "TriggerTransition",
    )
)  # fmt: skip
PASSIVE = frozenset(
    (
        "ATAlterConstraint", "A_ArrayExpr", "A_Indices", "AlterTableCmd", "BoolExpr", "BooleanTest",
        "CaseWhen", "CoalesceExpr", "CollateClause", "ColumnDef", "Constraint", "CreateOpClassItem", "DefElem",
        "FunctionParameter", "GroupingFunc", "GroupingSet", "IndexElem", "InferClause",
        "JsonAggConstructor", "JsonArgument", "JsonBehavior", "JsonIsPredicate", "JsonKeyValue", "JsonOutput",
        "JsonReturning", "JsonTableColumn", "JsonValueExpr", "List", "MinMaxExpr", "MultiAssignRef",
        "NamedArgExpr", "NullTest", "OnConflictClause", "PartitionBoundSpec", "PartitionCmd",
        "PartitionElem", "PartitionRangeDatum", "PartitionSpec", "PublicationObjSpec", "PublicationTable",
        "RangeTableFuncCol", "ReplicaIdentityStmt", "ResTarget", "ReturnStmt", "ReturningClause", "RowExpr",
        "StatsElem", "TableLikeClause", "VacuumRelation", "WindowDef",
        "XmlExpr", "XmlSerialize",
    )
)  # fmt: skip
_OF_BETWEEN = dict.fromkeys(("<", "<=", ">", ">="))
_EQUALS = ["="]
_MINUS = ["-"]
# A_Expr kinds whose name is a keyword, not an operator.
NAMED_KINDS = frozenset(("AEXPR_BETWEEN", "AEXPR_NOT_BETWEEN", "AEXPR_BETWEEN_SYM", "AEXPR_NOT_BETWEEN_SYM"))
SYSTEM_SCHEMAS = frozenset(("pg_catalog", "information_schema", "pg_toast"))


class Scope:
    """The names that can be seen from here; what is added after `opened` goes with `close`."""

    __slots__ = ("_added", "_names")

    def __init__(self) -> None:
        self._added: list[str] = []
        self._names: dict[str, int] = {}  # how many of each

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def opened(self) -> int:
        return len(self._added)

    def add(self, name: str) -> None:
        self._added.append(name)
        self._names[name] = self._names.get(name, 0) + 1

    def close(self, opened: int) -> None:
        while len(self._added) > opened:
            name = self._added.pop()
            left = self._names.pop(name) - 1
            if left:
                self._names[name] = left


StatementJudge = Callable[["Walker", str, Fields], None]


class Walker:
    """One walk. `defining`: inside a definition (a view, a default, a function body), which does not run now;
    a function without a known effect is then listed, and does not stop the judgement."""

    __slots__ = ("access", "common", "defining", "findings", "judge", "seen")

    def __init__(self, findings: Findings, judge: StatementJudge) -> None:
        self.findings = findings
        self.judge = judge
        self.access = READ
        self.defining = False
        self.common = Scope()  # CTE names
        self.seen: list[str] = []  # relations in the order in which they were met

    # ------------------------------------------------------------------ descent

    def visit(self, kind: str, fields: Fields) -> None:
        handler = HANDLERS.get(kind)
        if handler is not None:
            handler(self, fields)
        elif kind in PASSIVE:
            self.children(kind, fields)
        elif kind.endswith("Stmt"):
            self.judge(self, kind, fields)
        elif kind not in LEAVES:
            self.findings.fail(f"not understood: {kind or 'a part of the statement'} is not known here")

    def node(self, node: Node | None) -> None:
        """A wrapped node, or nothing."""
        if node:
            for kind, fields in node.items():
                self.visit(kind, fields)

    def nodes(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            for kind, fields in node.items():
                self.visit(kind, fields)

    def children(self, kind: str, fields: Fields, *without: str) -> None:
        for field, value in fields.items():
            if field in without:
                continue
            if type(value) is list:
                self.nodes(value)
            elif type(value) is dict:
                found = unwrap(kind, field, value)
                if found is not None:
                    self.visit(*found)

    # ------------------------------------------------------------------ names

    def name(self, part: str) -> str:
        """One part of a name. A dot in it would read as a schema, so such a name stops the judgement."""
        if "." in part or '"' in part or not part.isprintable():
            self.findings.fail(f"not understood: the name {part!r} cannot be told from a qualified one")
        return part

    def relation_name(self, fields: Fields) -> str:
        return f"{self.name(fields.get('schemaname', '')) or '?'}.{self.name(fields.get('relname', ''))}"

    def qualified(self, parts: list[str]) -> str:
        """`schema.name` of a list of names, `?.name` of one."""
        schema, name = ("", *parts)[-2:] if parts else ("", "")
        return f"{self.name(schema) or '?'}.{self.name(name)}"

    def touch_relation(self, fields: Fields, *accesses: str) -> str:
        """A relation that no CTE can hide: what is written, locked or defined."""
        name = self.relation_name(fields)
        self.seen.append(name)
        self.alias(fields.get("alias", {}), fields.get("relname", ""))
        for access in accesses:
            self.findings.relation(name, access)
        if DDL in accesses or WRITE in accesses:
            schema, _, table = name.partition(".")
            if schema in SYSTEM_SCHEMAS or (schema == "?" and table.startswith("pg_")):
                self.findings.act(Action.ADMIN)
        elif fields.get("relname") in catalogue.ADMINISTRATIVE_RELATIONS:
            self.findings.act(Action.ADMIN)  # in whichever schema: an extension may be in any
        return name

    def call(self, fields: Fields, access: str = EXECUTE) -> str | None:
        """Records a function; its bare name when it is one of the catalogue's."""
        parts = strings(fields.get("funcname", ()))
        self.findings.touch("function", self.qualified(parts), access)
        if len(parts) == 1 or (len(parts) == 2 and parts[0] == "pg_catalog"):
            return parts[-1]
        if len(parts) == 2 and parts[0] == "information_schema" and parts[1] in catalogue.INFORMATION_SCHEMA:
            return "version"  # as harmless as any
        return None

    def alias(self, alias: Fields, relation: str = "") -> None:
        """What stands in a FROM under this alias; `relation`: its name, when it is one."""
        name = alias.get("aliasname") or relation
        if name:
            plain = relation and "colnames" not in alias
            (self.findings.of_relations if plain else self.findings.of_rows).add(name)

    def attribute(self, name: str, behind: str) -> None:
        """`x.name` is name(x) where x has no such column. Only the catalogue can tell, unless the name is one of those
        that do something. `behind`: what x is called; empty for an expression."""
        findings = self.findings
        before = findings.possible_functions.get(name)
        if before is not None:
            before.add(behind)
            return
        findings.possible_functions[name] = {behind}
        if name in catalogue.WITH_EFFECT:
            findings.touch("function", f"?.{name}", EXECUTE)
            findings.act(catalogue.FUNCTIONS[name])

    def operator(self, names: list[str]) -> None:
        if names and names[-1] in catalogue.OPERATORS and (len(names) == 1 or names[0] == "pg_catalog"):
            self.findings.operators[names[-1]] = None
            return
        written = ".".join(names)
        self.findings.unknown_functions[f"operator({written})"] = None
        if not self.defining:
            self.findings.fail(f"not understood: operator {written} calls a function that is not known")


def _column_ref(walker: Walker, fields: Fields) -> None:
    findings = walker.findings
    findings.column_references += 1
    parts = fields["fields"]
    last = parts[-1].get("String")
    if last is None:
        findings.columns["*"] = None
        return
    name = last.get("sval", "")
    findings.columns[name] = None
    if len(parts) > 1:
        walker.attribute(name, parts[-2].get("String", {}).get("sval", ""))


def _current_of(walker: Walker, fields: Fields) -> None:  # noqa: ARG001  # the handlers' shape
    walker.findings.column_references += 1


def _indirection(walker: Walker, fields: Fields) -> None:
    for part in fields.get("indirection", ()):
        if "String" in part:
            name = part["String"].get("sval", "")
            walker.findings.columns[name] = None
            walker.attribute(name, "")
    walker.children("A_Indirection", fields)


def _func_call(walker: Walker, fields: Fields) -> None:
    findings = walker.findings
    name = walker.call(fields)
    if name in catalogue.TYPES:
        findings.casts[name] = None
    if name in newer_grammar.QUALIFIED:
        findings.touch("function", f"?.{name}", EXECUTE)
    action = catalogue.FUNCTIONS.get(name) if name is not None else None
    if action is Action.READ:
        findings.calls = True
    elif action is not None:
        findings.act(action)
    elif name == catalogue.SET_CONFIG:
        findings.fail("not understood: set_config() here cannot be followed; use SET, or SELECT set_config() alone")
    else:
        written = ".".join(strings(fields["funcname"]))
        findings.unknown_functions[written] = None
        if not walker.defining:
            findings.fail(f"not understood: what the function {written}() does is not known")
    walker.children("FuncCall", fields, "funcname")


def _newer_call(kind: str) -> Callable[[Walker, Fields], None]:
    """A call to a server whose grammar does not know the kind."""

    def visit(walker: Walker, fields: Fields) -> None:
        findings, name = walker.findings, newer_grammar.called(kind, fields)
        if not name:
            findings.fail(f"not understood: this {kind} is not known here")
        if name in catalogue.TYPES:
            findings.casts[name] = None
        findings.touch("function", f"?.{name}", EXECUTE)
        findings.calls = True
        walker.children(kind, fields)

    return visit


def _operator_expression(walker: Walker, fields: Fields) -> None:
    names = strings(fields.get("name", ()))
    if fields.get("kind") in NAMED_KINDS:
        walker.findings.operators.update(_OF_BETWEEN)
    elif names != _MINUS or "lexpr" in fields:  # the parser takes some signs into numbers: `catalog_calls` assumes one
        walker.operator(names)
    walker.children("A_Expr", fields, "name")


def _sub_link(walker: Walker, fields: Fields) -> None:
    if "operName" in fields:
        walker.operator(strings(fields["operName"]))
    elif "testexpr" in fields:
        walker.operator(_EQUALS)
    walker.children("SubLink", fields, "operName")


def _role(walker: Walker, fields: Fields) -> None:
    name = fields.get("rolename") or str(fields.get("roletype", "")).removeprefix("ROLESPEC_").lower()
    walker.findings.touch("role", walker.name(name), DDL)


def _sort_by(walker: Walker, fields: Fields) -> None:
    if "useOp" in fields:
        walker.operator(strings(fields["useOp"]))
    walker.children("SortBy", fields, "useOp")


def _type_name(walker: Walker, fields: Fields) -> None:
    parts = strings(fields.get("names", ()))
    if not parts:
        return
    known = parts[-1] in catalogue.TYPES and (len(parts) == 1 or (len(parts) == 2 and parts[0] == "pg_catalog"))
    if known:
        walker.findings.casts[parts[-1]] = None
    else:
        walker.findings.types[walker.qualified(parts)] = None
    walker.nodes(fields.get("typmods", ()))


def _type_cast(walker: Walker, fields: Fields) -> None:
    walker.node(fields.get("arg"))
    _type_name(walker, fields.get("typeName", {}))


def _range_var(walker: Walker, fields: Fields) -> None:
    if walker.access == READ and not fields.get("schemaname") and fields.get("relname") in walker.common:
        walker.findings.of_rows.add(fields.get("alias", {}).get("aliasname") or fields["relname"])
        return
    walker.touch_relation(fields, walker.access)


def _rows(kind: str) -> Callable[[Walker, Fields], None]:
    """What stands in a FROM and is no relation: its alias is a row, of whose columns the text need not tell."""

    def visit(walker: Walker, fields: Fields) -> None:
        walker.alias(fields.get("alias", {}))
        walker.alias(fields.get("join_using_alias", {}))
        if "usingClause" in fields or fields.get("isNatural"):
            walker.operator(_EQUALS)
        walker.children(kind, fields)

    return visit


def _case(walker: Walker, fields: Fields) -> None:
    if "arg" in fields:
        walker.operator(_EQUALS)
    walker.children("CaseExpr", fields)


def _range_function(walker: Walker, fields: Fields) -> None:
    """Without an alias it goes by the name of the function."""
    walker.alias(fields.get("alias", {}))
    for node in fields.get("functions", ()):
        for call in items(node)[:1]:
            walker.findings.of_rows.update(strings(call.get("FuncCall", {}).get("funcname", ()))[-1:])
            walker.findings.of_rows.update(newer_grammar.called(kind, inside) for kind, inside in call.items())
    walker.children("RangeFunction", fields)


def _table_sample(walker: Walker, fields: Fields) -> None:
    method = strings(fields.get("method", ()))
    if method[-1:] and method[-1] not in catalogue.TABLESAMPLE_METHODS:
        walker.findings.fail(f"not understood: what TABLESAMPLE {'.'.join(method)} does is not known")
    walker.children("RangeTableSample", fields, "method")


HANDLERS: dict[str, Callable[[Walker, Any], None]] = {
    **{kind: _newer_call(kind) for kind in newer_grammar.KINDS},
    "A_Expr": _operator_expression,
    "A_Indirection": _indirection,
    "CaseExpr": _case,
    "ColumnRef": _column_ref,
    "CurrentOfExpr": _current_of,
    "FuncCall": _func_call,
    "JoinExpr": _rows("JoinExpr"),
    "JsonTable": _rows("JsonTable"),
    "RangeFunction": _range_function,
    "RangeSubselect": _rows("RangeSubselect"),
    "RangeTableFunc": _rows("RangeTableFunc"),
    "RangeTableSample": _table_sample,
    "RangeVar": _range_var,
    "RoleSpec": _role,
    "SortBy": _sort_by,
    "SubLink": _sub_link,
    "TypeCast": _type_cast,
    "TypeName": _type_name,
}
