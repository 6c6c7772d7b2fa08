"""Which columns of a result are masked: every way in which a protected column can come back under another name."""

from __future__ import annotations

import pytest

from data_plane.masking.marks import MARK
from data_plane.policy.in_force import InForce
from data_plane.policy.model import ColumnMask, DetectorMask, MaskSpec
from data_plane.protocols.postgres import columns
from data_plane.protocols.postgres.interface import Statement
from data_plane.protocols.postgres.masking import SessionMasking

from .masking_catalogue import (
    CHILD,
    COUNTS,
    CUSTOMERS,
    ORDERS,
    SSN,
    TEMPORARY,
    VIEW,
    VIEW_OF_VIEW,
    catalogue,
    description,
    masking,
    row,
    statement,
    values,
)

CANARY = b"078-05-1120"
TEXT, INT8, VOID = 25, 20, 2278
CUSTOMERS_ROW = CUSTOMERS + 10_000


def masked(
    *described: tuple[str, int, int, int, int],
    by: Statement | None = None,
    using: SessionMasking | None = None,
    formats: tuple[int, ...] = (),
    value: bytes = CANARY,
) -> list[bool]:
    plan = (using or masking()).result(description(*described), formats, by, ())
    rows = row(*[value] * len(described))
    out = values(plan.mask_rows(rows) if plan else rows)
    return [field != value for field in out[0]]


PLAIN = statement("?.customers", outputs=[["ssn"]], aliases=["customers"])


def computed(by: Statement | None, count: int = 1) -> list[bool]:
    return masked(*[("c", 0, 0, TEXT, 0)] * count, by=by)


def test_a_protected_column_is_masked_under_any_alias() -> None:
    assert masked(("harmless", CUSTOMERS, 2, TEXT, 0), ("id", CUSTOMERS, 1, TEXT, 0), by=PLAIN) == [True, False]


@pytest.mark.parametrize(
    ("table", "attnum", "hidden"),
    [
        (CUSTOMERS, 4, True),  # generated from ssn
        (CHILD, 5, True),  # a partition, where the column has another number
        (CHILD, 2, False),
        (VIEW, 2, True),
        (VIEW, 1, False),  # lineage shows that it is only the id
        (VIEW_OF_VIEW, 1, True),
        (COUNTS, 1, False),
        (TEMPORARY, 1, True),  # nobody knows what was put there
        (99_999, 1, True),  # not known yet
        (CUSTOMERS, 9, True),  # added since
        (CUSTOMERS, 0, True),  # the whole row
        (ORDERS, 0, False),
        (ORDERS, 1, False),
        (12_200, 2, True),  # most_common_vals
    ],
)
def test_what_shows_the_same_values_is_protected_too(table: int, attnum: int, hidden: bool) -> None:
    assert masked(("x", table, attnum, TEXT, 0), by=statement("?.x", outputs=[["x"]])) == [hidden]


def test_a_value_of_a_protected_row_type_is_masked_wherever_it_comes_from() -> None:
    assert masked(("c", 0, 0, CUSTOMERS_ROW, 0), by=statement("?.orders", outputs=[["note"]])) == [True]
    assert masked(("c", ORDERS, 1, CUSTOMERS_ROW, 0), by=PLAIN) == [True]


@pytest.mark.parametrize(
    ("by", "hidden"),
    [
        (None, True),
        (statement("?.customers", outputs=[["ssn", "name"]]), True),  # concatenation
        (statement("?.customers", outputs=[["name"]]), False),
        (statement("?.customers", outputs=[[]]), False),  # count(*)
        (statement("?.customers", outputs=[None]), True),  # a sub-query that cannot be followed
        (statement("?.customers", outputs=[["c"]], aliases=["c"]), True),  # to_json(c)
        (statement("?.customers", outputs=[["y"]], derived=[("x", ["ssn"]), ("y", ["x"])]), True),
        (statement("?.customers", outputs=[["y"]], derived=[("y", ["x"]), ("x", ["ssn"])]), True),
        (statement("?.customers", outputs=[["y"]], derived=[("y", ["id"])]), False),
        (statement("?.customers", outputs=[["id"]], renamed=True), True),
        (statement("?.customers", outputs=None), True),  # *
        (statement("?.customers", outputs=[["id"], ["id"]]), True),  # not the columns that came
        (statement("?.customers", traced=False), True),
        (statement("?.customers", outputs=[["id"]], understood=False), True),
        (statement("?.orders", outputs=[None]), False),  # no protected relation at all
        (statement("public.orders", outputs=None), False),
        (statement(outputs=[[]]), False),  # select 1
        (statement("?.nobody_knows", outputs=[["id"]]), True),
        (statement("?.work", outputs=[["a"]]), True),
        (statement("pg_temp.work", outputs=[["a"]]), True),
        (statement("?.v", outputs=[["b"]]), True),
        (statement("?.v", outputs=[["a"]]), False),
        (statement("?.orders", outputs=[["total"]], functions=["?.lower"]), False),
        (statement("?.orders", outputs=[["total"]], functions=["pg_catalog.lower"]), False),
        (statement(outputs=[[]], functions=["?.reads_customers"]), True),
        (statement(outputs=[[]], functions=["?.unheard_of"]), True),
        (statement(outputs=[[]], functions=["?.query_to_xml"]), True),
    ],
)
def test_a_computed_column_is_masked_unless_it_is_shown_to_be_harmless(by: Statement | None, hidden: bool) -> None:
    assert computed(by) == [hidden]


def test_each_computed_column_is_decided_on_its_own() -> None:
    assert computed(statement("?.customers", outputs=[["ssn"], ["name"], []]), 3) == [True, False, False]


