"""Code that a statement runs without a call being written: `x.name`, which is name(x) where x has no such column, and
casts to types whose values are made by somebody's code. Only the catalogue of the target can tell. Pure.

What is in doubt is not understood: a name that is both a function and a column is taken for the column only where all
relations of the statement have it. What this target is being given is remembered by name, because the catalogue does
not have it before its transaction has committed; and after anything that may make functions unseen, no such name is
trusted until the catalogue is loaded again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from data_plane.gate.interface import Action, Subject
from data_plane.protocols.postgres.catalog_data import CatalogData, Relation

_MADE: Final = frozenset({"function", "type"})
_MAKERS: Final = frozenset(
    {
        "function", "procedure", "routine", "aggregate", "type", "domain", "cast", "extension", "schema", "language",
        "foreign schema",
    }
)  # fmt: skip
_REMEMBERED: Final = 10_000


class HiddenCalls:
    """`relations` gives those that a name may mean."""

    def __init__(self, relations: Callable[[str], list[Relation]]) -> None:
        self._relations = relations
        self._made: set[str] = set()
        self.may_be_new = False  # there may be functions and types that neither the catalogue nor `_made` has

    def noted(self, subject: Subject) -> bool:
        """What it is about to make; True: there is something new in that."""
        if Action.EXEC in subject.actions and subject.verbs[:1] in (("DO",), ("CALL",)):
            self.may_be_new = True
        if Action.DDL not in subject.actions and Action.ADMIN not in subject.actions:
            return False
        if subject.facts.get("object") not in _MAKERS:
            return False
        self.may_be_new = True
        before = len(self._made)
        for resource in subject.resources:
            if resource.kind in _MADE and "ddl" in resource.access and len(self._made) < _REMEMBERED:
                self._made.update(candidate.rpartition(".")[2] for candidate in resource.candidates)
        return len(self._made) > before

    def judged(self, subject: Subject, data: CatalogData, *, stale: bool) -> Subject:
        """The subject, not understood when it may run code that it does not name as such."""
        if not subject.understood:
            return subject
        unsure = stale and (self.may_be_new or not data.fingerprint)
        problem = self._by_types(subject, data, unsure=unsure) or self._by_names(subject, data, unsure=unsure)
        if not problem:
            return subject
        return msgspec.structs.replace(
            subject,
            action=Action.UNKNOWN,
            actions=subject.actions | {Action.UNKNOWN},
            understood=False,
            problem=problem,
        )

    def _by_types(self, subject: Subject, data: CatalogData, *, unsure: bool) -> str:
        for type_ in _names(subject, "types"):
            name = type_.rpartition(".")[2]
            if name in data.coded_types:
                return (
                    f"not understood: values of the type {name} are made by code of this database; leave the cast out"
                )
            if (unsure or name in self._made) and name not in data.types and Action.DDL not in subject.actions:
                return f"not understood: the type {name} may be new; leave the cast out, or try again in a moment"
        return ""

    def _by_names(self, subject: Subject, data: CatalogData, *, unsure: bool) -> str:
        columns: list[frozenset[str]] | None = None
        for name in _names(subject, "possible_functions"):
            known = name in data.attribute_functions or name in data.coded_types
            if not known and not unsure and name not in self._made:
                continue
            if columns is None:
                columns = self._columns(subject)
            if columns and (all if known else any)(name in each for each in columns):
                continue
            if known:
                return f'not understood: ".{name}" may call the function {name}; write it as a call, or another column'
            return f'not understood: ".{name}" is not a column that is known yet; try again in a moment'
        return ""

    def _columns(self, subject: Subject) -> list[frozenset[str]]:
        """Of each relation that is named. Anybody may make a temporary one with any columns."""
        candidates = [name for item in subject.resources if item.kind == "relation" for name in item.candidates]
        found = [self._relations(candidate) for candidate in candidates]
        return [
            frozenset(relation.columns.values()) if relation is not None and not relation.temporary else frozenset()
            for relations in found
            for relation in relations or (None,)
        ]


def _names(subject: Subject, fact: str) -> tuple[str, ...]:
    found = subject.facts.get(fact, ())
    return found if isinstance(found, tuple) else ()
