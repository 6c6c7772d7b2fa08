"""Names: what a statement's relations are called in full, and that the same question has the same answer object."""

from __future__ import annotations

import msgspec
import pytest

from data_plane.gate.interface import Action, Resource, Subject
from data_plane.protocols.postgres.catalog import Catalogue
from data_plane.protocols.postgres.interface import CASCADE, SearchPath

from .masking_catalogue import VIEWS, catalogue, data, relation

PUBLIC = SearchPath(("public",), frozenset())


def subject(*names: str, verb: str = "SELECT", access: str = "read", kind: str = "relation") -> Subject:
    return Subject(Action.READ, (verb,), tuple(Resource(kind, (name,), (access,)) for name in names), {}, True)


def names(known: Catalogue, asked: Subject, path: SearchPath = PUBLIC) -> list[tuple[str, ...]]:
    return [resource.candidates for resource in known.resolve(asked, path).resources]


def test_a_name_is_found_along_the_search_path() -> None:
    known = catalogue()
    both = SearchPath(("sales", "public"), frozenset())
    assert names(known, subject("?.orders", "sales.orders", "?.customers")) == [
        ("public.orders",),
        ("sales.orders",),
        ("public.customers",),
    ]
    assert names(known, subject("?.orders", "?.customers"), both) == [("sales.orders",), ("public.customers",)]


def test_the_system_catalogue_comes_first_unless_the_path_says_otherwise() -> None:
    loaded = data()
    mine = {**loaded.relations, 77: type(loaded.relations[1259])(77, "public", "pg_class", "r", False, ())}
    known = catalogue(data(relations=mine))
    assert names(known, subject("?.pg_class")) == [("pg_catalog.pg_class",)]
    last = SearchPath(("public", "pg_catalog"), frozenset())
    assert names(known, subject("?.pg_class"), last) == [("public.pg_class",)]


def test_the_name_of_a_temporary_relation_means_also_what_it_hides() -> None:
    """It may have gone: who drops it, or lets it go with its transaction, need not say so."""
    path = SearchPath(("public",), frozenset({"orders", "work", "fresh"}))
    asked = subject("?.orders", "?.work", "sales.orders")
    assert names(catalogue(), asked, path) == [
        ("pg_temp.orders", "public.orders"),
        ("pg_temp.work",),
        ("sales.orders",),
    ]


def test_the_name_of_a_temporary_relation_means_all_that_have_it_on_the_path() -> None:
    """Dropping the first of them is taken for dropping the temporary one."""
    path = SearchPath(("sales", "public"), frozenset({"orders"}))
    assert names(catalogue(), subject("?.orders"), path) == [("pg_temp.orders", "sales.orders", "public.orders")]


def test_a_temporary_relation_that_is_made_is_not_one_of_the_path() -> None:
    known = catalogue()
    made = subject("?.work", "?.orders", verb="CREATE TABLE", access="ddl")
    made = msgspec.structs.replace(made, facts={"temporary": True})
    assert names(known, made) == [("pg_temp.work",), ("pg_temp.orders", "public.orders")]
    assert names(known, subject("?.work")) == [("?.work",)]


def test_the_users_own_schema_is_the_agents() -> None:
    own = SearchPath(('"$user"', "public"), frozenset())
    assert names(catalogue(), subject("?.new", verb="CREATE TABLE", access="ddl"), own) == [("app.new",)]


def test_what_is_not_known_stays_open_and_is_asked_for() -> None:
    asked: list[bool] = []
    known = Catalogue(VIEWS, asked.append)
    known.loaded(data(), 0)
    unknown = subject("?.nobody")
    assert names(known, unknown) == [("?.nobody",)]
    assert names(known, unknown) == [("?.nobody",)]
    assert asked == [False, False]


def test_functions_and_written_schemas_are_left_as_they_are() -> None:
    asked = subject("?.orders", kind="function")
    assert catalogue().resolve(asked, PUBLIC) is asked
    written = subject("elsewhere.orders")
    assert catalogue().resolve(written, PUBLIC) is written


def test_the_same_question_has_the_same_answer_until_the_catalogue_changes() -> None:
    known = catalogue()
    asked = subject("?.orders")
    first = known.resolve(asked, PUBLIC)
    assert known.resolve(asked, SearchPath(("public",), frozenset())) is first
    known.loaded(None, known.changes)
    assert known.resolve(asked, PUBLIC) is first
    known.loaded(data(fingerprint="2"), known.changes)
    assert known.resolve(asked, PUBLIC).resources == first.resources


