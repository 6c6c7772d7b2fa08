"""A small catalogue and statements written by hand, for tests that need no server and no parser."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from data_plane.gate.interface import Action, Resource, Subject
from data_plane.policy.in_force import InForce
from data_plane.policy.model import ColumnMask, MaskSpec
from data_plane.protocols.postgres.catalog import Catalogue
from data_plane.protocols.postgres.catalog_data import CatalogData, Relation, View
from data_plane.protocols.postgres.interface import (
    Classifier,
    ColumnSource,
    CopyStatement,
    Lineage,
    ParsedQuery,
    Statement,
)
from data_plane.protocols.postgres.masking import SessionMasking

CUSTOMERS, ORDERS, CHILD, VIEW, VIEW_OF_VIEW, COUNTS, TEMPORARY, OTHER = range(20_001, 20_009)
ROW_TYPE = 30_001
KEY = b"k" * 32


def relation(
    oid: int, name: str, columns: Iterable[str], *, schema: str = "public", kind: str = "r", temporary: bool = False
) -> Relation:
    named = dict(enumerate(columns, 1))
    return Relation(
        oid=oid,
        schema=schema,
        name=name,
        kind=kind,
        temporary=temporary,
        row_types=(oid + 10_000,),
        columns=named,
        types=dict.fromkeys(named, 25),
    )


def statement(
    *relations: str,
    outputs: Iterable[Iterable[str] | None] | None = None,
    derived: Iterable[tuple[str, Iterable[str]]] = (),
    aliases: Iterable[str] = (),
    renamed: bool = False,
    functions: Iterable[str] = (),
    copy: CopyStatement | None = None,
    understood: bool = True,
    traced: bool = True,
) -> Statement:
    """`outputs`: for each column the names that it reads, None for an opaque one."""
    resources = [Resource("relation", (name,), ("read",)) for name in relations]
    resources += [Resource("function", (name,), ("execute",)) for name in functions]
    sources = None if outputs is None else tuple(source(output) for output in outputs)
    lineage = Lineage(sources, tuple((n, source(c)) for n, c in derived), frozenset(aliases), renamed)
    return Statement(
        Subject(Action.READ, ("SELECT",), tuple(resources), {}, understood),
        lineage=lineage if traced else None,
        copy=copy,
    )


def source(columns: Iterable[str] | None) -> ColumnSource:
    return ColumnSource(frozenset(), opaque=True) if columns is None else ColumnSource(frozenset(columns))


class ByText(Classifier):
    """A classifier that knows the statements that a test gives it."""

    def __init__(self, **texts: Statement) -> None:
        self._texts = texts

    def parse(self, text: bytes) -> ParsedQuery:
        known = self._texts.get(text.decode())
        return ParsedQuery((known,) if known else ())


VIEWS = ByText(
    v=statement("public.customers", outputs=[["id"], ["ssn"], ["name"]], aliases=["customers"]),
    vv=statement("public.v", outputs=[["b"]], aliases=["v"]),
    counts=statement("public.customers", outputs=[[]], aliases=["customers"], functions=["pg_catalog.count"]),
)


def data(**changed: object) -> CatalogData:
    relations = [
        relation(CUSTOMERS, "customers", ["id", "ssn", "name", "email"]),
        relation(ORDERS, "orders", ["id", "total"]),
        relation(CHILD, "customers_2024", ["email", "id", "extra", "name", "ssn"]),
        relation(VIEW, "v", ["a", "b", "c"], kind="v"),
        relation(VIEW_OF_VIEW, "vv", ["x"], kind="v"),
        relation(COUNTS, "counts", ["count"], kind="m"),
        relation(TEMPORARY, "work", ["a"], schema="pg_temp_3", temporary=True),
        relation(OTHER, "orders", ["id", "note"], schema="sales"),
        relation(1259, "pg_class", ["relname"], schema="pg_catalog"),
        relation(12_200, "pg_stats", ["tablename", "most_common_vals"], schema="pg_catalog", kind="v"),
    ]
    fields: dict[str, object] = {
        "fingerprint": "1",
        "user": "app",
        "relations": {known.oid: known for known in relations},
        "views": {
            VIEW: View("v;", frozenset({CUSTOMERS}), calls_users=False),
            VIEW_OF_VIEW: View("vv;", frozenset({VIEW}), calls_users=False),
            COUNTS: View("counts;", frozenset({CUSTOMERS}), calls_users=False),
        },
        "inherits": ((CUSTOMERS, CHILD),),
        "generated": ((CUSTOMERS, 4, 2),),
        "schemas": frozenset({"public", "sales", "pg_catalog", "app"}),
        "builtin_functions": frozenset({"count", "lower", "query_to_xml"}),
        "user_functions": frozenset({"reads_customers"}),
    }
    return CatalogData(**{**fields, **changed})  # type: ignore[arg-type]


def catalogue(loaded: CatalogData | None = None) -> Catalogue:
    made = Catalogue(VIEWS, lambda _: None)
    made.loaded(loaded or data(), 0)
    return made


SSN = MaskSpec(columns=(ColumnMask(column="public.customers.ssn"),))


def masking(spec: MaskSpec = SSN, known: Catalogue | None = None) -> SessionMasking:
    return SessionMasking(known or catalogue(), InForce({"pii": spec}), ("pii",), KEY)


def description(*columns: tuple[str, int, int, int, int]) -> bytes:
    """(name, table, attnum, type, format) each."""
    return struct.pack("!H", len(columns)) + b"".join(
        name.encode() + b"\0" + struct.pack("!IhIhih", table, attnum, type_, -1, -1, format_)
        for name, table, attnum, type_, format_ in columns
    )


def row(*values: bytes | None) -> bytes:
    body = struct.pack("!H", len(values)) + b"".join(
        b"\xff\xff\xff\xff" if value is None else struct.pack("!I", len(value)) + value for value in values
    )
    return b"D" + struct.pack("!I", 4 + len(body)) + body


def values(rows: bytes) -> list[list[bytes | None]]:
    """Raises AssertionError when the framing is not exact."""
    found, at = [], 0
    while at < len(rows):
        assert rows[at : at + 1] == b"D"
        size, count = struct.unpack_from("!IH", rows, at + 1)
        cell, fields = at + 7, []
        for _ in range(count):
            length = struct.unpack_from("!i", rows, cell)[0]
            cell += 4
            fields.append(None if length < 0 else rows[cell : cell + length])
            cell += max(length, 0)
        assert cell == at + 1 + size
        found.append(fields)
        at = cell
    return found
