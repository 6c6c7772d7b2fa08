"""Calls that only a newer grammar does not take for such. We read by that of PostgreSQL 18; to an older server
`json_scalar(1)` is a call like any other, of whichever function goes by that name there.

So each is told as a call of that name too, beside what it is to a newer server. Whether there is such a function says
the catalogue of the target (`catalog_calls`, `protection`). Not here: what is a mistake of syntax to an older server.
"""

from __future__ import annotations

from data_plane.protocols.postgres.statements.tree import Fields

# As a newer server names the output column, and an older one the function.
CALLS = {
    "JsonArrayAgg": "json_arrayagg",
    "JsonArrayConstructor": "json_array",
    "JsonArrayQueryConstructor": "json_array",
    "JsonObjectAgg": "json_objectagg",
    "JsonObjectConstructor": "json_object",
    "JsonParseExpr": "json",
    "JsonScalarExpr": "json_scalar",
    "JsonSerializeExpr": "json_serialize",
    "MergeSupportFunc": "merge_action",
}
QUERIES = {"JSON_EXISTS_OP": "json_exists", "JSON_QUERY_OP": "json_query", "JSON_VALUE_OP": "json_value"}
KINDS = frozenset((*CALLS, "JsonFuncExpr"))
NAMES = frozenset((*CALLS.values(), *QUERIES.values()))
# The newer grammar writes pg_catalog before these by itself: whether the text does cannot be told from its tree.
QUALIFIED = frozenset(("json_object", "normalize"))


def called(kind: str, fields: Fields) -> str:
    """The function that an older server calls; empty for a node that is no such call."""
    return QUERIES.get(fields.get("op", ""), "") if kind == "JsonFuncExpr" else CALLS.get(kind, "")
