"""Protection spreads from the columns that a mask names to all that show the same values, and does not go away."""

from __future__ import annotations

import msgspec

from data_plane.policy.model import ColumnMask, MaskSpec, Strategy
from data_plane.protocols.postgres.catalog_data import CatalogData, View
from data_plane.protocols.postgres.protection import Protection

from .masking_catalogue import (
    CHILD,
    COUNTS,
    CUSTOMERS,
    ORDERS,
    OTHER,
    VIEW,
    VIEW_OF_VIEW,
    catalogue,
    data,
    masking,
    relation,
)


def protected(loaded: CatalogData, *masks: tuple[str, Strategy]) -> Protection:
    return catalogue(loaded).protection(tuple(ColumnMask(column=column, strategy=how) for column, how in masks))


def test_strategies_go_to_partitions_and_are_redacted_where_something_is_computed() -> None:
    found = protected(data(), ("public.customers.ssn", "partial"))
    assert found.strategy(CUSTOMERS, 2) == "partial"
    assert found.strategy(CHILD, 5) == "partial"
    assert found.strategy(CUSTOMERS, 4) == "redact"
    assert found.strategy(VIEW, 2) == "redact"
    assert found.strategy(VIEW_OF_VIEW, 1) == "redact"


def test_a_partition_that_is_named_protects_its_parent() -> None:
    assert protected(data(), ("public.customers_2024.name", "hash")).strategy(CUSTOMERS, 3) == "hash"


def test_patterns_match_each_part_in_any_case() -> None:
    found = protected(data(), ("*.Orders.*", "redact"))
    assert found.protects(ORDERS)
    assert found.protects(OTHER)
    assert not protected(data(), ("sales.orders.note", "redact")).protects(ORDERS)
    assert protected(data(), ("note", "redact")).protects(OTHER)
    assert not protected(data(), ("public.orders", "redact")).protects(ORDERS)


def test_of_two_masks_of_a_column_the_stricter_holds() -> None:
    masks = (("public.customers.ssn", "hash"), ("public.*.ssn", "null"))
    assert protected(data(), *masks).strategy(CUSTOMERS, 2) == "null"  # type: ignore[arg-type]


def test_without_masks_nothing_is_protected() -> None:
    assert not protected(data())


def test_a_view_that_cannot_be_read_is_protected_whole() -> None:
    views = {VIEW: View("gibberish", frozenset({CUSTOMERS}), calls_users=False)}
    found = protected(data(views=views), ("public.customers.ssn", "redact"))
    assert [found.strategy(VIEW, attnum) for attnum in (1, 2, 3)] == ["redact"] * 3


def test_a_view_that_calls_what_somebody_wrote_is_protected_whole() -> None:
    views = {COUNTS: View("counts;", frozenset({ORDERS}), calls_users=True)}
    assert protected(data(views=views), ("public.customers.ssn", "redact")).strategy(COUNTS, 1) == "redact"


def test_a_column_stays_protected_when_it_is_renamed() -> None:
    known = catalogue()
    masks = (ColumnMask(column="public.customers.ssn"),)
    assert known.protection(masks).strategy(CUSTOMERS, 2) == "redact"
    renamed = relation(CUSTOMERS, "clients", ["id", "harmless", "name", "email"])
    later = data(relations={**data().relations, CUSTOMERS: renamed}, fingerprint="2")
    known.loaded(later, 0)
    assert known.protection(masks).strategy(CUSTOMERS, 2) == "redact"
    assert "harmless" in known.protection(masks).names(CUSTOMERS)
    assert known.protection((ColumnMask(column="public.other.*"),)).strategy(CUSTOMERS, 2) is None


def test_a_column_that_is_renamed_before_anything_was_masked_stays_protected_by_every_mask_that_named_it() -> None:
    masks = (ColumnMask(column="public.customers.ssn"), ColumnMask(column="public.orders.*", strategy="hash"))
    known = catalogue()
    masking(MaskSpec(columns=masks), known)
    for fingerprint, ssn, note in (("2", "harmless", "note"), ("3", "harmless", "harmless")):
        changed = (
            relation(CUSTOMERS, "clients", ["id", ssn, "name", "email"]),
            relation(ORDERS, "orders" if note == "note" else "former", ["id", "total", note]),
        )
        relations = {**data().relations, **{each.oid: each for each in changed}}
        known.loaded(data(relations=relations, fingerprint=fingerprint), 0)
    assert known.protection(masks[:1]).strategy(CUSTOMERS, 2) == "redact"
    assert known.protection(masks).strategy(CHILD, 5) == "redact"
    assert known.protection(masks).strategy(ORDERS, 3) == "hash"
    assert not known.protection(masks[1:]).protects(CUSTOMERS)
    assert not known.protection((ColumnMask(column="public.nothing.*"),)).protects(CUSTOMERS)


def test_what_is_dropped_is_forgotten() -> None:
    known = catalogue()
    masks = (ColumnMask(column="public.customers.ssn"),)
    known.protection(masks)
    known.loaded(msgspec.structs.replace(data(), relations={}, views={}), 0)
    assert not known.protection(masks)
