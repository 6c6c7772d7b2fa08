"""What writes reach through views, and what temporary relations may carry. Pure.

A write to a view counts as one to every relation that the view reads: the server may pass it on to one of them, and a
rule about that one must not be evaded by the view's name. A view that is being made, renamed or replaced is not in the
catalogue as it will be, so writes to its name are not understood until it is; a temporary one never is. Most policies
let sessions do as they like with temporary relations, so what those would run later (defaults, constraints, triggers,
views) must be harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from data_plane.gate.interface import Action, Resource, Subject
from data_plane.protocols.postgres.catalog_data import CatalogData, Relation
from data_plane.protocols.postgres.interface import SearchPath
from data_plane.protocols.postgres.statements.walker import DDL, WRITE

REMEMBERED: Final = 10_000
_OF_VIEWS: Final = ("view", "schema")  # CREATE SCHEMA may make views too


class WrittenViews:
    """`relations` gives those that a name may mean."""

    def __init__(self, relations: Callable[[str], list[Relation]]) -> None:
        self._relations = relations
        self._made: set[str] = set()
        self.full = False  # `_made` does not have all: any name may be that of a new view

    def forget(self) -> None:
        self.full = False
        self._made.clear()

    def noted(self, subject: Subject) -> bool:
        """The names that it may give to views, or take from them; True: there is something new in that."""
        names = list(_touched(subject, DDL))
        bare = {name.rpartition(".")[2] for name in names}
        views = subject.facts.get("object") in _OF_VIEWS or any(map(self._was_view, names))
        if bare <= self._made or not views:
            return False
        if len(self._made) < REMEMBERED:
            self._made |= bare
            return True
        was_full, self.full = self.full, True
        return not was_full

    def _was_view(self, name: str) -> bool:
        return self._is_made(name) or any(each.kind == "v" for each in self._wherever(name))

    def _is_made(self, name: str) -> bool:
        return self.full or name.rpartition(".")[2] in self._made

    def _wherever(self, name: str) -> list[Relation]:
        return self._relations(f"?.{name.partition('.')[2]}")

    def judged(
        self, subject: Subject, data: CatalogData, path: SearchPath, altered: frozenset[str], *, stale: bool
    ) -> Subject:
        """With the relations behind the views that it writes; not understood where those are not known. `altered`: what
        names may mean something else by now; `*`: any."""
        behind: dict[str, None] = {}
        for name in _touched(subject, WRITE):
            bare = name.rpartition(".")[2]
            found, doubt = self._relations(name), "*" in altered or bare in altered
            own = not found and bare in path.views
            new = self._is_made(name) and (doubt or (stale and all(each.kind == "v" for each in found)))
            if own or new:
                return not_understood(subject, _may_be_new(name))
            for relation in _behind(self._wherever(name) if doubt else found, data):
                if stale and relation.kind == "v" and self._is_made(relation.name):
                    return not_understood(subject, _may_be_new(relation.name))
                behind[f"{relation.schema}.{relation.name}"] = None
        changed = _touched(subject, DDL)
        if any(name.startswith("pg_temp.") for name in changed) and _may_run(subject):
            return not_understood(
                subject, "what a temporary relation runs must be harmless, and that is not known here"
            )
        if not behind:
            return subject
        more = tuple(Resource("relation", (name,), (WRITE,)) for name in behind)
        return msgspec.structs.replace(subject, resources=(*subject.resources, *more))


def _touched(subject: Subject, access: str) -> Iterator[str]:
    for resource in subject.resources:
        if resource.kind == "relation" and access in resource.access:
            yield from resource.candidates


def _may_be_new(name: str) -> str:
    return f"{name.removeprefix('?.')} may be a new view: what it writes is not known"


def _behind(relations: list[Relation], data: CatalogData) -> Iterator[Relation]:
    """All that these read, through further views."""
    seen: set[int] = set()
    waiting = [relation.oid for relation in relations if relation.kind == "v"]
    while waiting:
        view = data.views.get(waiting.pop())
        for oid in view.reads - seen if view else ():
            seen.add(oid)
            waiting.append(oid)
            if oid in data.relations:
                yield data.relations[oid]


def _may_run(subject: Subject) -> bool:
    return bool(subject.facts.get("unknown_functions")) or subject.facts.get("object") == "trigger"


def not_understood(subject: Subject, problem: str) -> Subject:
    return msgspec.structs.replace(
        subject,
        action=Action.UNKNOWN,
        actions=subject.actions | {Action.UNKNOWN},
        understood=False,
        problem=f"not understood: {problem}",
    )