def test_what_is_being_made_has_its_name_before_the_next_load() -> None:
    known = catalogue()
    assert names(known, subject("?.fresh", verb="CREATE TABLE", access="ddl")) == [("public.fresh",)]
    known.changed(())
    assert names(known, subject("?.fresh")) == [("public.fresh",)]
    assert names(known, subject("?.fresh"), SearchPath(("sales",), frozenset())) == [("?.fresh",)]
    known.loaded(data(fingerprint="2"), known.changes)  # its transaction has not committed yet
    assert names(known, subject("?.fresh")) == [("public.fresh",)]
    both = SearchPath(("sales", "public"), frozenset())
    elsewhere = {**known.data.relations, 78: relation(78, "fresh", ["a"], schema="sales")}
    known.loaded(data(fingerprint="3", relations=elsewhere), known.changes)
    assert names(known, subject("?.fresh"), both) == [("sales.fresh",)]


def test_a_table_made_where_another_path_has_one_of_its_name_may_be_either() -> None:
    both = SearchPath(("sales", "public"), frozenset())
    assert names(catalogue(), subject("?.customers", verb="CREATE TABLE", access="ddl"), both) == [
        ("sales.customers", "public.customers")
    ]


def test_for_an_account_of_a_sessions_own_every_schema_of_the_path_may_be_the_one() -> None:
    """It may lack USAGE on a schema that the agent's account may use, and the other way round."""
    elsewhere = {**data().relations, 78: relation(78, "orders", ["a"], schema="sales")}
    for closed in ((), ("sales",), ("public",), ("sales", "public")):
        known = catalogue(data(relations=elsewhere, closed_schemas=frozenset(closed)))
        path = SearchPath(("gw_a", "sales", "public"), frozenset(), personal=True)
        assert names(known, subject("?.orders"), path) == [("sales.orders", "public.orders")]
        assert names(known, subject("?.customers", "?.pg_class"), path) == [
            ("public.customers",),
            ("pg_catalog.pg_class",),
        ]
        assert names(known, subject("?.nobody"), path) == [("?.nobody",)]


def test_what_an_account_of_a_sessions_own_makes_may_be_in_any_schema_of_the_path() -> None:
    known = catalogue(data(closed_schemas=frozenset({"public"})))
    one, both = (SearchPath(("gw_a", *more, "public"), frozenset(), personal=True) for more in ((), ("sales",)))
    made = subject("?.fresh", verb="CREATE TABLE", access="ddl")
    assert names(known, made, both) == [("sales.fresh", "public.fresh")]
    assert names(known, subject("?.fresh"), both) == [("?.fresh",)]
    assert names(known, made, one) == [("public.fresh",)]
    assert names(known, subject("?.fresh"), one) == [("public.fresh",)]


def test_a_load_that_began_before_a_change_leaves_it_stale() -> None:
    known = catalogue()
    begun = known.changes
    known.changed(())
    known.loaded(data(fingerprint="2"), begun)
    assert known.stale
    known.loaded(None, known.changes)
    assert not known.stale


def test_a_name_that_was_altered_may_be_in_any_schema_of_the_path_until_a_load_that_began_afterwards() -> None:
    both = SearchPath(("sales", "nowhere", "public"), frozenset())
    known, asked, other = catalogue(), subject("?.orders"), subject("?.customers", "sales.orders", "?.pg_class")
    untouched = known.resolve(other, both)
    assert names(known, asked, both) == [("sales.orders",)]
    begun = known.changes
    known.changed((), names=frozenset({"orders"}))
    for _ in range(2):
        assert names(known, asked, both) == [("sales.orders", "public.orders")]
        assert names(known, asked, SearchPath(both.schemas, frozenset(), personal=True)) == [
            ("sales.orders", "public.orders")
        ]
        assert names(known, asked) == [("public.orders",)]
        assert known.resolve(other, both).resources == untouched.resources
        known.loaded(data(fingerprint="2"), begun)
    known.loaded(None, known.changes)
    assert names(known, asked, both) == [("sales.orders",)]


def test_where_any_name_was_altered_all_may_be_in_any_schema_but_those_of_the_server() -> None:
    both = SearchPath(("sales", "fresh", "public"), frozenset())
    known = catalogue()
    known.changed((), names=frozenset({"*"}))
    asked = subject("?.customers", "?.pg_class", "sales.orders")
    assert names(known, asked, both) == [
        ("sales.customers", "public.customers"),
        ("pg_catalog.pg_class",),
        ("sales.orders",),
    ]
    made = Subject(
        Action.DDL, ("CREATE",), (Resource("schema", ("fresh",), ("ddl",)),), {"object": "schema"}, True,
        actions=frozenset({Action.DDL}),
    )  # fmt: skip
    known.changed((made,))
    assert names(known, asked, both)[0] == ("sales.customers", "fresh.customers", "public.customers")
    known.loaded(None, known.changes)
    assert names(known, asked, both)[0] == ("public.customers",)


