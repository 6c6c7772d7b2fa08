"""COPY OUT: the form stays what it was, in whatever pieces it comes, and masked fields are gone."""

from __future__ import annotations

import csv
import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_plane.masking.marks import MARK
from data_plane.policy.model import ColumnMask, DetectorMask, MaskSpec
from data_plane.protocols.postgres import copy_formats
from data_plane.protocols.postgres.interface import CopyPlan, CopyRefused, CopyStatement, Statement

from .masking_catalogue import masking, statement

CANARY = b"078-05-1120"
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
EVERYTHING = MaskSpec(columns=(ColumnMask(column="public.customers.ssn"),), detectors=(DetectorMask(detect="email"),))


def copying(relation: str = "?.customers", *columns: str, **options: str) -> Statement:
    copy = CopyStatement(True, relation, columns, tuple(options.items()))
    return statement(relation, copy=copy, traced=False)


def querying(*outputs: list[str] | None, relation: str = "?.customers", **options: str) -> Statement:
    copy = CopyStatement(True, "", (), tuple(options.items()))
    return statement(relation, outputs=outputs, copy=copy)


def plan(of: Statement, spec: MaskSpec | None = None) -> CopyPlan:
    made = (masking(spec) if spec else masking()).copy(of, ())
    assert made is not None
    assert not isinstance(made, CopyRefused)
    return made


def all_of(made: CopyPlan, *pieces: bytes) -> bytes:
    return b"".join([*map(made.mask_data, pieces), made.finish()])


def test_text() -> None:
    made = plan(copying("?.customers", "id", "ssn", "name"))
    assert all_of(made, b"1\t078\tAda\n2\t\\N\tB\\tb\n", b"3\t\t\\N\n") == (
        b"1\t" + MARK + b"\tAda\n2\t\\N\tB\\tb\n3\t" + MARK + b"\t\\N\n"
    )


def test_a_delimiter_in_a_field_or_in_the_mark_is_escaped() -> None:
    made = plan(copying("?.customers", "id", "ssn", "name", delimiter="k"))
    assert all_of(made, b"1k078ka\\kb\n2k\\Nkc\\\\\n") == (
        b"1k" + MARK.replace(b"k", b"\\k") + b"ka\\kb\n2k\\Nkc\\\\\n"
    )


def test_csv_with_header_quotes_and_newlines() -> None:
    made = plan(copying("?.customers", "id", "ssn", "name", format="csv", header="true"))
    out = all_of(made, b'id,ssn,name\n1,"07\n8","A ""b""\n,c"\n', b'2,,\n3,"",""\n')
    assert list(csv.reader(io.StringIO(out.decode(), newline=""))) == [
        ["id", "ssn", "name"],
        ["1", MARK.decode(), 'A "b"\n,c'],
        ["2", "", ""],
        ["3", MARK.decode(), ""],
    ]
    assert b"3," + MARK + b',""\n' in out


def test_a_newline_inside_quotes_ends_no_row() -> None:
    made = plan(copying("?.customers", "id", "ssn", "name", format="csv"))
    assert all_of(made, b'1,"07\n', b'8",x\n2,,y\n') == b"1," + MARK + b",x\n2,,y\n"


def test_binary() -> None:
    row = struct.pack("!hi", 2, 1) + b"1" + struct.pack("!i", len(CANARY)) + CANARY
    none = struct.pack("!hi", 2, 1) + b"2" + b"\xff" * 4
    made = plan(copying("?.customers", "id", "ssn", format="binary"))
    out = all_of(made, HEADER + row + none + b"\xff\xff")
    assert out == HEADER + row.replace(struct.pack("!i", len(CANARY)) + CANARY, struct.pack("!i", len(MARK)) + MARK) + (
        none + b"\xff\xff"
    )
    assert made.mask_data(row) == b""


def test_a_relation_without_columns_listed_has_those_of_the_catalogue() -> None:
    assert all_of(plan(copying()), b"1\t078\tAda\te\n") == b"1\t" + MARK + b"\tAda\t" + MARK + b"\n"


