"""The rows that a statement touches, as the SELECT that finds them.

The clauses are cut out of the text by its tokens, and the tree of what was made of them is compared with the tree of
the statement: what would select anything else is not derived. Parameters are numbered anew, because a server takes none
whose type nothing says. Pure; follows the JSON tree of libpg_query.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from pglast import parser

from data_plane.protocols.postgres.statements.tree import Fields

_PLACES: Final = frozenset(
    {"location", "stmt_location", "stmt_len", "rexpr_list_start", "rexpr_list_end", "limitOption"}
)
_COMMENTS: Final = frozenset({"C_COMMENT", "SQL_COMMENT"})
_OPEN, _CLOSE, _END = "ASCII_40", "ASCII_41", "ASCII_59"
_OF_WHO_ASKS: Final = frozenset({"SVFOP_CURRENT_USER", "SVFOP_CURRENT_ROLE", "SVFOP_SESSION_USER", "SVFOP_USER"})
_decode = msgspec.json.Decoder().decode


class Rows(msgspec.Struct, frozen=True):
    """`source` is FROM and what follows it, for behind a SELECT. It ends with a line end, so that more may follow."""

    source: str
    parameters: tuple[int, ...]  # of the statement; the first one is $1 of `source`
    alias: str = ""  # what names the table that is changed; empty: it is a query
    joins: bool = False  # there are other tables, so that a row may be found more than once


def rows_of(text: bytes) -> Rows | None:
    """Of one UPDATE or DELETE without WITH; None for anything else, and when in doubt. Never raises."""
    try:
        whole = text.decode()
        kind, fields = _only(whole)
        if kind == "DeleteStmt":
            return _derived(whole, fields, "usingClause", after="FROM", joined_by="USING")
        if kind == "UpdateStmt":
            return _derived(whole, fields, "fromClause", after="UPDATE", joined_by="FROM")
    except Exception:  # noqa: BLE001  # what cannot be derived is not
        return None
    return None


def query_of(text: bytes) -> Rows | None:
    """The query of a SELECT that changes and locks nothing, or of INSERT … SELECT."""
    try:
        whole = text.decode()
        kind, fields = _only(whole)
        if kind == "SelectStmt":
            tokens = _tokens(whole)
            return _query(whole, tokens, fields) if not _is_more_than_a_query(fields) else None
        if kind == "InsertStmt" and "withClause" not in fields:
            query = fields.get("selectStmt", {}).get("SelectStmt", {})
            if query and "valuesLists" not in query and not _is_more_than_a_query(query):
                return next(filter(None, (_query(whole, cut, query) for cut in _inserted(whole))), None)
    except Exception:  # noqa: BLE001  # as above
        return None
    return None


def written_rows(text: bytes) -> int | None:
    """How many rows INSERT … VALUES writes out; None for anything else."""
    try:
        kind, fields = _only(text.decode())
    except Exception:  # noqa: BLE001  # as above
        return None
    rows = fields.get("selectStmt", {}).get("SelectStmt", {}).get("valuesLists") if kind == "InsertStmt" else None
    return len(rows) if rows else None


def asks_who_asks(text: bytes) -> bool:
    """Whether the result depends on the role: CURRENT_USER and its kind. In doubt: it does."""
    try:
        _, fields = _only(text.decode())
    except Exception:  # noqa: BLE001  # as above
        return True
    return any(node.get("op") in _OF_WHO_ASKS for node in _nodes(fields, "SQLValueFunction"))


def takes_defaults(text: bytes) -> bool:
    """Whether columns may get their defaults by it: INSERT, MERGE, SET column = DEFAULT. In doubt: they may."""
    try:
        kind, fields = _only(text.decode())
    except Exception:  # noqa: BLE001  # as above
        return True
    return kind not in ("UpdateStmt", "DeleteStmt") or any(_nodes(fields, "SetToDefault"))


# ------------------------------------------------------------------ cutting


def _only(text: str) -> tuple[str, Fields]:
    statements: list[Fields] = _decode(parser.parse_sql_json(text)).get("stmts", [])
    if len(statements) != 1:
        raise ValueError("not one statement")
    kind, fields = next(iter(statements[0]["stmt"].items()))
    return kind, fields


def _read(made: str) -> tuple[str, Fields]:
    """Of a text that was cut perhaps in the wrong place: nothing, then."""
    try:
        return _only(made)
    except (parser.ParseError, ValueError):
        return "", {}


def _tokens(text: str) -> list[Any]:
    tokens = [token for token in parser.scan(text) if token.name not in _COMMENTS]
    while tokens and tokens[-1].name == _END:
        tokens.pop()
    return tokens


def _outer(tokens: Sequence[Any]) -> Iterator[int]:
    """The places of the tokens that stand in no parentheses."""
    depth = 0
    for place, token in enumerate(tokens):
        depth -= token.name == _CLOSE
        if not depth:
            yield place
        depth += token.name == _OPEN


def _derived(text: str, fields: Fields, joined: str, *, after: str, joined_by: str) -> Rows | None:
    where, relation, others = fields.get("whereClause"), fields["relation"], fields.get(joined, [])
    if "withClause" in fields or any(_nodes(fields, "CurrentOfExpr")):
        return None
    tokens = _tokens(text)
    outer = list(_outer(tokens))
    words = {after, "SET", "WHERE", "RETURNING", joined_by}
    named = {word: [place for place in outer if tokens[place].name == word] for word in words}
    end = named["RETURNING"][-1] if "returningClause" in fields else len(tokens)
    at_where = named["WHERE"][-1] if where is not None else end
    begin = named[after][0] + 1
    joins = [place for place in named[joined_by] if begin < place < at_where] if others else [at_where]
    for at_join in joins:
        stop = named["SET"][0] if after == "UPDATE" else at_join
        parts = [tokens[begin:stop], tokens[at_join + 1 : at_where], tokens[at_where + 1 : end]]
        made = _made(text, parts)
        if made is not None and _same(made, relation, others, where):
            alias = relation.get("alias", {}).get("aliasname") or relation["relname"]
            return msgspec.structs.replace(made, alias=alias, joins=bool(others))
    return None


def _made(text: str, parts: Sequence[Sequence[Any]]) -> Rows | None:
    numbers: list[int] = []
    relation, others, where = (_slice(text, part, numbers) for part in parts)
    source = f"FROM {relation}" + (f"\n, {others}" if others else "") + (f"\nWHERE {where}" if where else "")
    return Rows(f"{source}\n", tuple(numbers))


def _slice(text: str, tokens: Sequence[Any], numbers: list[int]) -> str:
    """The text of these tokens, with parameters by their new numbers, which `numbers` collects."""
    pieces, done = [], tokens[0].start if tokens else 0
    for token in tokens:
        if token.name == "PARAM":
            number = int(text[token.start + 1 : token.end + 1])
            if number not in numbers:
                numbers.append(number)
            pieces += [text[done : token.start], f"${numbers.index(number) + 1}"]
            done = token.end + 1
    return "".join((*pieces, text[done : tokens[-1].end + 1])) if tokens else ""


def _query(text: str, tokens: Sequence[Any], query: Fields) -> Rows | None:
    numbers: list[int] = []
    made = _slice(text, tokens, numbers)
    kind, fields = _read(made)
    if kind != "SelectStmt" or _bare(fields, numbers) != _bare(query, None):
        return None
    return Rows(f"FROM (\n{made}\n) AS assentry_rows\n", tuple(numbers))


def _inserted(text: str) -> Iterator[Sequence[Any]]:
    """What may be the query of an INSERT: from some outer token to the end, RETURNING or ON CONFLICT."""
    tokens = _tokens(text)
    outer = list(_outer(tokens))
    begins = [place for place in outer if tokens[place].name in ("SELECT", "TABLE", "WITH", "WITH_LA", _OPEN)]
    ends = [len(tokens), *(place for place in outer if tokens[place].name in ("ON", "RETURNING"))]
    for begin, end in itertools.product(begins, ends):
        if begin < end:
            yield tokens[begin:end]


# ------------------------------------------------------------------ comparing


def _same(made: Rows, relation: Fields, others: Sequence[Any], where: Any) -> bool:
    kind, fields = _read(f"SELECT 1 {made.source}")
    expected = [{"RangeVar": relation}, *others]
    found = fields.get("fromClause", [])
    numbers = made.parameters
    return (
        kind == "SelectStmt"
        and fields.keys() <= {"targetList", "fromClause", "whereClause", "limitOption", "op"}
        and _bare(found, numbers) == _bare(expected, None)
        and _bare(fields.get("whereClause"), numbers) == _bare(where, None)
    )


def _bare(value: Any, numbers: Sequence[int] | None) -> Any:
    """Without places; parameters by their numbers in the statement, where `numbers` has those for the new ones."""
    if isinstance(value, list):
        return [_bare(item, numbers) for item in value]
    if not isinstance(value, dict):
        return value
    if "ParamRef" in value and numbers is not None:
        return {"ParamRef": {"number": numbers[value["ParamRef"]["number"] - 1]}}
    return {name: _bare(inside, numbers) for name, inside in value.items() if name not in _PLACES}


def _is_more_than_a_query(fields: Fields) -> bool:
    kinds = ("intoClause", "lockingClause")
    changes = ("InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt")
    return any(kind in node for node in _dicts(fields) for kind in (*kinds, *changes))


def _nodes(value: Any, kind: str) -> Iterator[Fields]:
    return (node[kind] for node in _dicts(value) if kind in node)


def _dicts(value: Any) -> Iterator[Fields]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
