"""Definitions and administration: what CREATE, ALTER, DROP, COMMENT, GRANT … are about.

Most of a definition does not run now (a view, a function's body, a default of rows to come), so a function of
unknown effect there is listed and not fatal. Where the server evaluates an expression at once, it is judged as in a
query: over the rows of a table that is altered (a new column's default, a CHECK, USING of a type), of an index, of
a domain's constraint, and in the bounds of a partition. What is known to change data, reach files, the server or
SQL text counts wherever it stands, because a view would carry it past every later judgement.
"""

from __future__ import annotations

from typing import Any

from data_plane.gate.interface import Action
from data_plane.protocols.postgres.interface import CreatesView, RenamesRelation
from data_plane.protocols.postgres.statements.queries import creates, is_own
from data_plane.protocols.postgres.statements.tree import Fields, Node, items, strings, sval
from data_plane.protocols.postgres.statements.walker import DDL, EXECUTE, READ, WRITE, Walker

RELATIONS = frozenset(("TABLE", "VIEW", "MATVIEW", "FOREIGN_TABLE", "INDEX", "SEQUENCE"))
OF_A_RELATION = frozenset(("COLUMN", "TABCONSTRAINT", "TRIGGER", "RULE", "POLICY"))
ROUTINES = frozenset(("FUNCTION", "PROCEDURE", "ROUTINE", "AGGREGATE"))
TYPES = frozenset(("TYPE", "DOMAIN"))
# What is administration even where tables are schema work.
ADMINISTRATIVE_OBJECTS = frozenset(
    (
        "ACCESS_METHOD", "DATABASE", "EVENT_TRIGGER", "EXTENSION", "FDW", "FOREIGN_SERVER", "LANGUAGE",
        "PARAMETER_ACL", "POLICY", "PUBLICATION", "PUBLICATION_NAMESPACE", "PUBLICATION_REL", "ROLE",
        "SUBSCRIPTION", "TABLESPACE", "TRANSFORM", "USER_MAPPING",
    )
)  # fmt: skip
ADMINISTRATIVE_CHANGES = frozenset(
    (
        "AT_ChangeOwner", "AT_DisableRowSecurity", "AT_EnableRowSecurity", "AT_ForceRowSecurity",
        "AT_NoForceRowSecurity", "AT_GenericOptions", "AT_SetTableSpace",
    )
)  # fmt: skip
# Changes of a table whose expressions do not run over the rows that are there.
FOR_LATER = frozenset(("AT_ColumnDefault",))
TRUSTED_LANGUAGES = frozenset(("sql", "plpgsql"))
# Fields of statements that name one object.
NAME_FIELDS = {
    "dbname": "database",
    "extname": "extension",
    "fdwname": "foreign-data wrapper",
    "servername": "server",
    "server_name": "server",
    "role": "role",
    "schemaname": "schema",
    "subname": "subscription",
    "pubname": "publication",
    "tablespacename": "tablespace",
    "filename": "library",
    "policy_name": "policy",
    "trigname": "trigger",
    "amname": "access method",
    "plname": "language",
}
TYPE_FIELDS = ("typeName", "domainname")


def kind_of(object_type: str) -> str:
    """`OBJECT_FOREIGN_TABLE` as people write it."""
    return object_type.removeprefix("OBJECT_").replace("_", " ").lower()


def definition(walker: Walker, fields: Fields) -> None:
    """The common case: relations in it are changed, queries in it are read, functions are listed."""
    _named(walker, fields)
    _descend(walker, fields)


def runs_now(walker: Walker, fields: Fields) -> None:
    """A definition whose expressions the server evaluates over the rows that are there."""
    _named(walker, fields)
    _descend(walker, fields, now=True)


def _of_rows_to_come(walker: Walker, fields: Fields, *without: str) -> None:
    """Defaults and constraints run where rows are written, and that is judged as a write: nextval() is no more."""
    actions = walker.findings.actions
    before = actions & {Action.WRITE}
    _descend(walker, fields, *without)
    actions -= {Action.WRITE} - before


def _descend(walker: Walker, fields: Fields, *without: str, now: bool = False) -> None:
    before = walker.access, walker.defining
    walker.access, walker.defining = DDL, not now
    walker.children("", fields, *without)
    walker.access, walker.defining = before


def _named(walker: Walker, fields: Fields) -> None:
    for field, kind in NAME_FIELDS.items():
        value = fields.get(field)
        if isinstance(value, str) and value:
            walker.findings.touch(kind, walker.name(value), DDL)
        elif isinstance(value, dict) and "rolename" in value:
            walker.findings.touch(kind, walker.name(value["rolename"]), DDL)
    for field in TYPE_FIELDS:
        parts = strings(fields[field]) if isinstance(fields.get(field), list) else []
        if parts:
            walker.findings.touch("type", walker.qualified(parts), DDL)
    if fields.get("behavior") == "DROP_CASCADE":
        walker.findings.facts["cascade"] = True


