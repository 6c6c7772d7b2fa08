"""A plan: what applying a set of documents would change, and in which fields. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from data_plane.policy import documents, model

Change = Literal["create", "update", "delete", "unchanged"]


class Difference(msgspec.Struct, frozen=True):
    """One field; None stands for: it is not there."""

    path: str
    before: Any
    after: Any


class PlannedChange(msgspec.Struct, frozen=True):
    kind: str
    name: str
    change: Change
    diff: tuple[Difference, ...] = ()


class Stored(msgspec.Struct, frozen=True):
    """A document as it is now. `managed`: it was applied, so pruning may delete it. `left_by`: names of those on whom
    it rested and who are gone; applying it, also as it stands, writes it again."""

    document: model.Document
    managed: bool
    left_by: tuple[str, ...] = ()


@runtime_checkable
class Partial(Protocol):
    """A document that leaves something as it is."""

    def beside(self, before: model.Document | None) -> model.Document:
        """What there would be, where this is now."""


class World(msgspec.Struct, frozen=True):
    """Everything as it would be, and as it is. By kind, then by name."""

    documents: Mapping[str, Mapping[str, model.Document]]
    now: datetime
    before: Mapping[str, Mapping[str, model.Document]] = {}
    secrets: frozenset[str] = frozenset()  # the names of those that have a value
    delivered: frozenset[str] = frozenset()  # the names of those of which an agent has ever been given a value

    def names(self, kind: str) -> frozenset[str]:
        return frozenset(self.documents.get(kind, {}))

    def of(self, kind: str) -> Sequence[Any]:
        return list(self.documents.get(kind, {}).values())


def planned(kind: str, name: str, before: Stored | None, after: model.Document | None) -> PlannedChange:
    old, new = plain(before.document if before else None), plain(after)
    differences = tuple(compare("$", old, new)) if old is not None and new is not None else ()
    if before is not None and before.left_by and new is not None:
        differences = (Difference("(who answers for it)", f"{', '.join(before.left_by)}, gone", "you"), *differences)
    change: Change = "unchanged"
    if before is None:
        change = "create"
    elif after is None:
        change = "delete"
    elif differences:
        change = "update"
    return PlannedChange(kind, name, change, differences)


def plain(document: model.Document | None) -> Any:
    """As JSON values, every field in it."""
    return None if document is None else msgspec.json.decode(documents.encode(document))


def compare(path: str, before: Any, after: Any) -> list[Difference]:
    if isinstance(before, dict) and isinstance(after, dict):
        keys = sorted(before.keys() | after.keys())
        return [one for key in keys for one in compare(f"{path}.{key}", before.get(key), after.get(key))]
    if isinstance(before, list) and isinstance(after, list):
        longest = range(max(len(before), len(after)))
        return [one for i in longest for one in compare(f"{path}[{i}]", _at(before, i), _at(after, i))]
    return [] if before == after and type(before) is type(after) else [Difference(path, before, after)]


def _at(values: Sequence[Any], index: int) -> Any:
    return values[index] if index < len(values) else None