def test_void_is_left_alone() -> None:
    assert masked(("pg_sleep", 0, 0, VOID, 0), by=None, value=b"") == [False]


def test_a_number_becomes_null_in_both_formats() -> None:
    plan = masking().result(description(("ssn", CUSTOMERS, 2, INT8, 0), ("b", CUSTOMERS, 2, INT8, 1)), (), PLAIN, ())
    assert plan is not None
    assert values(plan.mask_rows(row(b"780511200", b"\0\0\0\0\x2e\x85\x5e\x20"))) == [[None, None]]


def test_the_formats_of_the_bind_win_over_those_of_the_description() -> None:
    jsonb = 3802
    described = description(("a", CUSTOMERS, 2, jsonb, 0), ("b", CUSTOMERS, 2, TEXT, 0))
    plan = masking().result(described, (1,), PLAIN, ())
    assert plan is not None
    assert values(plan.mask_rows(row(b"\x01{}", b"x"))) == [[b'\x01"' + MARK + b'"', MARK]]


@pytest.mark.parametrize("cut", [0, 1, 5, 23])
def test_a_description_that_cannot_be_read_withholds_every_value(cut: int) -> None:
    whole = description(("ssn", CUSTOMERS, 2, TEXT, 0))
    plan = masking().result(whole[:cut], (), PLAIN, ())
    assert plan is not None
    assert values(plan.mask_rows(row(CANARY, CANARY))) == [[None, None]]
    with pytest.raises(ValueError, match="RowDescription"):
        columns.decode(whole + b"x", ())
    with pytest.raises(ValueError, match="formats"):
        columns.decode(whole, (0, 1))


def test_a_mask_that_the_snapshot_does_not_have_masks_everything() -> None:
    using = SessionMasking(catalogue(), InForce({}), ("pii",), b"k" * 32)
    assert masked(("id", ORDERS, 1, TEXT, 0), ("n", 0, 0, TEXT, 0), by=PLAIN, using=using) == [True, True]


def test_masks_of_the_operation_are_added_to_those_of_the_session() -> None:
    defined = {"pii": SSN, "names": MaskSpec(columns=(ColumnMask(column="*.customers.name"),))}
    using = SessionMasking(catalogue(), InForce(defined), ("pii",), b"k" * 32)
    described = description(("ssn", CUSTOMERS, 2, TEXT, 0), ("name", CUSTOMERS, 3, TEXT, 0))
    rows = row(CANARY, b"Ada")
    for masks, expected in (((), [MARK, b"Ada"]), (("names",), [MARK, MARK])):
        plan = using.result(described, (), PLAIN, masks)
        assert plan is not None
        assert values(plan.mask_rows(rows)) == [expected]


def test_without_masks_no_result_needs_a_look() -> None:
    using = SessionMasking(catalogue(), InForce({"pii": SSN}), (), b"k" * 32)
    described = description(("ssn", CUSTOMERS, 2, TEXT, 0))
    assert not using.active
    assert using.result(described, (), PLAIN, ()) is None
    assert using.result(described, (), PLAIN, ("pii",)) is not None


def test_a_result_without_protected_columns_needs_no_look() -> None:
    assert masking().result(description(("id", ORDERS, 1, TEXT, 0)), (), statement("?.orders"), ()) is None


def test_plans_are_remembered_until_the_catalogue_or_the_masks_change() -> None:
    known = catalogue()
    in_force = InForce({"pii": SSN})
    using = SessionMasking(known, in_force, ("pii",), b"k" * 32)
    described = description(("ssn", CUSTOMERS, 2, TEXT, 0))
    plan = using.result(described, (), PLAIN, ())
    assert plan is using.result(bytes(bytearray(described)), [], PLAIN, ())
    known.changed(())
    stale = using.result(described, (), PLAIN, ())
    assert stale is not plan
    in_force.masks = {"pii": MaskSpec()}
    assert using.result(described, (), PLAIN, ()) is None


def test_a_result_whose_plan_failed_does_not_get_that_of_the_one_before() -> None:
    class Unreadable(dict[str, MaskSpec]):
        def __contains__(self, _: object) -> bool:
            raise MemoryError

    in_force = InForce({"pii": SSN})
    using = SessionMasking(catalogue(), in_force, ("pii",), b"k" * 32)
    described = description(("id", ORDERS, 1, TEXT, 0))
    assert using.result(described, (), PLAIN, ()) is None
    in_force.masks = Unreadable()
    for _ in range(2):
        with pytest.raises(MemoryError):
            using.result(described, (), PLAIN, ())


def test_while_the_catalogue_is_stale_views_are_masked_whole() -> None:
    known = catalogue()
    using = masking(known=known)
    described = ("a", VIEW, 1, TEXT, 0)
    by = statement("?.v", outputs=[["a"]])
    assert masked(described, by=by, using=using) == [False]
    known.changed(())
    assert masked(described, by=by, using=using) == [True]
    known.loaded(None, known.changes)
    assert masked(described, by=by, using=using) == [False]


def test_detectors_look_into_text_and_leave_numbers() -> None:
    spec = MaskSpec(detectors=(DetectorMask(detect="card"), DetectorMask(detect="ip")))
    using = masking(spec)
    described = [("a", ORDERS, 1, TEXT, 0), ("b", ORDERS, 1, INT8, 0), ("c", 0, 0, TEXT, 0), ("i", ORDERS, 1, 869, 1)]
    assert masked(*described, using=using, value=b"4111111111111111") == [True, False, True, True]
