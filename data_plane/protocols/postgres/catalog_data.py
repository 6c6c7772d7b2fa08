"""What is known of a target's catalogue: relations, columns, what depends on what. Values only, pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

TABLE_LIKE = frozenset("rpvmf")  # table, partitioned table, view, materialized view, foreign table
VIEWS = frozenset("vm")


class Relation(msgspec.Struct, frozen=True, gc=False):
    oid: int
    schema: str
    name: str
    kind: str  # pg_class.relkind
    temporary: bool
    row_types: tuple[int, ...]  # its composite type and the array of it
    columns: Mapping[int, str] = {}  # attnum: name, of columns that are not dropped
    generated: frozenset[int] = frozenset()
    types: Mapping[int, int] = {}  # attnum: type


class View(msgspec.Struct, frozen=True):
    definition: str
    reads: frozenset[int]  # relations; the columns are not believed: a whole row leaves no dependency on them
    calls_users: bool  # a function that somebody made


class CatalogData(msgspec.Struct, frozen=True):
    fingerprint: str
    user: str
    relations: Mapping[int, Relation]
    views: Mapping[int, View]
    inherits: tuple[tuple[int, int], ...]  # parent, child
    generated: tuple[tuple[int, int, int], ...]  # relation, generated attnum, attnum that it reads
    schemas: frozenset[str]
    builtin_functions: frozenset[str]  # names that came with the server, or immutable ones written in C
    user_functions: frozenset[str]  # names of all others: they may read anything
    attribute_functions: frozenset[str] = frozenset()  # those of them that `x.name` may call
    types: frozenset[str] = frozenset()  # names of all types that somebody made
    coded_types: frozenset[str] = frozenset()  # those of them whose values are made by somebody's code
    closed_schemas: frozenset[str] = frozenset()  # that the agent's user may not use: not searched for names


NOTHING = CatalogData(
    fingerprint="",
    user="",
    relations={},
    views={},
    inherits=(),
    generated=(),
    schemas=frozenset(),
    builtin_functions=frozenset(),
    user_functions=frozenset(),
)


class CatalogSource(Protocol):
    """Reads the catalogue of one database with the agent's credential."""

    async def load(self, known: str) -> CatalogData | None:
        """The catalogue in one snapshot; None when its fingerprint is `known`. Raises ConnectionError when the target
        cannot be asked."""