def test_a_change_that_alters_no_name_leaves_all_as_they_are() -> None:
    both = SearchPath(("sales", "public"), frozenset())
    known, asked = catalogue(), subject("?.orders", "?.customers")
    before = known.resolve(asked, both)
    known.changed(())
    assert known.resolve(asked, both).resources == before.resources
    first = known.resolve(asked, both)
    known.changed(())
    assert known.resolve(asked, both) is first


# ---------------------------------------------------------------- what its own transaction changed, and what goes along


def test_a_definition_of_a_name_that_the_transaction_changed_is_one_of_all_that_it_may_be() -> None:
    altered = SearchPath(("sales", "public"), frozenset(), frozenset({"orders"}))
    asked = subject("?.orders", verb="DROP", access="ddl")
    asked = msgspec.structs.replace(asked, action=Action.DDL, actions=frozenset({Action.DDL}))
    assert names(catalogue(), asked, altered) == [("sales.orders", "public.orders")]
    made = msgspec.structs.replace(asked, verbs=("CREATE",), facts={"object": "rule"})
    assert names(catalogue(), made, altered) == [("sales.orders", "public.orders")]


def test_partitions_and_heirs_are_altered_with_their_parents() -> None:
    both = SearchPath(("sales", "public"), frozenset())
    heirs = {**data().relations, 78: relation(78, "a", ["id"], schema="sales"), 79: relation(79, "b", ["id"])}
    known = catalogue(data(relations=heirs, inherits=((20_001, 78), (78, 79))))
    known.changed((), names=frozenset({"customers"}))
    assert names(known, subject("?.a", "?.b", "?.orders"), both) == [
        ("sales.a", "public.a"),
        ("sales.b", "public.b"),
        ("sales.orders",),
    ]
    inside = SearchPath(both.schemas, frozenset(), frozenset({"customers"}))
    assert not catalogue(known.data).resolve(subject("?.b"), inside).understood


def test_what_depends_on_something_may_go_with_it() -> None:
    inside = SearchPath(("public",), frozenset(), frozenset({"x", CASCADE}))
    known = catalogue()
    assert not known.resolve(subject("?.vv"), inside).understood
    assert known.resolve(subject("?.orders"), inside).understood


# ---------------------------------------------------------------- for how long, and how much


def test_a_name_is_known_again_though_changes_go_on() -> None:
    known, both = catalogue(), SearchPath(("sales", "public"), frozenset())
    known.changed((), names=frozenset({"orders"}))
    begun = known.changes
    known.changed((), names=frozenset({"customers"}))
    known.loaded(None, begun)
    assert known.stale
    assert known.doubtful
    assert names(known, subject("?.orders", "?.customers"), both) == [
        ("sales.orders",),
        ("sales.customers", "public.customers"),
    ]
    begun = known.changes
    known.changed(())
    known.loaded(None, begun)
    assert known.stale
    assert not known.doubtful


def test_what_names_nothing_known_is_not_kept_for_ever() -> None:
    known = catalogue()
    for _ in range(30_000):
        known.resolve(subject("?.nobody"), PUBLIC)
    assert len(known._open) <= 20_000


def test_what_another_transaction_is_altering_may_be_in_any_schema_of_the_path_whatever_is_loaded() -> None:
    known, both, session = catalogue(), SearchPath(("sales", "public"), frozenset()), object()
    asked = subject("?.orders")
    assert names(known, asked, both) == [("sales.orders",)]
    known.altering(session, frozenset({"orders"}))
    known.loaded(None, known.changes)
    assert names(known, asked, both) == [("sales.orders", "public.orders")]
    known.altering(session, frozenset())
    assert names(known, asked, both) == [("sales.orders",)]


@pytest.mark.parametrize(
    ("name", "unsure"), [("public.customers", False), ("public.v", True), ("public.nothing", True), ("?.orders", True)]
)
def test_a_load_tells_more_of_what_is_not_known_and_of_views(name: str, unsure: bool) -> None:
    known = catalogue()
    assert not known.unsure([subject(name)])
    known.changed(())
    assert known.unsure([subject(name)]) is unsure
    known.changed((), names=frozenset({"x"}))
    assert known.unsure([subject(name)])
