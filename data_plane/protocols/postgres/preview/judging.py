"""Why nothing may be sent to the target for a statement, by what the catalogue knows of it. Pure.

The preview runs parts of a statement before anybody has approved it, so it is stricter than policy: it sends only what
reads ordinary tables, calls harmless functions of the server itself, and means the same for the preview role as for the
session. Whether the target's tables have row security, or run code when they are changed, is asked there (`probing`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from data_plane.gate.interface import Action, Resource, Subject
from data_plane.protocols.postgres.catalog_data import CatalogData, Relation
from data_plane.protocols.postgres.preview.deriving import asks_who_asks
from data_plane.protocols.postgres.preview.question import Question
from data_plane.protocols.postgres.statements import newer_grammar
from data_plane.protocols.postgres.statements.catalogue import HARMLESS

TABLES: Final = frozenset("rpm")  # table, partitioned table, materialized view
_HARMLESS: Final = HARMLESS | newer_grammar.NAMES
_DATA: Final = frozenset({Action.READ, Action.WRITE, Action.SESSION})
# Harmless to data, and yet: they wait, have effects on their session, or answer by who asks.
_NOT_HERE: Final = frozenset(
    {
        "pg_sleep", "pg_sleep_for", "pg_sleep_until", "setseed", "currval", "lastval", "lo_close", "lo_get", "lo_lseek",
        "lo_lseek64", "lo_tell", "lo_tell64", "loread", "pg_advisory_unlock", "pg_advisory_unlock_all",
        "pg_advisory_unlock_shared", "current_setting", "current_user", "session_user", "system_user", "pg_backend_pid",
        "pg_my_temp_schema", "pg_is_other_temp_schema", "inet_client_addr", "inet_client_port", "row_security_active",
        "pg_has_role", "has_any_column_privilege", "has_column_privilege", "has_database_privilege",
        "has_foreign_data_wrapper_privilege", "has_function_privilege", "has_language_privilege",
        "has_largeobject_privilege", "has_parameter_privilege", "has_schema_privilege", "has_sequence_privilege",
        "has_server_privilege", "has_table_privilege", "has_tablespace_privilege", "has_type_privilege", "txid_current",
        "txid_current_if_assigned", "pg_current_xact_id", "pg_current_xact_id_if_assigned", "current_query",
    }
)  # fmt: skip
_ONLY_ROWS: Final = "only statements that read or change rows are looked at"


class Tables(Protocol):
    """What of the catalogue this asks."""

    data: CatalogData

    def relations(self, candidate: str) -> list[Relation]: ...


def objection(question: Question, tables: Tables) -> str:
    """Empty: what reads the same rows may be sent."""
    if question.statement is None or len(question.subjects) != 1:
        return "only one statement at a time is looked at"
    subject = question.subjects[0]
    return (
        _by_kind(question, subject)
        or next(filter(None, (_by_resource(resource, tables) for resource in subject.resources)), "")
        or ("its result depends on who asks" if asks_who_asks(question.text) else "")
    )


def relations_of(subject: Subject, tables: Tables) -> list[Relation]:
    """Of a subject without objection: each exactly one."""
    names = [resource.candidates[0] for resource in subject.resources if resource.kind == "relation"]
    return [tables.relations(name)[0] for name in dict.fromkeys(names)]


def _by_kind(question: Question, subject: Subject) -> str:
    statement, path = question.statement, question.path
    plain = statement is not None and not (statement.references or statement.effects or statement.copy is not None)
    refused = (
        (not subject.understood, "it is not understood"),
        (not plain or not subject.actions <= _DATA or bool(subject.facts.get("explain")), _ONLY_ROWS),
        (bool(path.altered), "the client's open transaction has changed what names mean"),
        (not path.schemas, "the session's search path is not known"),
        (bool(subject.facts.get("unknown_functions")), "it calls a function that is not known to be harmless"),
    )
    return next((why for is_so, why in refused if is_so), "")


def _by_resource(resource: Resource, tables: Tables) -> str:
    if resource.kind == "relation":
        return _by_relation(resource, tables)
    if resource.kind == "function":
        return next(filter(None, map(_by_function, resource.candidates)), "")
    return f"it uses a {resource.kind}"


def _by_relation(resource: Resource, tables: Tables) -> str:
    name = resource.candidates[0].removeprefix("?.")
    if len(resource.candidates) != 1 or resource.candidates[0].startswith("?."):
        return f"which relation {name} is is not certain"
    if resource.candidates[0].startswith("pg_temp"):
        return f"{name} is a temporary relation, which only its session sees"
    found = tables.relations(resource.candidates[0])
    if len(found) != 1 or found[0].temporary:
        return f"the relation {name} is not known"
    if found[0].kind not in TABLES:
        return f"{name} is no ordinary table: what reading it runs is not known to be harmless"
    if not tables.data.code.coded_values.isdisjoint(found[0].types.values()):
        return f"{name} has a column whose values are made by code of the database"
    return ""


def _by_function(candidate: str) -> str:
    schema, _, name = candidate.rpartition(".")
    if schema not in ("", "?", "pg_catalog") or name not in _HARMLESS or name in _NOT_HERE:
        return f"it calls {name}(), which is not known to be harmless here"
    return ""


def written(subject: Subject) -> Iterator[str]:
    """The names of the tables that it changes."""
    for resource in subject.resources:
        if resource.kind == "relation" and "write" in resource.access:
            yield from resource.candidates


def quoted(parts: Iterable[str]) -> str:
    """A name as SQL, whatever is in it."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)
