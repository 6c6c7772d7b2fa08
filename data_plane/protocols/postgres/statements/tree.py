"""Reading libpg_query's JSON tree: plain dicts, never pglast's Python nodes (they cost fifty times as much).

A generic field holds a wrapped node, `{"ColumnRef": {…}}`; a field whose C type is one struct holds its
fields bare, and what they are is known from the field alone: `INLINE`. A bare struct that is not in the
table stops the judgement.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Fields = dict[str, Any]
Node = dict[str, Any]

# Bare structs by field name, where that decides it.
INLINE: dict[str, str] = {
    "alias": "Alias",
    "argType": "TypeName",
    "authrole": "RoleSpec",
    "base": "CreateStmt",
    "bound": "PartitionBoundSpec",
    "collClause": "CollateClause",
    "constrrel": "RangeVar",
    "constructor": "JsonAggConstructor",
    "context_item": "JsonValueExpr",
    "cycle_clause": "CTECycleClause",
    "datatype": "TypeName",
    "extname": "String",
    "format": "JsonFormat",
    "fromsql": "ObjectWithArgs",
    "func": "ObjectWithArgs",
    "funccall": "FuncCall",
    "grantor": "RoleSpec",
    "identitySequence": "RangeVar",
    "infer": "InferClause",
    "into": "IntoClause",
    "intoClause": "IntoClause",
    "join_using_alias": "Alias",
    "larg": "SelectStmt",
    "newowner": "RoleSpec",
    "newrole": "RoleSpec",
    "ofTypename": "TypeName",
    "on_empty": "JsonBehavior",
    "on_error": "JsonBehavior",
    "onConflictClause": "OnConflictClause",
    "opername": "ObjectWithArgs",
    "output": "JsonOutput",
    "over": "WindowDef",
    "owner": "RoleSpec",
    "partbound": "PartitionBoundSpec",
    "partspec": "PartitionSpec",
    "pathspec": "JsonTablePathSpec",
    "pktable": "RangeVar",
    "pubtable": "PublicationTable",
    "rarg": "SelectStmt",
    "rel": "RangeVar",
    "relation": "RangeVar",
    "returning": "JsonReturning",
    "returningClause": "ReturningClause",
    "returnType": "TypeName",
    "role": "RoleSpec",
    "search_clause": "CTESearchClause",
    "sequence": "RangeVar",
    "setstmt": "VariableSetStmt",
    "sourcetype": "TypeName",
    "storedtype": "TypeName",
    "table": "RangeVar",
    "targettype": "TypeName",
    "tosql": "ObjectWithArgs",
    "type_name": "TypeName",
    "typeName": "TypeName",
    "typevar": "RangeVar",
    "user": "RoleSpec",
    "view": "RangeVar",
    "withClause": "WithClause",
}
# … and by the node they stand in, where the field name does not.
INLINE_IN: dict[tuple[str, str], str] = {
    ("AlterDefaultPrivilegesStmt", "action"): "GrantStmt",
    ("CreateOpClassItem", "name"): "ObjectWithArgs",
    ("JsonArgument", "val"): "JsonValueExpr",
    ("JsonArrayAgg", "arg"): "JsonValueExpr",
    ("JsonKeyValue", "value"): "JsonValueExpr",
    ("JsonObjectAgg", "arg"): "JsonKeyValue",
    ("JsonParseExpr", "expr"): "JsonValueExpr",
    ("JsonSerializeExpr", "expr"): "JsonValueExpr",
    ("PartitionCmd", "name"): "RangeVar",
}


def inline_kind(parent: str, field: str) -> str | None:
    return INLINE_IN.get((parent, field)) or INLINE.get(field)


def unwrap(parent: str, field: str, value: Node) -> tuple[str, Fields] | None:
    """The kind and fields of what stands in a field; None for nothing at all, kind "" when it is not known."""
    for first in value:
        if first[0].isupper():
            return first, value[first]
        return inline_kind(parent, field) or "", value
    return None


def sval(node: Node) -> str:
    """The text of a String node; empty for any other."""
    return str(node.get("String", {}).get("sval", ""))


def strings(nodes: Iterable[Node]) -> list[str]:
    """A list of names; an element that is not a String is left out."""
    return [sval(node) for node in nodes if "String" in node]


def items(node: Node) -> list[Node]:
    """The members of a List node."""
    members: list[Node] = node.get("List", {}).get("items", [])
    return members


def constant(node: Node) -> str | None:
    """A constant as SET reads it (numbers and booleans as text); None when it is NULL or no constant."""
    const = node.get("A_Const")
    if const is None or const.get("isnull"):
        return None
    if "sval" in const:
        return str(const["sval"].get("sval", ""))
    if "ival" in const:
        return str(const["ival"].get("ival", 0))
    if "fval" in const:
        return str(const["fval"].get("fval", ""))
    if "boolval" in const:
        return "true" if const["boolval"].get("boolval") else "false"
    return None


def location(fields: Fields) -> int:
    """Byte offset of a node in its text, -1 when it has none."""
    found: int = fields.get("location", 0)
    return found