def named_object(walker: Walker, object_type: str, node: Node) -> None:
    """The thing that DROP, COMMENT, ALTER … OWNER and their like name."""
    kind = object_type.removeprefix("OBJECT_")
    parts = strings(items(node))
    if kind in RELATIONS:
        if parts:
            walker.touch_relation(_range(parts), DDL)
    elif kind in OF_A_RELATION:
        if parts[:-1]:
            walker.touch_relation(_range(parts[:-1]), DDL)
    elif kind in ROUTINES:
        named = strings(node.get("ObjectWithArgs", {}).get("objname", ()))
        walker.findings.touch("function", walker.qualified(named), DDL)
    elif kind in TYPES:
        named = strings(node.get("TypeName", {}).get("names", ())) or parts
        walker.findings.touch("type", walker.qualified(named), DDL)
    else:
        walker.findings.touch(kind_of(object_type), sval(node) or ".".join(parts), DDL)
    if kind in ADMINISTRATIVE_OBJECTS:
        walker.findings.act(Action.ADMIN)


def _range(parts: list[str]) -> Fields:
    return {"schemaname": parts[-2] if len(parts) > 1 else "", "relname": parts[-1]}


def drop(walker: Walker, fields: Fields) -> None:
    object_type = fields.get("removeType", "OBJECT_ACCESS_METHOD")
    _about(walker, object_type)
    for node in fields.get("objects", ()):
        named_object(walker, object_type, node)
    _named(walker, {"behavior": fields.get("behavior")})


def _about(walker: Walker, object_type: str) -> None:
    walker.findings.facts.setdefault("object", kind_of(object_type))


def about_object(walker: Walker, fields: Fields) -> None:
    """COMMENT, SECURITY LABEL, ALTER … OWNER, SET SCHEMA, DEPENDS ON, RENAME."""
    object_type = str(fields.get("objtype") or fields.get("objectType") or fields.get("renameType") or "")
    object_type = object_type or "OBJECT_ACCESS_METHOD"  # the enumeration's zero is left out of the JSON
    _about(walker, object_type)
    if "object" in fields:
        named_object(walker, object_type, fields["object"])
    elif object_type.removeprefix("OBJECT_") in ADMINISTRATIVE_OBJECTS:
        walker.findings.act(Action.ADMIN)
    _named(walker, {"behavior": fields.get("behavior")})
    _descend(walker, fields, "object")


def rename(walker: Walker, fields: Fields) -> None:
    about_object(walker, fields)
    kind, new = fields.get("renameType", "").removeprefix("OBJECT_"), fields.get("newname", "")
    if kind in ROUTINES or kind in TYPES:
        for of, name in [key for key in walker.findings.resources if key[0] in ("function", "type")]:
            walker.findings.touch(of, f"{name.partition('.')[0]}.{walker.name(new)}", DDL)
    if kind in RELATIONS:
        relation = fields.get("relation", {})
        schema = relation.get("schemaname", "")
        walker.touch_relation({"schemaname": schema, "relname": new}, DDL)
        if not schema or is_own(schema):
            walker.findings.effects.append(RenamesRelation(relation.get("relname", ""), new))


def create_table(walker: Walker, fields: Fields) -> None:
    alone = fields.keys().isdisjoint(("if_not_exists", "inhRelations", "ofTypename", "partbound"))
    creates(walker, fields.get("relation", {}), lasts=fields.get("oncommit") != "ONCOMMIT_DROP", alone=alone)
    _of_rows_to_come(walker, fields, "relation", "partbound")
    _descend(walker, {"partbound": fields.get("partbound", {})}, now=True)


def create_foreign_table(walker: Walker, fields: Fields) -> None:
    create_table(walker, fields.get("base", {}))
    _named(walker, fields)


def create_sequence(walker: Walker, fields: Fields) -> None:
    creates(walker, fields.get("sequence", {}))
    _descend(walker, fields, "sequence")


def create_view(walker: Walker, fields: Fields) -> None:
    view = fields.get("view", {})
    creates(walker, view)
    _makes_view(walker, view)
    _descend(walker, fields, "view")


def _makes_view(walker: Walker, relation: Fields) -> None:
    schema = relation.get("schemaname", "")
    walker.findings.effects.append(CreatesView(relation.get("relname", ""), bare=not schema or is_own(schema)))


def create_rule(walker: Walker, fields: Fields) -> None:
    """A rule ON SELECT makes a view of a table, up to PostgreSQL 15."""
    if fields.get("event") == "CMD_SELECT":
        walker.findings.facts["object"] = "view"
        _makes_view(walker, fields.get("relation", {}))
    definition(walker, fields)


def composite_type(walker: Walker, fields: Fields) -> None:
    walker.findings.touch("type", walker.relation_name(fields.get("typevar", {})), DDL)
    _descend(walker, fields, "typevar")


