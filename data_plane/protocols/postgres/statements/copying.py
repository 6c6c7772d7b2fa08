"""COPY: between a relation or query and the client. Files and programs of the server are their own facts and are
never followed: what a program does is not in the statement.
"""

from __future__ import annotations

from collections.abc import Callable

from data_plane.gate.interface import Action
from data_plane.protocols.postgres.interface import CopyStatement
from data_plane.protocols.postgres.statements.tree import Fields, Node, items, strings
from data_plane.protocols.postgres.statements.walker import READ, WRITE, Walker


def copy(walker: Walker, fields: Fields) -> None:
    findings, inward = walker.findings, bool(fields.get("is_from"))
    place = "program" if fields.get("is_program") else "file" if "filename" in fields else "client"
    findings.facts["copy"] = f"{'from' if inward else 'to'}-{place}"
    if place == "program":
        findings.act(Action.EXEC)
    elif place == "file":
        findings.act(Action.ADMIN)
    if "relation" in fields:
        walker.touch_relation(fields["relation"], WRITE if inward else READ)
        findings.act(Action.WRITE if inward else Action.READ)
        names = dict.fromkeys(strings(fields.get("attlist", ())))
        (findings.assigned if inward else findings.columns).update(names or {"*": None})
    walker.children("CopyStmt", fields, "relation", "attlist", "options")


def copy_statement(walker: Walker, fields: Fields) -> CopyStatement | None:
    """What masking and the wire must know; None when the client is not the other end."""
    if fields.get("is_program") or "filename" in fields:
        return None
    relation = fields.get("relation")
    return CopyStatement(
        to_client=not fields.get("is_from"),
        relation=walker.relation_name(relation) if relation is not None else "",
        columns=tuple(strings(fields.get("attlist", ()))),
        options=tuple(_option(node.get("DefElem", {})) for node in fields.get("options", ())),
    )


def _option(fields: Fields) -> tuple[str, str]:
    return str(fields.get("defname", "")).lower(), _value(fields.get("arg"))


def _value(argument: Node | None) -> str:
    """An option without a value is true; a list of columns is joined by commas, `*` is all."""
    if not argument:
        return "true"
    kind, fields = next(iter(argument.items()))
    if kind == "List":
        return ",".join(strings(items(argument)))
    read = _VALUES.get(kind)
    return read(fields) if read is not None else ""


_VALUES: dict[str, Callable[[Fields], str]] = {
    "String": lambda fields: str(fields.get("sval", "")),
    "Integer": lambda fields: str(fields.get("ival", 0)),
    "Float": lambda fields: str(fields.get("fval", "")),
    "Boolean": lambda fields: "true" if fields.get("boolval") else "false",
    "A_Star": lambda _: "*",
}
