"""Writes through views that are made, renamed or replaced: not understood until the catalogue has them as they are."""

from __future__ import annotations

import pytest

from data_plane.gate.interface import Action, Resource, Subject
from data_plane.protocols.postgres.catalog import Catalogue
from data_plane.protocols.postgres.catalog_views import REMEMBERED
from data_plane.protocols.postgres.interface import ChangesNames, SearchPath, Statement
from data_plane.protocols.postgres.statements import StatementClassifier

from .masking_catalogue import catalogue, data

PUBLIC = SearchPath(("public",), frozenset())
CLASSIFIER = StatementClassifier()


def parsed(text: str) -> Statement:
    (statement,) = CLASSIFIER.parse(text.encode()).statements
    return statement


def judged(text: str, names: Catalogue) -> Subject:
    return names.resolve(parsed(text).subject, PUBLIC)


def run(text: str, names: Catalogue) -> None:
    """As the session does: judged, done, committed."""
    statement = parsed(text)
    judged(text, names)
    altered = [effect.names for effect in statement.effects if isinstance(effect, ChangesNames)]
    names.changed((statement.subject,), names=frozenset().union(*altered))


@pytest.mark.parametrize(
    ("changes", "write"),
    [
        (("create view sales.w as select * from orders",), "delete from sales.w"),
        (("drop table sales.orders", "create view sales.orders as select 1"), "delete from sales.orders"),
        (("alter view v rename to fresh",), "delete from fresh"),
        (("alter table v rename to fresh",), "delete from public.fresh"),
        (("alter table v rename to w", "alter table w rename to fresh"), "update fresh set a = 1"),
        (("drop table orders", "alter table v rename to orders"), "delete from orders"),
        (("create or replace view v as select * from orders",), "delete from v"),
        (("create or replace view v as select * from orders",), "delete from vv"),
        (("alter view v rename to w", "alter view w set schema sales"), "delete from sales.w"),
        (("create schema fresh create view w as select * from public.orders", "drop view v"), "delete from v"),
    ],
)
def test_a_write_to_what_may_be_a_view_by_now_is_not_understood(changes: tuple[str, ...], write: str) -> None:
    names = catalogue()
    judged(write, names)
    for change in changes:
        run(change, names)
    assert not judged(write, names).understood


def test_a_write_to_a_view_of_a_renamed_schema_counts_as_one_to_all_that_it_may_be() -> None:
    names = catalogue()
    run("alter schema sales rename to former", names)
    found = judged("delete from former.vv", names)
    assert {name for each in found.resources for name in each.candidates} >= {"public.v", "public.customers"}


@pytest.mark.parametrize(
    ("changes", "write"),
    [
        (("drop table orders", "create table orders (id int)"), "insert into orders values (1)"),
        (("alter table orders rename to former", "create table orders (id int)"), "delete from orders"),
        (("alter table orders drop column total",), "delete from orders"),
        (("create schema fresh",), "delete from orders"),
        (("create view w as select 1",), "delete from orders"),
    ],
)
def test_a_write_to_what_is_no_view_stays_understood(changes: tuple[str, ...], write: str) -> None:
    names = catalogue()
    for change in changes:
        run(change, names)
    assert judged(write, names).understood


def test_while_too_many_views_are_made_to_remember_any_name_may_be_one_until_the_next_load() -> None:
    asked: list[bool] = []
    names = Catalogue(CLASSIFIER, asked.append)
    names.loaded(data(), 0)
    for number in range(REMEMBERED):
        names.resolve(view(f"tried_{number}"), PUBLIC)
    assert judged("delete from sales.fresh", names).understood
    assert not asked

    made = view("fresh")
    names.resolve(made, PUBLIC)
    assert asked == [True]
    names.changed((made,))
    assert not judged("delete from sales.fresh", names).understood
    assert judged("delete from orders", names).understood

    names.loaded(None, names.changes)  # it began before the view was there
    assert judged("delete from sales.fresh", names).understood
    names.changed((made,), names=frozenset({"fresh"}))
    assert not judged("delete from sales.fresh", names).understood


def view(name: str) -> Subject:
    resources = (Resource("relation", (f"sales.{name}",), ("ddl",)),)
    return Subject(
        Action.DDL, ("CREATE",), resources, {"object": "view"}, understood=True, actions=frozenset({Action.DDL})
    )


def test_a_view_that_has_been_loaded_is_written_again() -> None:
    names = catalogue()
    run("create or replace view v as select * from orders", names)
    names.loaded(data(fingerprint="2"), names.changes)
    assert judged("delete from v", names).understood


@pytest.mark.parametrize(
    "made", ["create temp view w as select * from orders", "create view w as select * from orders"]
)
def test_a_view_that_its_session_made_and_no_catalogue_has_is_not_forgotten(made: str) -> None:
    """One that reads a temporary relation is temporary without saying so."""
    names, temporary = catalogue(), frozenset({"w"} if "temp" in made else ())
    path = SearchPath(("public",), temporary, views=frozenset({"w"}))
    run(made, names)
    for number in range(REMEMBERED + 1):
        names.resolve(view(f"tried_{number}"), PUBLIC)
    names.loaded(None, names.changes)
    assert not names.resolve(parsed("delete from w").subject, path).understood
    assert names.resolve(parsed("delete from orders").subject, path).understood


def test_a_view_that_another_client_only_tried_to_make_stops_no_write_to_a_temporary_table() -> None:
    names, path = catalogue(), SearchPath(("public",), frozenset({"staging"}))
    judged("create view staging as select 1", names)
    assert names.resolve(parsed("delete from staging").subject, path).understood
