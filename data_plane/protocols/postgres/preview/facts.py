"""Facts of a held statement: read off its text, certain, and no statement about the data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from data_plane.gate.impact import Fact
from data_plane.gate.interface import Subject
from data_plane.protocols.postgres.preview.deriving import written_rows
from data_plane.protocols.postgres.preview.question import Question

_MOST_NAMES = 20
_CHANGES_ROWS = frozenset({"UPDATE", "DELETE", "MERGE"})


def facts_of(question: Question) -> tuple[Fact, ...]:
    found: list[Fact] = []
    several = len(question.subjects) > 1
    for number, subject in enumerate(question.subjects, 1):
        prefix = f"{number}. " if several else ""
        found += [Fact(f"{prefix}{name}", value) for name, value in _facts(subject)]
    if question.statement is not None and (rows := written_rows(question.text)) is not None:
        found.append(Fact("rows written out", f"{rows}"))
    return tuple(found)


def _facts(subject: Subject) -> Iterator[tuple[str, str]]:
    yield "does", ", ".join(subject.verbs) or subject.action.value
    for access in ("write", "ddl", "read"):
        if names := _names(subject, access):
            yield {"write": "changes", "ddl": "defines", "read": "reads"}[access], names
    facts = subject.facts
    if not _CHANGES_ROWS.isdisjoint(subject.verbs):
        where = "names a column" if facts.get("has_where") else "none that names a column: it may touch every row"
        yield "WHERE", where
    if facts.get("has_limit"):
        limit = facts.get("limit", -1)
        yield "LIMIT", str(limit) if isinstance(limit, int) and limit >= 0 else "not a constant"
    for fact, told in (("cascade", "what depends on it too"), ("locks", "locks rows or tables")):
        if facts.get(fact):
            yield fact.upper(), told
    if facts.get("returning"):
        yield "RETURNING", "gives the rows that it changed to the client"


def _names(subject: Subject, access: str) -> str:
    touched: Iterable[str] = dict.fromkeys(
        " or ".join(resource.candidates).replace("?.", "")
        for resource in subject.resources
        if resource.kind == "relation" and access in resource.access
    )
    names = list(touched)
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more