def test_a_query_is_followed_by_name() -> None:
    made = plan(querying(["id"], ["ssn", "name"]))
    assert all_of(made, b"1\t078\n") == b"1\t" + MARK + b"\n"
    binary = plan(querying(["id"], ["ssn"], format="binary"))
    row = struct.pack("!hi", 2, 1) + b"1" + struct.pack("!i", 3) + b"078"
    assert all_of(binary, HEADER + row) == HEADER + struct.pack("!hi", 2, 1) + b"1" + b"\xff" * 4


@pytest.mark.parametrize(
    "refused",
    [
        copying("?.nobody_knows"),
        copying("?.customers", encoding="latin1"),
        copying("?.customers", format="csv", escape="\\"),
        copying("?.customers", format="strange"),
        copying("?.customers", delimiter="ü"),
        statement("?.customers", copy=CopyStatement(True, "", (), ()), traced=False),
        statement("?.customers", copy=CopyStatement(True, "", (), ()), outputs=None),
        statement("?.customers", copy=CopyStatement(True, "", (), ()), outputs=[["id"]], renamed=True),
        statement("?.orders", copy=CopyStatement(True, "", (), ()), outputs=[["id"]], functions=["?.reads_customers"]),
    ],
)
def test_what_cannot_be_followed_is_refused_and_says_what_to_write(refused: Statement) -> None:
    made = masking().copy(refused, ())
    assert isinstance(made, CopyRefused)
    assert made.message
    assert made.hint


def test_a_name_in_two_schemas_is_taken_for_both() -> None:
    assert masking().copy(copying("?.orders"), ()) is None
    guarded = MaskSpec(columns=(ColumnMask(column="sales.orders.note"),))
    assert isinstance(masking(guarded).copy(copying("?.orders"), ()), CopyRefused)
    assert all_of(plan(copying("?.orders", "id", "note"), guarded), b"1\tx\n") == b"1\t" + MARK + b"\n"
    assert masking(guarded).copy(copying("public.orders"), ()) is None


def test_what_needs_no_mask_has_no_plan() -> None:
    assert masking().copy(copying("public.orders"), ()) is None
    assert masking().copy(querying(["id"]), ()) is None
    assert masking().copy(statement("?.customers"), ()) is None
    assert masking().copy(statement("?.customers", copy=CopyStatement(False, "?.customers", (), ())), ()) is None


def test_a_temporary_table_is_masked_whole() -> None:
    assert all_of(plan(copying("?.work")), b"1\n") == MARK + b"\n"


def test_detectors_look_into_every_format() -> None:
    spec = MaskSpec(detectors=(DetectorMask(detect="email"),))
    untouched = b"1\tplain\n" * 10
    made = plan(copying("public.orders"), spec)
    assert made.mask_data(untouched) is untouched or made.mask_data(untouched) == untouched
    assert made.mask_data(b"1\tto bob@x.org\\n\n") == b"1\tto " + MARK + b"\\n\n"
    sheet = plan(querying(["a"], ["b"], relation="?.orders", format="csv"), spec)
    assert sheet.mask_data(b'1,"say ""bob@x.org"""\n') == b'1,"say ""' + MARK + b'"""\n'
    binary = plan(querying(["a"], relation="?.orders", format="binary"), spec)
    assert binary.mask_data(HEADER + struct.pack("!hi", 1, 9) + b"bob@x.org") == HEADER + b"\0\1\xff\xff\xff\xff"


def test_a_row_with_another_number_of_fields_becomes_nulls() -> None:
    made = plan(copying("?.customers", "id", "ssn"))
    assert made.mask_data(CANARY + b"\n1\t2\t" + CANARY + b"\n") == b"\\N\t\\N\n" * 2


