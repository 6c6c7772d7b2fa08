"""Where output columns come from, by column names alone: enough to mask, never enough to show.

`Lineage` says per output which column names its expression reads. What a name means is not looked up: a name
that a sub-query, a CTE or a table function gives is listed in `derived` with what it stands for, and the reader
closes over it. Whatever cannot be followed is opaque. Filters are not followed: what a WHERE lets through is not
in the output (PROTOCOLS §2.7, predicate oracles).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from data_plane.protocols.postgres.interface import ColumnSource, Lineage
from data_plane.protocols.postgres.statements import catalogue, newer_grammar
from data_plane.protocols.postgres.statements.column_names import output_name
from data_plane.protocols.postgres.statements.tree import Fields, Node, items, strings, unwrap

Sources = tuple[ColumnSource, ...]

NOTHING = ColumnSource(frozenset())
HIDDEN = ColumnSource(frozenset(), opaque=True)
UNKNOWN = Lineage(None, (), frozenset(), renamed=True)

# Nodes without a value of any row.
_EMPTY = frozenset(
    (
        "A_Const", "ParamRef", "SQLValueFunction", "SetToDefault", "CurrentOfExpr", "GroupingFunc", "TypeName",
        "MergeSupportFunc", "String", "Integer", "JsonFormat", "JsonOutput", "Boolean",
    )
)  # fmt: skip
# Nodes that show what they are made of.
_TRANSPARENT = frozenset(
    (
        "A_ArrayExpr", "A_Expr", "A_Indices", "BoolExpr", "BooleanTest", "CaseExpr", "CaseWhen", "CoalesceExpr",
        "CollateClause", "JsonAggConstructor", "JsonArgument", "JsonArrayAgg", "JsonArrayConstructor",
        "JsonBehavior", "JsonFuncExpr", "JsonIsPredicate", "JsonKeyValue", "JsonObjectAgg", "JsonObjectConstructor",
        "JsonParseExpr", "JsonScalarExpr", "JsonSerializeExpr", "JsonValueExpr", "List", "MinMaxExpr",
        "MultiAssignRef", "NamedArgExpr", "NullTest", "ResTarget", "RowExpr", "SortBy", "TypeCast", "WindowDef",
        "XmlExpr", "XmlSerialize",
    )
)  # fmt: skip
# Column names of table functions whose rows are more than one scalar; others with rows of columns are not followed.
_ROWS_OF = {
    "json_each": ("key", "value"),
    "json_each_text": ("key", "value"),
    "jsonb_each": ("key", "value"),
    "jsonb_each_text": ("key", "value"),
    "json_array_elements": ("value",),
    "json_array_elements_text": ("value",),
    "jsonb_array_elements": ("value",),
    "jsonb_array_elements_text": ("value",),
}
_SCALARS = frozenset(
    (
        "generate_series", "generate_subscripts", "json_object_keys", "jsonb_object_keys", "jsonb_path_query",
        "regexp_matches", "regexp_split_to_table", "string_to_table",
    )
)  # fmt: skip
# `t.f` calls f(t) when t has no such column: these take a whole row and show it.
_SHOWS_A_ROW = frozenset(
    (
        "any_value", "array_agg", "concat", "hash_record", "json_agg", "json_build_array", "jsonb_agg",
        "jsonb_build_array", "quote_literal", "quote_nullable", "record_out", "record_send", "row_to_json",
        "to_json", "to_jsonb", "xmlagg",
    )
)  # fmt: skip
_OF_ANYTHING = frozenset(
    ("count", "num_nonnulls", "num_nulls", "pg_collation_for", "pg_column_compression", "pg_column_size", "pg_typeof")
)
_FOLLOWED = catalogue.HARMLESS | {catalogue.SET_CONFIG, "nextval", "setval"}


class _Outputs(NamedTuple):
    """The columns of a query; not `complete` when a `*` stands among them."""

    columns: tuple[tuple[str | None, ColumnSource], ...]
    complete: bool

    @property
    def sources(self) -> Sources | None:
        return tuple(source for _, source in self.columns) if self.complete else None


_NO_ROWS = _Outputs((), complete=True)


def union(sources: Iterable[ColumnSource]) -> ColumnSource:
    columns: frozenset[str] = frozenset()
    opaque = False
    for source in sources:
        columns |= source.columns
        opaque = opaque or source.opaque
    return ColumnSource(columns, opaque) if columns or opaque else NOTHING


def lineage_of(kind: str, fields: Fields) -> Lineage | None:
    """Of a statement that gives rows; None for one that does not, or whose rows another statement explains."""
    tracer = Tracer()
    match kind:
        case "SelectStmt":
            outputs = tracer.query(fields)
        case "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" if "returningClause" in fields:
            outputs = tracer.change(kind, fields)
        case "CopyStmt" if "query" in fields:
            return _first_lineage(fields["query"])
        case "ExplainStmt":
            return Lineage((_plan(fields.get("query", {})),), (), frozenset())
        case "VariableShowStmt":
            return Lineage((NOTHING,) * (3 if fields.get("name") == "all" else 1), (), frozenset())
        case "CallStmt":
            return UNKNOWN
        case _:
            return None
    return Lineage(outputs.sources, tuple(tracer.derived), frozenset(tracer.aliases), tracer.renamed)


def _first_lineage(node: Node) -> Lineage | None:
    for kind, fields in node.items():
        return lineage_of(kind, fields)
    return None


def _plan(query: Node) -> ColumnSource:
    """A plan shows constants, and functions folded to constants: nothing of a row when no function reads rows."""
    return HIDDEN if _calls_unknown(query) else NOTHING


def _calls_unknown(tree: object) -> bool:
    stack: list[object] = [tree]
    while stack:
        value = stack.pop()
        if isinstance(value, list):
            stack.extend(value)
        elif isinstance(value, dict):
            names = strings(value["FuncCall"].get("funcname", ())) if "FuncCall" in value else ()
            if names and (names[-1] not in catalogue.HARMLESS or names[-1] in catalogue.OPAQUE):
                return True
            stack.extend(value.values())
    return False


class Tracer:
    """Follows one statement; what it meets on the way is kept for the whole statement, without scopes."""

    def __init__(self) -> None:
        self.derived: list[tuple[str, ColumnSource]] = []
        self.aliases: set[str] = set()
        self.renamed = False

    # ------------------------------------------------------------------ queries

    def query(self, fields: Fields) -> _Outputs:
        self.common(fields)
        if "larg" in fields:
            return self._by_position(self.query(fields["larg"]), self.query(fields.get("rarg", {})))
        if "valuesLists" in fields:
            rows = [[self.source(value) for value in items(row)] for row in fields["valuesLists"]]
            columns = enumerate(zip(*rows, strict=False), 1)
            return _Outputs(tuple((f"column{number}", union(column)) for number, column in columns), complete=True)
        self.from_clause(fields.get("fromClause", ()))
        return self._targets(fields.get("targetList", ()))

    def change(self, kind: str, fields: Fields) -> _Outputs:
        """INSERT, UPDATE, DELETE, MERGE: what RETURNING gives back."""
        self.common(fields)
        self.table(fields.get("relation", {}))
        self.aliases |= {"old", "new"}
        clause = fields.get("returningClause", {})
        for option in clause.get("options", ()):
            self.aliases.add(option.get("ReturningOption", {}).get("value", "old"))
        for field in ("fromClause", "usingClause"):
            self.from_clause(fields.get(field, ()))
        if kind == "MergeStmt":
            self.from_clause((fields.get("sourceRelation", {}),))
        return self._targets(clause.get("exprs", ()))

    def _statement(self, node: Node) -> _Outputs:
        """What a CTE or a FROM holds."""
        for kind, fields in node.items():
            if kind == "SelectStmt":
                return self.query(fields)
            if "returningClause" in fields:
                return self.change(kind, fields)
        return _NO_ROWS

    def _targets(self, targets: Iterable[Node]) -> _Outputs:
        columns: list[tuple[str | None, ColumnSource]] = []
        complete = True
        for node in targets:
            target = node.get("ResTarget", {})
            value = target.get("val", {})
            if _is_star(value):
                complete = False
            else:
                columns.append((output_name(target), self.source(value)))
        return _Outputs(tuple(columns), complete)

    def _by_position(self, left: _Outputs, right: _Outputs) -> _Outputs:
        """UNION and its like: the left side gives the names."""
        if not (left.complete and right.complete) or len(left.columns) != len(right.columns):
            self.renamed = True
            return _Outputs(left.columns, complete=False)
        pairs = zip(left.columns, right.columns, strict=True)
        return _Outputs(tuple((name, union((one, other))) for (name, one), (_, other) in pairs), complete=True)

    def common(self, fields: Fields) -> None:
        for node in fields.get("withClause", {}).get("ctes", ()):
            expression = node.get("CommonTableExpr", {})
            self._derive(self._statement(expression.get("ctequery", {})), strings(expression.get("aliascolnames", ())))
            self.aliases.add(expression.get("ctename", ""))
            self._search_and_cycle(expression)

    def _search_and_cycle(self, expression: Fields) -> None:
        """Their columns hold rows of the columns that they list."""
        search, cycle = expression.get("search_clause", {}), expression.get("cycle_clause", {})
        for clause, listed, named in (
            (search, "search_col_list", ("search_seq_column",)),
            (cycle, "cycle_col_list", ("cycle_mark_column", "cycle_path_column")),
        ):
            source = ColumnSource(frozenset(strings(clause.get(listed, ()))))
            self.derived += [(clause[field], source) for field in named if field in clause]

    def _derive(self, outputs: _Outputs, given: list[str]) -> None:
        """Names that a column list gives, else those of the columns themselves."""
        if given and not outputs.complete:
            self.renamed = True
        for position, (own, source) in enumerate(outputs.columns):
            name = given[position] if position < len(given) else own
            if name is None:
                self.renamed = True
            elif source.opaque or source.columns != {name}:
                self.derived.append((name, source))

    # ------------------------------------------------------------------ FROM

    def _alias(self, alias: Fields) -> None:
        if "aliasname" in alias:
            self.aliases.add(alias["aliasname"])

    def from_clause(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            for kind, fields in node.items():
                handler = _FROM.get(kind)
                if handler is None:
                    self.renamed = True
                else:
                    handler(self, fields)

    def table(self, fields: Fields) -> None:
        alias = fields.get("alias", {})
        self.aliases.add(alias.get("aliasname") or fields.get("relname", ""))
        self.renamed = self.renamed or "colnames" in alias

    def sample(self, fields: Fields) -> None:
        self.from_clause((fields.get("relation", {}),))

    def join(self, fields: Fields) -> None:
        alias = fields.get("alias", {})
        self._alias(alias)
        self._alias(fields.get("join_using_alias", {}))
        self.renamed = self.renamed or "colnames" in alias
        self.from_clause((fields.get("larg", {}), fields.get("rarg", {})))

    def sub_select(self, fields: Fields) -> None:
        alias = fields.get("alias", {})
        self._alias(alias)
        self._derive(self._statement(fields.get("subquery", {})), strings(alias.get("colnames", ())))

    def function(self, fields: Fields) -> None:
        """A table function's columns show its arguments."""
        alias = fields.get("alias", {})
        named: list[str] = [*strings(alias.get("colnames", ())), alias.get("aliasname", "")]
        sources: list[ColumnSource] = []
        for node in fields.get("functions", ()):
            call, definitions = [*items(node), {}, {}][:2]
            defined = _defined([*items(definitions), *fields.get("coldeflist", ())])
            sources.append(self.source(call))
            parts = strings(call.get("FuncCall", {}).get("funcname", ()))
            name = parts[-1] if parts else "".join(newer_grammar.called(*part) for part in call.items())
            known = name in _SCALARS or name in _ROWS_OF or defined
            self.renamed = self.renamed or (sources[-1] != NOTHING and not known)
            named += [*defined, *_ROWS_OF.get(name, ()), name]
            self.aliases.add(alias.get("aliasname") or name)
        source = union(sources)
        if source != NOTHING:
            self.derived += [(column, source) for column in named if column]

    def table_expression(self, fields: Fields) -> None:
        """XMLTABLE and JSON_TABLE: every column may hold anything of the document."""
        alias = fields.get("alias", {})
        self._alias(alias)
        given = [fields[field] for field in ("docexpr", "context_item") if field in fields]
        sources = [self.source(_wrapped(node)) for node in given]
        sources += [self.source(node) for node in fields.get("passing", ())]
        if union(sources) != NOTHING:
            self.renamed = True

    # ------------------------------------------------------------------ expressions

    def source(self, node: Node) -> ColumnSource:
        for kind, fields in node.items():
            if kind in _EMPTY:
                return NOTHING
            handler = _EXPRESSIONS.get(kind)
            if handler is not None:
                return handler(self, fields)
            return self._parts(kind, fields) if kind in _TRANSPARENT else HIDDEN
        return NOTHING

    def _parts(self, kind: str, fields: Fields) -> ColumnSource:
        found: list[ColumnSource] = []
        for field, value in fields.items():
            if type(value) is list:
                found += [self.source(node) for node in value]
            elif type(value) is dict:
                part = unwrap(kind, field, value)
                if part is not None:
                    found.append(self.source({part[0]: part[1]}))
        return union(found)

    def column(self, fields: Fields) -> ColumnSource:
        names = strings(fields.get("fields", ()))
        if len(names) != len(fields.get("fields", ())):
            return HIDDEN
        whole_row = len(names) > 1 and names[-1] in _SHOWS_A_ROW
        return ColumnSource(frozenset(names[-1:]), whole_row)

    def indirection(self, fields: Fields) -> ColumnSource:
        if any("A_Star" in part for part in fields.get("indirection", ())):
            return HIDDEN
        whole = self.source(fields.get("arg", {}))
        named = ColumnSource(frozenset(strings(fields.get("indirection", ()))))
        return union((whole, named, *(self.source(part) for part in fields.get("indirection", ()))))

    def call(self, fields: Fields) -> ColumnSource:
        names = strings(fields.get("funcname", ()))
        name = names[-1] if names else ""
        followed = name in _FOLLOWED and (len(names) == 1 or names[0] == "pg_catalog")
        followed = followed or (names[0] == "information_schema" and name in catalogue.INFORMATION_SCHEMA)
        if not followed or name in catalogue.OPAQUE:
            return HIDDEN
        if name in catalogue.REVEALING_NOTHING:  # f(t) is t.f where there is no such function
            alone = len(fields.get("args", ())) == 1 and name not in _OF_ANYTHING
            return ColumnSource(frozenset((name,))) if alone else NOTHING
        return union(self.source(node) for node in (*fields.get("args", ()), *fields.get("agg_order", ())))

    def sub_link(self, fields: Fields) -> ColumnSource:
        outputs = self._statement(fields.get("subselect", {})).sources
        if fields.get("subLinkType") == "EXISTS_SUBLINK":
            where = fields.get("subselect", {}).get("SelectStmt", {}).get("whereClause")
            return self.source(where) if where is not None else NOTHING
        return union((self.source(fields.get("testexpr", {})), *((HIDDEN,) if outputs is None else outputs)))

    def json_query(self, fields: Fields) -> ColumnSource:
        outputs = self._statement(fields.get("query", {})).sources
        return HIDDEN if outputs is None else union(outputs)


def _is_star(value: Node) -> bool:
    parts = value.get("ColumnRef", {}).get("fields") or value.get("A_Indirection", {}).get("indirection") or [{}]
    return "A_Star" in parts[-1]


def _defined(definitions: Iterable[Node]) -> list[str]:
    return [definition.get("ColumnDef", {}).get("colname", "") for definition in definitions]


def _wrapped(node: Node) -> Node:
    """A context item stands bare in its field."""
    return {"JsonValueExpr": node} if "raw_expr" in node else node


_FROM: dict[str, Callable[[Tracer, Fields], None]] = {
    "RangeVar": Tracer.table,
    "RangeTableSample": Tracer.sample,
    "JoinExpr": Tracer.join,
    "RangeSubselect": Tracer.sub_select,
    "RangeFunction": Tracer.function,
    "RangeTableFunc": Tracer.table_expression,
    "JsonTable": Tracer.table_expression,
}
_EXPRESSIONS: dict[str, Callable[[Tracer, Fields], ColumnSource]] = {
    "ColumnRef": Tracer.column,
    "A_Indirection": Tracer.indirection,
    "FuncCall": Tracer.call,
    "SubLink": Tracer.sub_link,
    "JsonArrayQueryConstructor": Tracer.json_query,
}
