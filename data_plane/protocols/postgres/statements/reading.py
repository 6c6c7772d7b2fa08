"""From one statement of the tree to a `Statement`: its subject, effects, references, lineage.

PREPARE runs nothing: its own subject is of the session, and the inner statement is judged when it is executed.
DECLARE plans and may run its query, so it is judged as that query.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from data_plane.gate.interface import FactValue
from data_plane.protocols.postgres.interface import Declares, Prepares, Statement
from data_plane.protocols.postgres.statements import table
from data_plane.protocols.postgres.statements.copying import copy_statement
from data_plane.protocols.postgres.statements.findings import Findings, not_understood
from data_plane.protocols.postgres.statements.lineage import lineage_of
from data_plane.protocols.postgres.statements.renaming import changes_names
from data_plane.protocols.postgres.statements.sessions import HOLD_CURSOR, select, transaction_verb
from data_plane.protocols.postgres.statements.storing import stored_by
from data_plane.protocols.postgres.statements.tree import Fields, Node, constant
from data_plane.protocols.postgres.statements.walker import Walker

_COUNTED = ("InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt")


class Reading(msgspec.Struct, frozen=True):
    statement: Statement
    constant_limits: int = 0  # LIMIT constants in it: the one constant that a fact depends on


def read(node: Node, text: bytes = b"") -> Reading:
    """A statement as it stands under RawStmt; `text`: its own, where others stand beside it."""
    kind, fields = next(iter(node.items()))
    special = SPECIAL.get(kind)
    if special is not None:
        return Reading(special(fields, text))
    findings = Findings()
    walker = Walker(findings, table.judge)
    findings.facts["command"] = table.verb_of(kind, fields)
    if kind == "SelectStmt":
        select(walker, fields)
    else:
        walker.visit(kind, fields)
    _query_facts(findings, kind, fields)
    changed = changes_names(kind, fields, findings)
    if changed is not None:
        findings.effects.append(changed)
    statement = Statement(
        subject=findings.subject(),
        effects=tuple(findings.effects),
        references=tuple(findings.references),
        lineage=lineage_of(kind, fields),
        stores=stored_by(kind, fields),
        copy=copy_statement(walker, fields) if kind == "CopyStmt" else None,
        counted=kind in _COUNTED and findings.changes == 1,
        transaction=transaction_verb(fields) if kind == "TransactionStmt" else "",
    )
    return Reading(statement, findings.constant_limits)


def _prepare(fields: Fields, text: bytes) -> Statement:
    findings = Findings()
    findings.verbs["PREPARE"] = None
    findings.facts["command"] = "PREPARE"
    prepares = Prepares(fields.get("name", ""), _given(read(fields.get("query", {})).statement, fields), text)
    return Statement(findings.subject(), (prepares,))


def _given(statement: Statement, fields: Fields) -> Statement:
    """What EXECUTE gives it is cast to the types that PREPARE lists."""
    findings = Findings()
    Walker(findings, table.judge).nodes(fields.get("argtypes", ()))
    subject = statement.subject
    if findings.problem or not subject.understood or not (findings.types or findings.casts):
        return statement if not findings.problem else Statement(not_understood(findings.problem))
    facts = dict(subject.facts)
    for fact, found in (("types", findings.types), ("casts", findings.casts)):
        facts[fact] = tuple(dict.fromkeys((*_names(facts, fact), *found)))
    return statement.judged_as(msgspec.structs.replace(subject, facts=facts))


def _names(facts: Mapping[str, FactValue], fact: str) -> tuple[str, ...]:
    found = facts.get(fact, ())
    return found if isinstance(found, tuple) else ()


def _declare(fields: Fields, text: bytes) -> Statement:
    inner = read(fields.get("query", {})).statement
    declares = Declares(fields.get("portalname", ""), inner, bool(fields.get("options", 0) & HOLD_CURSOR), text)
    subject = inner.subject
    own = msgspec.structs.replace(subject, facts={**subject.facts, "command": "DECLARE"})
    return Statement(own, (declares, *inner.effects), inner.references)


SPECIAL: Mapping[str, Callable[[Fields, bytes], Statement]] = {"PrepareStmt": _prepare, "DeclareCursorStmt": _declare}


def _query_facts(findings: Findings, kind: str, fields: Fields) -> None:
    """What is said of the outermost query, also behind EXPLAIN, COPY and CREATE TABLE AS."""
    while kind in ("ExplainStmt", "DeclareCursorStmt", "CopyStmt", "CreateTableAsStmt"):
        query = fields.get("query", {})
        kind, fields = next(iter(query.items()), ("", {}))
    if kind == "SelectStmt":
        findings.facts["has_where"] = "whereClause" in fields
        findings.facts["has_limit"] = "limitCount" in fields
        count = fields.get("limitCount", {})
        value = constant(count)
        if value is not None and "ival" in count["A_Const"]:
            findings.facts["limit"] = int(value)
