"""Calls that nobody wrote as calls: what the catalogue knows of names after a dot, and of types."""

from __future__ import annotations

from typing import Any

import pytest

from data_plane.gate.interface import Action, Resource, Subject
from data_plane.protocols.postgres.catalog import Catalogue
from data_plane.protocols.postgres.catalog_data import Code
from data_plane.protocols.postgres.catalog_views import REMEMBERED
from data_plane.protocols.postgres.interface import FORGOTTEN, SearchPath
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
    names, inside = known(), SearchPath(("public",), frozenset(), frozenset({"fresh"}))
    assert judged(used, names).understood
    judged(made, names)
    assert not names.resolve(subject(used), inside).understood
    names.changed((subject(made),))
    assert not judged(used, names).understood
    names.loaded(data(**FIELDS, fingerprint="2"), names.changes)
    assert not names.resolve(subject(used), inside).understood


def test_what_was_only_tried_to_be_made_stops_nobody() -> None:
    names = known()
    asked = "select s.fresh from (select sum(id) as fresh from orders) s"
    judged("create function fresh() returns int language sql as 'select 1'", names)
    assert judged(asked, names).understood
    names.changed((subject("create function fresh() returns int language sql as 'select 1'"),))
    assert not judged(asked, names).understood
    names.loaded(data(**FIELDS, fingerprint="2"), names.changes)
    assert judged(asked, names).understood


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
    names.changed(())
    assert not judged("select (1).b", names).understood
    assert not judged("select 1::b", names).understood
    assert judged("select o.total from orders o", names).understood
    names.loaded(data(**FIELDS, fingerprint="2"), names.changes)
    assert judged("select (1).b", names).understood


@pytest.mark.parametrize("maker", ["do $$ begin end $$", "create function sqrt(t text) returns int language sql as ''"])
def test_what_is_made_again_by_the_same_statement_is_noted_again(maker: str) -> None:
    names, asked = known(), subject(maker)
    for _ in range(3):
        names.loaded(None, names.changes)
        names.resolve(asked, PUBLIC)
    names.changed(())
    assert not judged("select (1).b", names).understood


def test_while_too_many_functions_are_made_to_remember_any_name_may_be_one_until_the_next_load() -> None:
    names = known()
    for number in range(REMEMBERED + 1):
        resources = (Resource("function", (f"?.tried_{number}",), ("ddl",)),)
        made = Subject(
            Action.DDL, ("CREATE",), resources, {"object": "function"}, understood=True, actions=frozenset({Action.DDL})
        )
        names.resolve(made, PUBLIC)
    assert judged("select (1).fresh", names).understood
    names.changed((made,))
    assert not judged("select (1).fresh", names).understood
    assert not judged("select sqrt(2)", names).understood
    names.loaded(None, names.changes)
    assert judged("select (1).fresh", names).understood
    assert judged("select sqrt(2)", names).understood


def test_other_changes_do_not_stop_reads_of_what_is_new() -> None:
    names = known()
    judged("create temp table work (a int)", names)
    names.changed(())
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


OVERLOADED = Code(
    functions={"lower": frozenset({"public"}), "upper": frozenset({"sales"})},
    hidden_functions={"abs": frozenset({"public"})},
    operators={"+": frozenset({"public"}), "=": frozenset({"public"})},
    coded_values=frozenset({777}),
    casts_from=frozenset({888}),
    casts_unseen=frozenset({999}),
)


@pytest.mark.parametrize(
    "text",
    [
        "select lower('x')",
        "select 1 + 1",
        "select 1 from orders natural join customers",
        "select case id when 1 then 2 end from orders",
        "select nullif(id, 1) from orders",
        "select id in (select 1) from orders",
    ],
)
def test_a_name_of_the_servers_own_that_users_gave_others_is_not_understood(text: str) -> None:
    assert judged(text).understood
    assert not judged(text, known(code=OVERLOADED)).understood


def test_only_schemas_of_the_path_and_what_pg_catalog_does_not_hide_count() -> None:
    names = known(code=OVERLOADED)
    for text in ("select upper('x')", "select pg_catalog.lower('x')", "select abs(1)", "select 3 - 1"):
        assert judged(text, names).understood
    assert not names.resolve(subject("select upper('x')"), SearchPath(("sales",), frozenset())).understood
    assert not names.resolve(subject("select upper('x')"), SearchPath((), frozenset())).understood
    assert not names.resolve(subject("select abs(1)"), SearchPath(("public", "pg_catalog"), frozenset())).understood


