"""Every statement of the grammar and how it is judged. What is not here is not understood.

An entry says what the statement does at least (its action), its verb, what kind of thing it is about, and which
function looks at its parts; the parts can only raise the action. A test walks all statement nodes of the grammar.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from data_plane.gate.interface import Action
from data_plane.protocols.postgres.statements import copying, queries, schema, sessions, settings
from data_plane.protocols.postgres.statements.tree import Fields
from data_plane.protocols.postgres.statements.walker import Walker

Judge = Callable[[Walker, Any], None]


class Entry(msgspec.Struct, frozen=True):
    action: Action
    verb: str  # empty: the judge knows it
    thing: str
    judge: Judge


def _alter(thing: str, judge: Judge = schema.definition, action: Action = Action.DDL) -> Entry:
    return Entry(action, "ALTER", thing, judge)


def _create(thing: str, judge: Judge = schema.definition, action: Action = Action.DDL) -> Entry:
    return Entry(action, "CREATE", thing, judge)


def _drop(thing: str) -> Entry:
    return Entry(Action.ADMIN, "DROP", thing, schema.definition)


def _nothing(walker: Walker, fields: Fields) -> None:
    """There is no more to it than its entry. Never for what carries another statement: that would not be judged."""


_ADMIN = Action.ADMIN

STATEMENTS: Mapping[str, Entry] = {
    # Queries and changes
    "SelectStmt": Entry(Action.SESSION, "", "", queries.select),
    "InsertStmt": Entry(Action.WRITE, "INSERT", "", queries.insert),
    "UpdateStmt": Entry(Action.WRITE, "UPDATE", "", queries.update),
    "DeleteStmt": Entry(Action.WRITE, "DELETE", "", queries.delete),
    "MergeStmt": Entry(Action.WRITE, "MERGE", "", queries.merge),
    "TruncateStmt": Entry(Action.WRITE, "TRUNCATE", "table", queries.truncate),
    "LockStmt": Entry(Action.WRITE, "LOCK", "table", queries.lock),
    "CopyStmt": Entry(Action.SESSION, "COPY", "", copying.copy),
    "RefreshMatViewStmt": Entry(Action.WRITE, "REFRESH", "materialized view", schema.maintain),
    "NotifyStmt": Entry(Action.WRITE, "NOTIFY", "", schema.channel),
    "ListenStmt": Entry(Action.READ, "LISTEN", "", schema.channel),
    "UnlistenStmt": Entry(Action.SESSION, "UNLISTEN", "", schema.channel),
    # Code
    "DoStmt": Entry(Action.EXEC, "DO", "", schema.code),
    "CallStmt": Entry(Action.EXEC, "CALL", "", schema.call),
    # Statements about statements, and the session
    "ExplainStmt": Entry(Action.SESSION, "", "", sessions.explain),
    "ExecuteStmt": Entry(Action.SESSION, "EXECUTE", "", sessions.execute),
    "PrepareStmt": Entry(Action.SESSION, "PREPARE", "", sessions.prepare),
    "DeallocateStmt": Entry(Action.SESSION, "DEALLOCATE", "", sessions.deallocate),
    "DeclareCursorStmt": Entry(Action.SESSION, "DECLARE", "", sessions.declare),
    "FetchStmt": Entry(Action.SESSION, "", "", sessions.fetch),
    "ClosePortalStmt": Entry(Action.SESSION, "CLOSE", "", sessions.close_cursor),
    "TransactionStmt": Entry(Action.SESSION, "", "", sessions.transaction),
    "VariableSetStmt": Entry(Action.SESSION, "", "", settings.variable_set),
    "VariableShowStmt": Entry(Action.SESSION, "SHOW", "", _nothing),
    "ConstraintsSetStmt": Entry(Action.SESSION, "SET", "constraints", _nothing),
    "DiscardStmt": Entry(Action.SESSION, "DISCARD", "", sessions.discard),
    # Schema
    "CreateStmt": _create("table", schema.create_table),
    "CreateForeignTableStmt": _create("foreign table", schema.create_foreign_table),
    "CreateTableAsStmt": _create("table", sessions.create_as),
    "CreateSeqStmt": _create("sequence", schema.create_sequence),
    "ViewStmt": _create("view", schema.create_view),
    "IndexStmt": _create("index", schema.runs_now),
    "CreateStatsStmt": _create("statistics"),
    "CreateSchemaStmt": _create("schema", schema.create_schema),
    "CreateFunctionStmt": _create("function", schema.function),
    "CreateTrigStmt": _create("trigger", schema.create_trigger),
    "RuleStmt": _create("rule", schema.create_rule),
    "CompositeTypeStmt": _create("type", schema.composite_type),
    "CreateEnumStmt": _create("type"),
    "CreateRangeStmt": _create("type"),
    "CreateDomainStmt": _create("domain"),
    "DefineStmt": _create("", schema.define),
    "CreateCastStmt": _create("cast"),
    "CreateConversionStmt": _create("conversion"),
    "CreateOpClassStmt": _create("operator class"),
    "CreateOpFamilyStmt": _create("operator family"),
    "AlterTableStmt": _alter("table", schema.alter_table),
    "AlterSeqStmt": _alter("sequence"),
    "AlterStatsStmt": _alter("statistics"),
    "AlterFunctionStmt": _alter("function", schema.function),
    "AlterTypeStmt": _alter("type"),
    "AlterEnumStmt": _alter("type"),
    "AlterDomainStmt": _alter("domain", schema.runs_now),
    "AlterCollationStmt": _alter("collation"),
    "AlterOperatorStmt": _alter("operator"),
    "AlterOpFamilyStmt": _alter("operator family"),
    "AlterTSConfigurationStmt": _alter("text search configuration"),
    "AlterTSDictionaryStmt": _alter("text search dictionary"),
    "RenameStmt": _alter("", schema.rename),
    "AlterObjectSchemaStmt": _alter("", schema.about_object),
    "AlterObjectDependsStmt": _alter("", schema.about_object),
    "DropStmt": Entry(Action.DDL, "DROP", "", schema.drop),
    "CommentStmt": Entry(Action.DDL, "COMMENT", "", schema.about_object),
    # Administration
    "AlterOwnerStmt": _alter("", schema.about_object, _ADMIN),
    "SecLabelStmt": Entry(_ADMIN, "SECURITY", "", schema.about_object),
    "GrantStmt": Entry(_ADMIN, "GRANT", "", schema.grant),
    "GrantRoleStmt": Entry(_ADMIN, "GRANT", "role", schema.definition),
    "AlterDefaultPrivilegesStmt": _alter("default privileges", schema.default_privileges, _ADMIN),
    "CreatePolicyStmt": _create("policy", action=_ADMIN),
    "AlterPolicyStmt": _alter("policy", action=_ADMIN),
    "CreateRoleStmt": _create("role", action=_ADMIN),
    "AlterRoleStmt": _alter("role", action=_ADMIN),
    "AlterRoleSetStmt": _alter("role", schema.settings_of, _ADMIN),
    "DropRoleStmt": _drop("role"),
    "DropOwnedStmt": _drop("owned"),
    "ReassignOwnedStmt": Entry(_ADMIN, "REASSIGN", "owned", schema.definition),
    "CreatedbStmt": _create("database", action=_ADMIN),
    "AlterDatabaseStmt": _alter("database", action=_ADMIN),
    "AlterDatabaseSetStmt": _alter("database", schema.settings_of, _ADMIN),
    "AlterDatabaseRefreshCollStmt": _alter("database", action=_ADMIN),
    "DropdbStmt": _drop("database"),
    "CreateTableSpaceStmt": _create("tablespace", action=_ADMIN),
    "AlterTableSpaceOptionsStmt": _alter("tablespace", action=_ADMIN),
    "AlterTableMoveAllStmt": _alter("tablespace", action=_ADMIN),
    "DropTableSpaceStmt": _drop("tablespace"),
    "AlterSystemStmt": _alter("system", schema.settings_of, _ADMIN),
    "CreateExtensionStmt": _create("extension", action=_ADMIN),
    "AlterExtensionStmt": _alter("extension", action=_ADMIN),
    "AlterExtensionContentsStmt": _alter("extension", action=_ADMIN),
    "CreateFdwStmt": _create("foreign-data wrapper", action=_ADMIN),
    "AlterFdwStmt": _alter("foreign-data wrapper", action=_ADMIN),
    "CreateForeignServerStmt": _create("server", action=_ADMIN),
    "AlterForeignServerStmt": _alter("server", action=_ADMIN),
    "CreateUserMappingStmt": _create("user mapping", action=_ADMIN),
    "AlterUserMappingStmt": _alter("user mapping", action=_ADMIN),
    "DropUserMappingStmt": _drop("user mapping"),
    "ImportForeignSchemaStmt": Entry(_ADMIN, "IMPORT", "foreign schema", schema.import_foreign_schema),
    "CreatePublicationStmt": _create("publication", action=_ADMIN),
    "AlterPublicationStmt": _alter("publication", action=_ADMIN),
    "CreateSubscriptionStmt": _create("subscription", action=_ADMIN),
    "AlterSubscriptionStmt": _alter("subscription", action=_ADMIN),
    "DropSubscriptionStmt": _drop("subscription"),
    "CreateEventTrigStmt": _create("event trigger", action=_ADMIN),
    "AlterEventTrigStmt": _alter("event trigger", action=_ADMIN),
    "CreatePLangStmt": _create("language", action=_ADMIN),
    "CreateTransformStmt": _create("transform", action=_ADMIN),
    "CreateAmStmt": _create("access method", action=_ADMIN),
    "LoadStmt": Entry(_ADMIN, "LOAD", "library", schema.definition),
    "CheckPointStmt": Entry(_ADMIN, "CHECKPOINT", "", _nothing),
    "VacuumStmt": Entry(_ADMIN, "", "table", schema.maintain),
    "ClusterStmt": Entry(_ADMIN, "CLUSTER", "table", schema.maintain),
    "ReindexStmt": Entry(_ADMIN, "REINDEX", "", schema.maintain),
}

# Nodes whose names end like a statement's and that a query string cannot hold as one.
NOT_A_STATEMENT: Mapping[str, str] = {
    "RawStmt": "the wrapper of every statement, taken off before",
    "PLAssignStmt": "PL/pgSQL only",
    "SetOperationStmt": "made by analysis, never by the parser",
    "ReturnStmt": "stands in the body of a function",
    "ReplicaIdentityStmt": "stands in ALTER TABLE",
}


def judge(walker: Walker, kind: str, fields: Fields) -> None:
    """Adds one statement, outer or inner, to the findings."""
    entry = STATEMENTS.get(kind)
    if entry is None:
        walker.findings.fail(f"not understood: {kind} is not a statement that is known here")
        return
    if entry.action is not Action.SESSION:  # what only carries something does nothing of its own
        walker.findings.act(entry.action)
    verb = verb_of(kind, fields) if kind in WRITTEN else entry.verb
    if verb:
        walker.findings.verbs[verb] = None
    if entry.thing:
        walker.findings.facts.setdefault("object", entry.thing)
    entry.judge(walker, fields)


# Where the verb depends on how the statement is written.
WRITTEN: Mapping[str, Callable[[Fields], str]] = {
    "GrantStmt": lambda fields: "GRANT" if fields.get("is_grant") else "REVOKE",
    "GrantRoleStmt": lambda fields: "GRANT" if fields.get("is_grant") else "REVOKE",
    "VacuumStmt": lambda fields: "VACUUM" if fields.get("is_vacuumcmd") else "ANALYZE",
    "FetchStmt": lambda fields: "MOVE" if fields.get("ismove") else "FETCH",
    "TransactionStmt": lambda fields: sessions.transaction_verb(fields).partition(" ")[0],
    "VariableSetStmt": lambda fields: "RESET" if "RESET" in fields.get("kind", "") else "SET",
}
# Statements that are judged as what they carry, and yet have a name of their own.
CARRIERS = {"SelectStmt": "SELECT", "ExplainStmt": "EXPLAIN"}


def verb_of(kind: str, fields: Fields) -> str:
    """The leading verb as it was written."""
    if kind in WRITTEN:
        return WRITTEN[kind](fields)
    entry = STATEMENTS.get(kind)
    return CARRIERS.get(kind) or (entry.verb if entry is not None else "")
