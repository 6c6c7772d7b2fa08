"""Rows: as many come out as went in, whole, and nothing of a masked field with them."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_plane.masking.detectors import DETECTORS, Detectors
from data_plane.masking.marks import MARK, Marks
from data_plane.masking.strategies import Replacement
from data_plane.policy.model import DetectorMask
from data_plane.protocols.postgres import cells
from data_plane.protocols.postgres.column_masks import ColumnMasks, withheld
from data_plane.protocols.postgres.rows import BothMasks, DetectorMasks, Scanned, WithheldRows

from .masking_catalogue import row, values

KEYED = Marks(b"k" * 32)
CANARY = b"canary-078-05-1120"
JSON, JSONB, TEXT = 114, 3802, 25


def looking(*columns: Scanned, fields: int = 3) -> DetectorMasks:
    return DetectorMasks(fields, columns, Detectors([DetectorMask(detect=name) for name in DETECTORS], KEYED))


def text(index: int) -> Scanned:
    return Scanned(index, TEXT, 0, MARK)


def test_a_masked_column_is_replaced_and_its_neighbours_are_not() -> None:
    rows = row(b"1", CANARY, b"x") + row(b"2", None, b"") + row(b"", b"", None)
    assert values(ColumnMasks(3, {1: MARK}).mask_rows(rows)) == [
        [b"1", MARK, b"x"],
        [b"2", None, b""],
        [b"", MARK, None],
    ]


def test_null_hides_whether_there_was_a_value() -> None:
    rows = row(CANARY) + row(None)
    assert values(ColumnMasks(1, {0: None}).mask_rows(rows)) == [[None], [None]]


def test_a_function_sees_the_value_and_nothing_else() -> None:
    masked = values(ColumnMasks(3, {0: KEYED.hashed, 2: MARK}).mask_rows(row(b"a", b"b", b"c") + row(b"a", None, b"")))
    assert masked == [[KEYED.hashed(b"a"), b"b", MARK], [KEYED.hashed(b"a"), None, MARK]]


def test_no_rows_are_no_rows() -> None:
    assert ColumnMasks(3, {1: MARK}).mask_rows(b"") == b""
    assert looking(text(0)).mask_rows(b"") == b""
    assert WithheldRows().mask_rows(b"") == b""


@pytest.mark.parametrize(
    "bad",
    [
        row(b"1", CANARY),
        row(b"1", CANARY, b"x", b"y"),
        row(b"1", CANARY, b"x").replace(struct.pack("!I", len(CANARY)), struct.pack("!I", 4000)),
        row(b"1", CANARY, b"x")[:-1].replace(struct.pack("!I", len(row(b"1", CANARY, b"x")) - 1), b"\0\0\0\x20"),
    ],
)
def test_a_row_that_contradicts_itself_becomes_a_row_of_nulls(bad: bytes) -> None:
    good = row(b"1", b"secret", b"x")
    for plan in (ColumnMasks(3, {1: MARK}), ColumnMasks(3, {2: None, 1: MARK})):
        out = values(plan.mask_rows(bad))
        assert all(fields == [None] * 3 for fields in out)
        assert CANARY not in plan.mask_rows(bad + good)


def test_a_field_that_runs_into_the_next_row_takes_nothing_of_it() -> None:
    reaching = row(b"1", b"x" * 20, b"x").replace(struct.pack("!I", 20), struct.pack("!I", 60))
    following = row(b"2", b"y" * 100, b"z")
    for plan in (ColumnMasks(3, {1: MARK}), ColumnMasks(3, {2: MARK}), ColumnMasks(3, {0: None, 2: MARK})):
        out = values(plan.mask_rows(reaching + following))
        assert out[0] == [None] * 3
        assert len(out) == 2
        assert out[1][1] in (MARK, b"y" * 100)


def test_a_batch_in_which_nothing_is_found_is_the_same_object() -> None:
    rows = row(b"1", b"nothing to see", b"x") * 100
    assert looking(text(0), text(1), text(2)).mask_rows(rows) is rows


def test_what_a_detector_finds_is_replaced_in_its_text_only() -> None:
    rows = row(b"1", b"dull", b"x") * 3 + row(b"2", b"to bob@example.com now", None) + row(b"3", b"dull", b"y") * 3
    out = values(looking(text(0), text(1), text(2)).mask_rows(rows))
    assert out[3] == [b"2", b"to " + MARK + b" now", None]
    assert out[:3] == [[b"1", b"dull", b"x"]] * 3
    assert out[4:] == [[b"3", b"dull", b"y"]] * 3


def test_only_columns_that_hold_text_are_looked_into() -> None:
    rows = row(b"4111111111111111", b"4111111111111111", b"x")
    assert values(looking(text(1)).mask_rows(rows)) == [[b"4111111111111111", MARK, b"x"]]


def test_json_stays_json() -> None:
    whole = cells.replacement(JSON, 0, "redact", KEYED)
    plan = looking(Scanned(0, JSON, 0, whole), Scanned(1, JSONB, 1, b"\x01" + b'"' + MARK + b'"'), fields=2)
    inside = json.dumps({"mail": "bob@example.com", "n": 1}).encode()
    bare = b'{"card": 4111111111111111}'
    out = values(plan.mask_rows(row(inside, b"\x01" + inside) + row(bare, b"\x01" + bare)))
    assert json.loads(out[0][0] or b"") == {"mail": MARK.decode(), "n": 1}
    assert json.loads((out[0][1] or b"")[1:]) == {"mail": MARK.decode(), "n": 1}
    assert json.loads(out[1][0] or b"") == MARK.decode()
    assert json.loads((out[1][1] or b"")[1:]) == MARK.decode()


def test_a_binary_value_that_cannot_be_cut_is_replaced_whole() -> None:
    array = cells.replacement(1009, 1, "redact", KEYED)
    plan = looking(Scanned(0, 1009, 1, array), Scanned(1, 50_000, 1, None), fields=2)
    held = struct.pack("!iiIiii", 1, 0, 25, 1, 1, 15) + b"bob@example.com"
    assert values(plan.mask_rows(row(held, held))) == [[array, None]]


def test_columns_are_masked_before_detectors_look() -> None:
    plan = BothMasks(ColumnMasks(2, {0: MARK}), looking(text(1), fields=2))
    assert values(plan.mask_rows(row(b"bob@example.com", b"4111111111111111"))) == [[MARK, MARK]]


def test_rows_without_a_description_lose_all_their_values() -> None:
    rows = row(CANARY, b"1") + row(CANARY)
    assert values(WithheldRows().mask_rows(rows)) == [[None, None], [None]]
    assert values(withheld(rows, 2)) == [[None, None], [None, None]]


FIELD = st.one_of(
    st.none(), st.binary(max_size=60), st.sampled_from([b"4111111111111111", b"a@b.io", b"", b"D\0\0\0\7"])
)
ROWS = st.integers(1, 5).flatmap(lambda count: st.lists(st.lists(FIELD, min_size=count, max_size=count), max_size=20))


@given(ROWS, st.data())
def test_whatever_the_rows_framing_and_number_stay(rows: list[list[bytes | None]], data: st.DataObject) -> None:
    count = len(rows[0]) if rows else 1
    chosen = data.draw(st.sets(st.integers(0, count - 1), min_size=1))
    replacements: dict[int, Replacement] = {
        index: data.draw(st.sampled_from([MARK, None, KEYED.hashed])) for index in chosen
    }
    wire = b"".join(row(*fields) for fields in rows)
    out = values(ColumnMasks(count, replacements).mask_rows(wire))
    assert len(out) == len(rows)
    for before, after in zip(rows, out, strict=True):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            if index not in chosen:
                assert new == old
            else:
                assert new is None if old is None else new != old or old == MARK
    looked = looking(*(text(index) for index in range(count)), fields=count).mask_rows(wire)
    assert [len(fields) for fields in values(looked)] == [count] * len(rows)
    assert b"4111111111111111" not in looked


@given(st.lists(st.tuples(st.binary(max_size=80), st.integers(0, 3)), max_size=8))
def test_a_hostile_target_gets_no_canary_through_and_raises_nothing(bodies: list[tuple[bytes, int]]) -> None:
    """Whole messages whose insides are anything, with a protected value where the field should be."""
    wire = b""
    for body, count in bodies:
        inside = struct.pack("!H", count) + struct.pack("!I", len(CANARY)) + CANARY + body
        wire += b"D" + struct.pack("!I", 4 + len(inside)) + inside
    for plan in (
        ColumnMasks(1, {0: MARK}),
        ColumnMasks(2, {0: None, 1: MARK}),
        BothMasks(ColumnMasks(1, {0: MARK}), looking(text(0), fields=1)),
    ):
        out = plan.mask_rows(wire)
        assert CANARY not in out
        assert count_of(out) == len(bodies)


def count_of(rows: bytes) -> int:
    count, at = 0, 0
    while at < len(rows):
        at += 1 + struct.unpack_from("!I", rows, at + 1)[0]
        count += 1
    assert at == len(rows)
    return count


@given(st.binary(max_size=200))
def test_bytes_that_are_no_rows_raise_nothing(data: bytes) -> None:
    for plan in (ColumnMasks(2, {0: MARK}), looking(text(0)), WithheldRows()):
        plan.mask_rows(data)
