"""What is known of a target's catalogue: relations, columns, what depends on what. Values only, pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

TABLE_LIKE = frozenset("rpvmf")  # table, partitioned table, view, materialized view, foreign table
VIEWS = frozenset("vm")

Schemas = Mapping[str, frozenset[str]]
"""A name: the schemas that have something of this name."""


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
    definition: str  # empty: it could not be read, and may show all that it reads
    reads: frozenset[int]  # relations; the columns are not believed: a whole row leaves no dependency on them
    calls_users: bool  # a function that somebody made


class Code(msgspec.Struct, frozen=True):
    """What may do anything and is called without being named as such; see `catalog_code`.

    `hidden`: only while pg_catalog is searched first, because it has one of the same arguments."""

    functions: Schemas = {}
    hidden_functions: Schemas = {}
    operators: Schemas = {}
    hidden_operators: Schemas = {}
    attribute_functions: frozenset[str] = frozenset()  # that `x.name` may call
    types: frozenset[str] = frozenset()  # names of all types that somebody made
    coded_types: frozenset[str] = frozenset()  # those of them whose values are made by somebody's code
    coded_values: frozenset[int] = frozenset()  # the same by OID
    coded_casts: frozenset[str] = frozenset()  # the server's own types that it is cast to by such code
    casts_from: frozenset[int] = frozenset()  # types from which a written cast calls such code
    casts_unseen: frozenset[int] = frozenset()  # types from or to which that happens without being written
    casts_to_json: frozenset[int] = frozenset()  # types from which functions that make JSON call such code
    casting_types: frozenset[str] = frozenset()  # names of all the types of these casts
    casts_everywhere: bool = False  # … between types of the server's own


NO_CODE = Code()


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
    code: Code = NO_CODE
    closed_schemas: frozenset[str] = frozenset()  # that the agent's user may not use: not searched for names
    complete: bool = True  # False: definitions of views could not be read


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
