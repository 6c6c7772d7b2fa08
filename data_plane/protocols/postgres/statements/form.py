"""The form of a statement: what two statements share that differ in their values only. A window is open for one form.

What may differ is named here; everything else is compared, so that nothing that this file does not know widens a
window. Only these may: a number or a string (or a parameter in its place) that is

    given to a column by INSERT … VALUES, UPDATE … SET, ON CONFLICT … SET, or
    compared with something that names a column: = <> < > <= >= LIKE, ILIKE, IN, BETWEEN, IS [NOT] DISTINCT FROM, in
    WHERE, HAVING and ON, between AND, OR and NOT

also inside + - * / % ||, casts to plain types, rows, ARRAY[…] and COALESCE. A list keeps its length, a number stays a
number and a string a string. So these stay as they are: NULL, booleans, LIMIT and OFFSET, positions in ORDER BY, what
functions are given, names in strings ('t'::regclass), strings in + - * / % (document - 'key'), other keys of JSON
documents (but a parameter in place of one may differ), arrays written as one string (= ANY
('{…}')), predicates that name no column (WHERE true, 1 = 1), and tables, columns, operators, functions, structure.

A statement has no form when it is not one SELECT, INSERT, UPDATE or DELETE, or when a parameter stands where its value
would have to be compared. That another value makes a comparison true for every row (LIKE '%', id > 0) is what
reviewers are told; it is not found here. Follows the parse tree of libpg_query, not its fingerprint, which ignores
more than this.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from pglast import parser

from data_plane.protocols.postgres.interface import Form
from data_plane.protocols.postgres.statements import lexing, newer_grammar
from data_plane.protocols.postgres.statements.tree import Fields, Node, strings

VALUE: Final = "\u2039value\u203a"  # in place of what may differ, for people
LONGEST: Final = 16 * 1024  # bytes of a text; longer ones are data, and a window is not for them
COMMANDS: Final = frozenset({"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt"})
COMPARING: Final = frozenset({"=", "<>", "<", ">", "<=", ">=", "~~", "!~~", "~~*", "!~~*"})
COMPUTING: Final = frozenset({"+", "-", "*", "/", "%", "||"})
_BETWEEN: Final = frozenset({"AEXPR_BETWEEN", "AEXPR_NOT_BETWEEN", "AEXPR_BETWEEN_SYM", "AEXPR_NOT_BETWEEN_SYM"})
_COMPARISONS: Final = frozenset(
    {"AEXPR_OP", "AEXPR_IN", "AEXPR_LIKE", "AEXPR_ILIKE", "AEXPR_DISTINCT", "AEXPR_NOT_DISTINCT"}
)
# Their input is read as a value and as nothing else; a name of anything is none of them.
PLAIN_TYPES: Final = frozenset(
    {
        "bool", "bpchar", "bytea", "cidr", "date", "float4", "float8", "inet", "int2", "int4", "int8", "interval",
        "macaddr", "numeric", "text", "time", "timestamp", "timestamptz", "timetz", "uuid", "varchar",
    }
)  # fmt: skip
_PLACES: Final = frozenset({"location", "stmt_location", "stmt_len", "rexpr_list_start", "rexpr_list_end"})
_LITERALS: Final = frozenset({"ICONST", "FCONST", "SCONST", "USCONST", "PARAM"})
# Constants that may differ, and what is compared of them.
_CONSTANTS: Final = {"ival": "integer", "fval": "number", "sval": "string"}
# Values that are made of values, which stand in this field.
_MADE_OF: Final = {
    "A_ArrayExpr": "elements",
    "CoalesceExpr": "args",
    "List": "items",
    "MultiAssignRef": "source",
    "RowExpr": "args",
    "TypeCast": "arg",
}
_TEXTS: Final = frozenset({"text", "varchar", "bpchar"})
_SIGNS: Final = frozenset({"ASCII_45", "ASCII_43"})
_decode = msgspec.json.Decoder().decode


class _NoFormError(Exception):
    """A value would have to be compared that is not in the text."""


def form(text: bytes) -> Form | None:
    """None: it has none. Never raises."""
    if len(text) > LONGEST:
        return None
    try:
        if lexing.refused(text):
            return None
        found: list[Fields] = _decode(parser.parse_sql_json(text.decode())).get("stmts", [])
        if len(found) != 1:
            return None
        kind, fields = next(iter(found[0]["stmt"].items()))
        if kind not in COMMANDS or "intoClause" in fields:
            return None
        reader = _Reader()
        tree = msgspec.json.encode(reader.node({kind: fields}), order="sorted")
        shown = _shown(text, reader.places)
    except Exception:  # noqa: BLE001  # whatever it is: people decide on each such statement by itself
        return None
    return None if shown is None else Form(tree, shown)


class _Reader:
    """Copies a tree without its places and with what may differ left out. `places`: where that stands, in bytes."""

    def __init__(self) -> None:
        self.places: list[int] = []
        self._closed = 0  # how many of `_CLOSED` it is in

    # -------------------------------------------------------------- what is compared

    def node(self, value: Any) -> Any:
        """Everything in it is compared, but for the parts that `_PARTS` reads."""
        if isinstance(value, list):
            return [self.node(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "ParamRef" in value:
            raise _NoFormError
        return {name: self._part(name, inside) for name, inside in value.items() if name not in _PLACES}

    def _part(self, name: str, inside: Any) -> Any:
        if name in _CLOSED:
            self._closed += 1
            copied = self.node(inside)
            self._closed -= 1
            return copied
        read = None if self._closed else _PARTS.get(name)
        return self.node(inside) if read is None else read(self, inside)

    # -------------------------------------------------------------- statements and joins

    def predicate(self, node: Node) -> Any:
        """WHERE, HAVING, ON, and what stands between AND, OR and NOT."""
        if "BoolExpr" in node:
            fields = node["BoolExpr"]
            return {"BoolExpr": self._with(fields, {"args": lambda sides: list(map(self.predicate, sides))})}
        expression = node.get("A_Expr")
        if expression is None or not _compares(expression) or not _names_column(node):
            return self.node(node)
        return self._expression(expression)

    def _expression(self, fields: Fields) -> Any:
        sides = {side: self.value(fields[side]) for side in ("lexpr", "rexpr") if side in fields}
        rest = {name: inside for name, inside in fields.items() if name not in sides}
        return {"A_Expr": {**self.node(rest), **sides}}

    def assignments(self, targets: list[Node]) -> Any:
        """SET column = value."""
        copied = []
        for target in targets:
            fields = target["ResTarget"]
            rest = {name: inside for name, inside in fields.items() if name != "val"}
            given = {"val": self.value(fields["val"])} if "val" in fields else {}
            copied.append({"ResTarget": {**self.node(rest), **given}})
        return copied

    def conflict(self, fields: Fields) -> Any:
        """ON CONFLICT DO UPDATE."""
        return self._with(fields, {"targetList": self.assignments, "whereClause": self.predicate})

    def update(self, fields: Fields) -> Any:
        return self._with(fields, {"targetList": self.assignments})

    def insert(self, fields: Fields) -> Any:
        return self._with(fields, {"selectStmt": self._inserted})

    def _inserted(self, node: Node) -> Any:
        rows = node.get("SelectStmt", {})
        if "valuesLists" not in rows:
            return self.node(node)
        return {"SelectStmt": self._with(rows, {"valuesLists": self._values})}

    def _with(self, fields: Fields, read: dict[str, Any]) -> Any:
        """A copy of the fields, those named in `read` by what it says."""
        rest = self.node({name: inside for name, inside in fields.items() if name not in read})
        return {**rest, **{name: each(fields[name]) for name, each in read.items() if name in fields}}

    # -------------------------------------------------------------- what may differ

    def value(self, node: Node) -> Any:
        """An operand of a comparison, or what a column is given."""
        kind, fields = next(iter(node.items()))
        if kind == "A_Const" and (const := next((name for name in _CONSTANTS if name in fields), None)):
            self.places.append(fields.get("location", 0))
            return {"value": _CONSTANTS[const]}
        if kind == "ParamRef":
            self.places.append(fields.get("location", 0))
            return {"parameter": fields.get("number", 0)}
        if kind == "A_Expr" and fields.get("kind") == "AEXPR_OP" and _operator(fields) in COMPUTING:
            return self.node(node) if _names_key(fields) else self._expression(fields)
        inner = _MADE_OF.get(kind, "")
        if inner not in fields or (kind == "TypeCast" and not _is_plain(fields.get("typeName", {}))):
            return self.node(node)
        return {kind: self._with(fields, {inner: self._values})}

    def _values(self, given: Any) -> Any:
        return list(map(self.value, given)) if isinstance(given, list) else self.value(given)


# Nothing in these may differ: what a function is given, and how ON CONFLICT names its index.
_CLOSED: Final = frozenset({"FuncCall", "infer", *newer_grammar.KINDS})
# How these are read wherever else they stand: fields that hold a condition, and statements that give columns values.
_PARTS: Final = {
    "whereClause": _Reader.predicate,
    "havingClause": _Reader.predicate,
    "quals": _Reader.predicate,
    "UpdateStmt": _Reader.update,
    "InsertStmt": _Reader.insert,
    "onConflictClause": _Reader.conflict,
}


def _compares(expression: Fields) -> bool:
    kind = expression.get("kind")
    return kind in _BETWEEN or (kind in _COMPARISONS and _operator(expression) in COMPARING)


def _operator(expression: Fields) -> str:
    """Empty when its schema is written."""
    name = strings(expression.get("name", ()))
    return name[0] if len(name) == 1 else ""


def _names_key(expression: Fields) -> bool:
    """Whether text stands in arithmetic: of a document it may be the key that is taken away."""
    return _operator(expression) != "||" and _has_text([expression.get(side) for side in ("lexpr", "rexpr")])


def _has_text(value: Any) -> bool:
    """A string that nothing makes another value of, such as a date."""
    if isinstance(value, list):
        return any(map(_has_text, value))
    if not isinstance(value, dict):
        return False
    if "TypeCast" in value and _TEXTS.isdisjoint(strings(value["TypeCast"].get("typeName", {}).get("names", ()))):
        return False
    return "sval" in value.get("A_Const", ()) or any(map(_has_text, value.values()))


def _is_plain(type_name: Fields) -> bool:
    """Not an array: as one string it may be of any length."""
    names = strings(type_name.get("names", ()))
    if "arrayBounds" in type_name or type_name.get("setof") or not names:
        return False
    return names[-1] in PLAIN_TYPES and names[:-1] in ([], ["pg_catalog"])


def _names_column(value: Any) -> bool:
    """Outside of sub-queries, whose columns are their own."""
    if isinstance(value, list):
        return any(map(_names_column, value))
    if not isinstance(value, dict):
        return False
    inside = (each for name, each in value.items() if name != "subselect")
    return "ColumnRef" in value or any(map(_names_column, inside))


def _shown(text: bytes, places: list[int]) -> str | None:
    """The text with a mark at each of the places. None: what stands there is no literal."""
    whole = text.decode()
    tokens = parser.scan(whole)
    starts = {token.start: number for number, token in enumerate(tokens)}
    parts: list[str] = []
    done = 0
    for place in sorted(set(places)):
        number = starts.get(len(text[:place].decode()))
        if number is None:
            return None
        last = number + 1 if tokens[number].name in _SIGNS else number
        if tokens[last].name not in _LITERALS:
            return None
        parts += (whole[done : tokens[number].start], VALUE)
        done = tokens[last].end + 1
    return "".join((*parts, whole[done:]))
