"""Calls that nobody wrote as calls: what the catalogue knows of names after a dot, and of types."""

from __future__ import annotations

from typing import Any

import pytest

from data_plane.gate.interface import Action, Subject
from data_plane.protocols.postgres.catalog import Catalogue
from data_plane.protocols.postgres.catalog_data import Code
from data_plane.protocols.postgres.interface import SearchPath
from data_plane.protocols.postgres.statements import StatementClassifier

from .masking_catalogue import catalogue, data, relation

PUBLIC = SearchPath(("public",), frozenset())
CLASSIFIER = StatementClassifier()
FIELDS: dict[str, Any] = {
    "user_functions": frozenset({"zap", "name", "total"}),
    "code": Code(
        attribute_functions=frozenset({"zap", "name"}),
        types=frozenset({"mood", "evil"}),
        coded_types=frozenset({"evil"}),
    ),
}


def known(**changed: object) -> Catalogue:
    return catalogue(data(**{**FIELDS, **changed}))


def subject(text: str) -> Subject:
    (statement,) = CLASSIFIER.parse(text.encode()).statements
    return statement.subject


def judged(text: str, names: Catalogue | None = None) -> Subject:
    return (names or known()).resolve(subject(text), PUBLIC)


@pytest.mark.parametrize(
    "text",
    [
        "select (1).zap",
        "select o.zap from orders o",
        "select 1 from orders o where o.zap = 1 order by o.zap",
        "values ((1).zap)",
        "copy (select (1).zap) to stdout",
        "select (id).name from orders",
        "select o.name from orders o, customers c",
        "select (3).evil",
        "select 3::evil",
        "select cast(id as public.evil) from orders",
        "select array[3]::evil[]",
    ],
)
def test_what_runs_code_of_this_database_unseen_is_not_understood(text: str) -> None:
    found = judged(text)
    assert not found.understood
    assert found.action == Action.UNKNOWN
    assert {Action.READ, Action.UNKNOWN} <= found.actions
    assert "not understood" in found.problem


@pytest.mark.parametrize(
    "text",
    [
        "select o.total, o.id from orders o",
        "select c.name from customers c",
        "select o.total from orders o join customers c on c.id = o.id",
        "select orders.nobody_knows from orders",
        "select 'x'::mood",
        "select 3::int4",
    ],
)
def test_ordinary_columns_and_types_stay_as_they_are(text: str) -> None:
    found = judged(text)
    assert found.understood
    assert found.action == Action.READ


def test_the_answer_is_remembered() -> None:
    names, asked = known(), subject("select o.zap from orders o")
    assert names.resolve(asked, PUBLIC) is names.resolve(asked, PUBLIC)


def test_a_temporary_relation_with_such_a_column_does_not_make_it_one() -> None:
    own = relation(90_001, "mine", ["zap"], temporary=True)
    names = known(relations={**data().relations, own.oid: own})
    assert not judged("select (1).zap from mine", names).understood


@pytest.mark.parametrize(
    ("made", "used"),
    [
        ("create function fresh(i int) returns int language sql as 'select 1'", "select (1).fresh"),
        ("create domain fresh as int check (value > 0)", "select 1::fresh"),
        ("create domain fresh as int check (value > 0)", "select (1).fresh"),
    ],
)
def test_what_is_being_made_is_known_before_it_is_committed(made: str, used: str) -> None:
    names = known()
    assert judged(used, names).understood
    judged(made, names)
    assert not judged(used, names).understood
    names.changed()
    names.loaded(data(**FIELDS, fingerprint="2"), names.changes)
    assert not judged(used, names).understood


def test_what_was_only_tried_to_be_made_leaves_known_columns_and_types_alone() -> None:
    names = known()
    judged("create function total(i int) returns int language sql as 'select 1'", names)
    judged("create type mood as enum ('a')", names)
    assert judged("select o.total from orders o join customers c on c.id = o.id", names).understood
    assert judged("select 'a'::mood", names).understood


@pytest.mark.parametrize("maker", ["do $$ begin end $$", "create extension x", "alter function a(int) rename to b"])
def test_after_what_may_make_functions_no_unknown_name_is_trusted_until_the_next_load(maker: str) -> None:
    names = known()
    assert judged("select (1).b", names).understood
    judged(maker, names)
    names.changed()
    assert not judged("select (1).b", names).understood
    assert not judged("select 1::b", names).understood
    assert judged("select o.total from orders o", names).understood
    names.loaded(data(**FIELDS, fingerprint="2"), names.changes)
    assert judged("select (1).b", names).understood


def test_other_changes_do_not_stop_reads_of_what_is_new() -> None:
    names = known()
    judged("create temp table work (a int)", names)
    names.changed()
    assert judged("select w.a from work w", names).understood


def test_before_the_first_load_no_name_is_trusted() -> None:
    assert not judged("select (1).zap", Catalogue(CLASSIFIER, lambda _: None)).understood


def test_schemas_that_may_not_be_used_are_not_searched() -> None:
    names = known(closed_schemas=frozenset({"sales"}))
    path = SearchPath(("sales", "public"), frozenset())
    found = names.resolve(subject("delete from orders"), path)
    assert found.resources[0].candidates == ("public.orders", "sales.orders"), "what may be used can change"
    made = names.resolve(subject("create table fresh (a int)"), path)
    assert made.resources[0].candidates == ("public.fresh",)
    alone = names.resolve(subject("delete from orders"), SearchPath(("sales",), frozenset()))
    assert alone.resources[0].candidates == ("?.orders",)
