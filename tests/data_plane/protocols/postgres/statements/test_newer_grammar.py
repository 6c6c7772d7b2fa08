"""What only a newer grammar knows is told as the call that it is to an older server."""

from __future__ import annotations

import pytest

from data_plane.gate.interface import Action, Resource, Subject
from data_plane.protocols.postgres.catalog import Catalogue
from data_plane.protocols.postgres.catalog_data import Code
from data_plane.protocols.postgres.interface import SearchPath
from data_plane.protocols.postgres.statements import form, newer_grammar
from data_plane.protocols.postgres.statements.column_names import output_name
from tests.data_plane.protocols.postgres import masking_catalogue as known
from tests.data_plane.protocols.postgres.statements.reading import statement, subject

CALLS = (
    ("json_scalar", "json_scalar(1)"),
    ("json_serialize", "json_serialize(1)"),
    ("json_value", "json_value('1'::json, 'x')"),
    ("json_query", "json_query('1'::json, 'x')"),
    ("json_exists", "json_exists('1'::json, 'x')"),
    ("json_array", "json_array(1)"),
    ("json_array", "json_array()"),
    ("json_array", "json_array((select 1))"),
    ("json_array", "json_array(select 1)"),
    ("json_arrayagg", "json_arrayagg(1) over ()"),
    ("json_arrayagg", "json_arrayagg(1 order by 2) filter (where true)"),
    ("json_object", "json_object()"),
    ("json_object", "json_object('{a,b}')"),
    ("json_object", "json_object('a': 1)"),
    ("json_objectagg", "json_objectagg('a': 1)"),
    ("json", "json('1')"),
    ("merge_action", "merge_action()"),
    ("normalize", "normalize('x')"),
)
PUBLIC = SearchPath(("public",), frozenset())


def judged(text: str, *functions: str) -> Subject:
    """On a database where public has these functions."""
    code = Code(functions=dict.fromkeys(functions, frozenset({"public"})))
    fields: dict[str, object] = {"user_functions": frozenset(functions), "code": code}
    return database(**fields).resolve(subject(text), PUBLIC)


def database(**fields: object) -> Catalogue:
    return known.catalogue(known.data(**fields))


@pytest.mark.parametrize(("name", "text"), CALLS)
def test_it_is_a_call_of_the_function_of_its_name(name: str, text: str) -> None:
    found = subject(f"select {text}")
    assert Resource("function", (f"?.{name}",), ("execute",)) in found.resources
    assert found.understood
    assert found.action is Action.READ


@pytest.mark.parametrize(("name", "text"), CALLS)
@pytest.mark.parametrize("place", ["select {}", "select 1 from orders where {} is null", "explain select {}"])
def test_it_is_not_understood_where_somebody_made_such_a_function(name: str, text: str, place: str) -> None:
    written = place.format(text)
    assert judged(written, "another").understood
    assert not judged(written, name).understood


def test_given_to_execute_it_is_a_call_too() -> None:
    assert judged("execute p (json_scalar(1))").understood
    assert not judged("execute p (json_scalar(1))", "json_scalar").understood


def test_in_a_from_it_goes_by_its_name_and_is_no_relation() -> None:
    code = Code(attribute_functions=frozenset({"total"}))
    text = "select json_scalar.total from json_scalar(1), orders"
    assert not database(code=code).resolve(subject(text), PUBLIC).understood


def test_the_constructor_of_a_type_is_a_cast_to_it() -> None:
    assert "json" in subject("select json('1')").facts["casts"]  # type: ignore[operator]
    assert (
        not database(code=Code(coded_casts=frozenset({"json"}))).resolve(subject("select json('1')"), PUBLIC).understood
    )


@pytest.mark.parametrize("name", sorted(newer_grammar.NAMES))
def test_what_a_function_of_its_name_gives_may_be_masked(name: str) -> None:
    text = next(text for called, text in CALLS if called == name)
    read = statement(f"select {text}, o.id from orders o")
    mine = database(user_functions=frozenset({name}), builtin_functions=frozenset({"count"}))
    theirs = database(user_functions=frozenset({"count"}), builtin_functions=frozenset({"lower", "json_object"}))
    assert mine.protection(known.SSN.columns).reach(read).anything
    assert not theirs.protection(known.SSN.columns).reach(read).anything


def test_nothing_is_harmless_before_the_catalogue_is_there() -> None:
    empty = known.catalogue(known.data(builtin_functions=frozenset()))
    assert empty.protection(known.SSN.columns).reach(statement("select json_scalar(1)")).anything


def test_what_it_is_given_does_not_differ_in_a_window() -> None:
    first, second = (form.form(f"select json_array((select 1 from t where id = {n}))".encode()) for n in (1, 2))
    assert first is not None
    assert second is not None
    assert first.tree != second.tree


@pytest.mark.parametrize("kind", sorted(newer_grammar.CALLS))
def test_its_column_is_called_like_the_function(kind: str) -> None:
    assert output_name({"val": {kind: {}}}) == newer_grammar.called(kind, {})