@pytest.mark.parametrize("text", ["select set_config('a.b', 'c', 'false')", "select set_config('a.b', 'c', false)"])
def test_setting_a_parameter_by_a_call_is_a_call_too(text: str) -> None:
    assert judged(text).understood
    assert judged(text, known(code=OVERLOADED)).understood
    assert not judged(text, known(code=Code(functions={"set_config": frozenset({"public"})}))).understood


@pytest.mark.parametrize("text", ["select x.zap from generate_series(1, 2) x", "select (1).zap from z"])
def test_behind_what_is_no_relation_a_column_of_another_does_not_help(text: str) -> None:
    own = relation(90_002, "z", ["zap"])
    names = known(relations={**data().relations, own.oid: own})
    assert judged("select z.zap from z", names).understood
    assert not judged(text, names).understood


def test_relations_with_values_that_code_casts_are_not_read_where_it_may_run() -> None:
    own = relation(90_003, "z", ["a"])
    for code, text in (
        (Code(casts_from=frozenset({25})), "select a::int from z"),
        (Code(casts_unseen=frozenset({25})), "select a from z"),
        (Code(coded_values=frozenset({25})), "select json_populate_record(z, '{}') from z"),
    ):
        names = known(relations={**data().relations, own.oid: own}, code=code)
        assert not judged(text, names).understood
        assert judged("select 1", names).understood
        assert names.runs_code([25])
    assert judged("select a from z", known(relations={own.oid: own}, code=Code(casts_from=frozenset({25})))).understood


def test_making_json_of_a_relation_casts_its_values() -> None:
    own = relation(90_003, "z", ["a"])
    names = known(relations={**data().relations, own.oid: own}, code=Code(casts_to_json=frozenset({25})))
    for text in (
        "select jsonb_agg(z) from z",
        "select json_array(a) from z",
        "select 1 from z where to_json(z) is null",
    ):
        assert not judged(text, names).understood
    assert judged("select upper(a) from z", names).understood


def test_a_value_that_is_written_may_be_cast_by_code_too() -> None:
    names = known(code=Code(types=frozenset({"mood"}), casting_types=frozenset({"mood"})))
    assert not judged("select 'x'::mood::json", names).understood
    assert not judged("select to_json('x'::public.mood)", names).understood
    assert not judged("create temp table t as select 'x'::mood::json", names).understood
    assert judged("select 'x'::text::json", names).understood
    assert judged("create table t (a mood)", names).understood


def test_a_write_to_a_view_is_one_to_what_it_reads() -> None:
    found = judged("delete from v where a = 1")
    assert [each.candidates for each in found.resources] == [("public.v",), ("public.customers",)]
    own = SearchPath(("public",), frozenset({"w"}), views=frozenset({"w"}))
    assert not known().resolve(subject("delete from pg_temp.w"), own).understood
    assert known().resolve(subject("select * from w"), own).understood


def test_what_its_own_transaction_changed_is_not_understood() -> None:
    names, altered = known(), SearchPath(("public",), frozenset(), frozenset({"orders"}))
    assert not names.resolve(subject("select * from orders"), altered).understood
    assert names.resolve(subject("select * from customers"), altered).understood
    assert names.resolve(subject("alter table orders add a int"), altered).understood
    anything = SearchPath(("public",), frozenset(), frozenset("*"))
    assert not names.resolve(subject("delete from customers"), anything).understood


def test_where_it_is_not_told_what_was_made_any_name_may_be_new() -> None:
    names = known()
    names.changed((), names=frozenset({"*", FORGOTTEN}))
    assert not judged("select sqrt(2)", names).understood
    assert not judged("delete from public.fresh", names).understood
    names.loaded(data(**FIELDS, fingerprint="2"), names.changes)
    assert judged("select sqrt(2)", names).understood


@pytest.mark.parametrize(("temporary", "understood"), [(frozenset(), True), (frozenset({"pg_settings"}), False)])
def test_parameters_are_set_by_the_servers_own_rows_only(temporary: frozenset[str], understood: bool) -> None:
    names = known(relations={7: relation(7, "pg_settings", ["name"], schema="pg_catalog")})
    setting = subject("select set_config(name, 'off', false) from pg_settings where name = 'jit'")
    assert names.resolve(setting, SearchPath(("public",), temporary)).understood is understood


def test_only_what_is_called_like_a_built_in_is_said_to_be() -> None:
    code = Code(functions={name: frozenset({"public"}) for name in ("touch", "lower")})
    problems = [
        judged(f"create table t (a text default {name}('x'))", known(code=code)).problem for name in code.functions
    ]
    assert "what touch(), a function of this database, does is not known" in problems[0]
    assert "called like a built-in one" in problems[1]