@pytest.mark.parametrize("form", ["text", "csv", "binary"])
def test_a_row_that_never_ends_is_not_kept_for_ever(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_formats, "LONGEST_ROW", 1000)
    made = plan(copying("?.customers", "id", "ssn", format=form))
    start = HEADER + struct.pack("!hi", 2, 100_000) if form == "binary" else b'"'
    assert CANARY not in made.mask_data(start + CANARY * 100) + made.mask_data(CANARY * 100 + b'"\n')
    assert made.broken  # type: ignore[attr-defined]
    assert made.finish() == b""


def test_garbage_in_binary_ends_the_output() -> None:
    made = plan(copying("?.customers", "id", "ssn", format="binary"))
    assert made.mask_data(b"not a copy at all, " + CANARY) == b""
    assert made.mask_data(CANARY) == b""


FIELDS = st.lists(
    st.tuples(st.text(max_size=12), st.one_of(st.none(), st.text(max_size=12)), st.text(max_size=8)), max_size=8
)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({place % (len(data) + 1) for place in cuts})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


@given(FIELDS, st.lists(st.integers(0, 500), max_size=12))
def test_csv_in_any_pieces_keeps_all_but_the_masked_field(
    rows: list[tuple[str, str | None, str]], cuts: list[int]
) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([(a, "secret" if b is not None else "", c) for a, b, c in rows])
    wire = out.getvalue().replace('"",', ",").encode(errors="replace")
    made = plan(copying("?.customers", "id", "ssn", "name", format="csv"))
    masked = all_of(made, *cut(wire, cuts))
    before = list(csv.reader(io.StringIO(wire.decode(), newline="")))
    after = list(csv.reader(io.StringIO(masked.decode(), newline="")))
    assert [(a, c) for a, _, c in after] == [(a, c) for a, _, c in before]
    assert all(new == (MARK.decode() if old else "") for (_, new, _), (_, old, _) in zip(after, before, strict=True))


def escaped(text: str) -> bytes:
    table = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\b": "\\b", "\f": "\\f", "\v": "\\v"}
    return "".join(table.get(c, c) for c in text).encode(errors="replace")


@given(FIELDS, st.lists(st.integers(0, 500), max_size=12))
def test_text_in_any_pieces_keeps_all_but_the_masked_field(
    rows: list[tuple[str, str | None, str]], cuts: list[int]
) -> None:
    lines = [(escaped(a), b"\\N" if b is None else escaped(b), escaped(c)) for a, b, c in rows]
    made = plan(copying("?.customers", "id", "ssn", "name"), EVERYTHING)
    wire = b"".join(b"\t".join(line) + b"\n" for line in lines)
    expected = b"".join(b"\t".join((a, b if b == b"\\N" else MARK, c)) + b"\n" for a, b, c in lines)
    assert all_of(made, *cut(wire, cuts)) == expected


@given(
    st.lists(st.tuples(st.binary(max_size=9), st.one_of(st.none(), st.binary(max_size=9))), max_size=8),
    st.lists(st.integers(0, 500), max_size=12),
)
def test_binary_in_any_pieces_keeps_all_but_the_masked_field(
    rows: list[tuple[bytes, bytes | None]], cuts: list[int]
) -> None:
    def wire(masked: bool) -> bytes:
        parts = [HEADER]
        for a, b in rows:
            second = MARK if masked and b is not None else b
            sized = b"\xff" * 4 if second is None else struct.pack("!i", len(second)) + second
            parts.append(struct.pack("!hi", 2, len(a)) + a + sized)
        return b"".join(parts) + b"\xff\xff"

    made = plan(copying("?.customers", "id", "ssn", format="binary"))
    assert all_of(made, *cut(wire(False), cuts)) == wire(True)


@given(st.sampled_from(["text", "csv", "binary"]), st.lists(st.binary(max_size=60), max_size=6))
def test_any_bytes_are_taken_without_an_error(form: str, pieces: list[bytes]) -> None:
    all_of(plan(copying("?.customers", "id", "ssn", format=form), EVERYTHING), *pieces)