def alter_table(walker: Walker, fields: Fields) -> None:
    _about(walker, fields.get("objtype", "OBJECT_TABLE"))
    _descend(walker, fields, "cmds")
    for node in fields.get("cmds", ()):
        command = node.get("AlterTableCmd", {})
        if command.get("subtype") in ADMINISTRATIVE_CHANGES:
            walker.findings.act(Action.ADMIN)
        if command.get("behavior") == "DROP_CASCADE":
            walker.findings.facts["cascade"] = True
        if command.get("subtype") in FOR_LATER:
            _of_rows_to_come(walker, command)
        else:
            _descend(walker, command, now=True)


def create_schema(walker: Walker, fields: Fields) -> None:
    _named(walker, fields)
    _descend(walker, fields)


def function(walker: Walker, fields: Fields) -> None:
    """CREATE and ALTER FUNCTION. Whose rights it runs with and in which language decide."""
    walker.findings.touch("function", walker.qualified(_function_name(fields)), DDL)
    language = ""
    for node in (*fields.get("options", ()), *fields.get("actions", ())):
        option = node.get("DefElem", {})
        name, value = option.get("defname"), option.get("arg", {})
        if name == "language":
            language = sval(value).lower()
        elif name == "security" and _is_true(value):
            walker.findings.facts["security_definer"] = True
            walker.findings.act(Action.ADMIN)
    walker.findings.facts["language"] = language
    if language and language not in TRUSTED_LANGUAGES:
        walker.findings.act(Action.ADMIN)
    before = walker.defining
    walker.defining = True
    walker.nodes(fields.get("parameters", ()))
    walker.node(fields.get("sql_body"))
    walker.defining = before


def _function_name(fields: Fields) -> list[str]:
    return strings(fields.get("funcname") or fields.get("func", {}).get("objname", ()))


def _is_true(value: Node) -> bool:
    found: dict[str, Any] = value.get("Boolean", {})
    return bool(found.get("boolval"))


def create_trigger(walker: Walker, fields: Fields) -> None:
    walker.findings.touch("function", walker.qualified(strings(fields.get("funcname", ()))), EXECUTE)
    _named(walker, fields)
    _descend(walker, fields, "funcname")


def grant(walker: Walker, fields: Fields) -> None:
    """GRANT and REVOKE on objects."""
    object_type = fields.get("objtype", "OBJECT_TABLE")
    _about(walker, object_type)
    if fields.get("targtype") == "ACL_TARGET_ALL_IN_SCHEMA":
        object_type = "OBJECT_SCHEMA"
    for node in fields.get("objects", ()):
        if "RangeVar" in node:
            walker.touch_relation(node["RangeVar"], DDL)
        else:
            named_object(walker, object_type, node)
    for node in fields.get("grantees", ()):
        walker.node(node)
    _named(walker, {"behavior": fields.get("behavior")})


def default_privileges(walker: Walker, fields: Fields) -> None:
    """ALTER DEFAULT PRIVILEGES carries a GRANT or REVOKE without objects."""
    granted = fields.get("action", {})
    walker.findings.verbs["GRANT" if granted.get("is_grant") else "REVOKE"] = None
    for node in granted.get("grantees", ()):
        walker.node(node)


def maintain(walker: Walker, fields: Fields) -> None:
    """VACUUM, ANALYZE, CLUSTER, REINDEX, REFRESH: what is stored is written anew."""
    before, walker.access = walker.access, WRITE
    walker.children("", fields)
    walker.access = before


def settings_of(walker: Walker, fields: Fields) -> None:
    """ALTER SYSTEM, ROLE and DATABASE SET: the parameter that later sessions start with."""
    _named(walker, fields)
    name = fields.get("setstmt", {}).get("name", "all")
    walker.findings.settings[str(name).lower()] = None


def define(walker: Walker, fields: Fields) -> None:
    """CREATE AGGREGATE, OPERATOR, TYPE, COLLATION, TEXT SEARCH …: the functions that they name are types here."""
    object_type = fields.get("kind", "")
    _about(walker, object_type)
    kind = "function" if object_type == "OBJECT_AGGREGATE" else kind_of(object_type)
    walker.findings.touch(kind, walker.qualified(strings(fields.get("defnames", ()))), DDL)


def import_foreign_schema(walker: Walker, fields: Fields) -> None:
    _named(walker, fields)
    walker.findings.touch("schema", walker.name(fields.get("local_schema", "")), DDL)


def channel(walker: Walker, fields: Fields) -> None:
    access = WRITE if "NOTIFY" in walker.findings.verbs else READ
    walker.findings.touch("channel", fields.get("conditionname", "*"), access)


def code(walker: Walker, fields: Fields) -> None:
    """DO: its text runs and is not read here."""
    for node in fields.get("args", ()):
        option = node.get("DefElem", {})
        if option.get("defname") == "language":
            walker.findings.facts["language"] = sval(option.get("arg", {})).lower()


def call(walker: Walker, fields: Fields) -> None:
    """CALL: what the procedure does is not in the statement; its arguments are judged as anywhere."""
    procedure = fields.get("funccall", {})
    walker.call(procedure)
    walker.children("FuncCall", procedure, "funcname")
