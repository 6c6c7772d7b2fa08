"""SET, RESET, set_config() and transaction modes: which action, and what whoever tracks the session is told."""

from __future__ import annotations

import pytest

from data_plane.protocols.postgres.interface import SetsParameter
from data_plane.protocols.postgres.statements import catalogue
from data_plane.protocols.postgres.statements.settings import action_of
from tests.data_plane.protocols.postgres.statements.reading import statement, subject

SETS = [
    # text, action, name, value, local
    ("set search_path to a, b", "session", "search_path", "a, b", False),
    ('set search_path = a, "B", \'c d\', "$user"', "session", "search_path", 'a, "B", "c d", "$user"', False),
    ("set search_path = 'a, b'", "session", "search_path", '"a, b"', False),
    ("set search_path = ''", "session", "search_path", '""', False),
    ("set search_path = pg_catalog, public", "session", "search_path", "pg_catalog, public", False),
    ("set local search_path = a", "session", "search_path", "a", True),
    ("set session Search_Path = a", "session", "search_path", "a", False),
    ("set schema 'a'", "session", "search_path", "a", False),
    ("reset search_path", "session", "search_path", None, False),
    ("set search_path to default", "session", "search_path", None, False),
    ("select set_config('search_path', 'a, b', false)", "session", "search_path", "a, b", False),
    ("select pg_catalog.set_config('search_path', '', true)", "session", "search_path", "", True),
    ("select set_config('search_path', null, 'f')", "session", "search_path", None, False),
    ("set time zone 'UTC'", "session", "timezone", "UTC", False),
    ("set time zone interval '1' hour to minute", "session", "timezone", "interval 1 3072", False),
    ("set time zone -5", "session", "timezone", "-5", False),
    ("set time zone local", "session", "timezone", None, False),
    ("set datestyle = iso, dmy", "session", "datestyle", "iso, dmy", False),
    ("set client_encoding = 'UTF8'", "session", "client_encoding", "UTF8", False),
    ("set names 'utf-8'", "session", "client_encoding", "utf-8", False),
    ("set standard_conforming_strings to on", "session", "standard_conforming_strings", "on", False),
    ("set standard_conforming_strings to true", "session", "standard_conforming_strings", "true", False),
    ("reset client_encoding", "session", "client_encoding", None, False),
    ("set extra_float_digits = 3", "session", "extra_float_digits", "3", False),
    ("set random_page_cost = 1.1", "session", "random_page_cost", "1.1", False),
    ("set default_transaction_read_only = on", "session", "default_transaction_read_only", "on", False),
    ("set default_transaction_read_only = off", "admin", "default_transaction_read_only", "off", False),
    ("set session characteristics as transaction read only", "session", "default_transaction_read_only", "1", False),
    ("set session characteristics as transaction read write", "admin", "default_transaction_read_only", "0", False),
    ("set transaction isolation level serializable", "session", "transaction_isolation", "serializable", True),
    ("set transaction read write", "session", "transaction_read_only", "0", True),
    ("set role none", "admin", "role", "none", False),
    ("reset role", "admin", "role", None, False),
    ("set session authorization default", "admin", "session_authorization", None, False),
    ("set app.tenant = '1'", "admin", "app.tenant", "1", False),
    ("reset app.tenant", "session", "app.tenant", None, False),
    ("set row_security = off", "admin", "row_security", "off", False),
    ("reset all", "session", "all", None, False),
]


@pytest.mark.parametrize(("text", "action", "name", "value", "local"), SETS)
def test_a_parameter_is_judged_and_told(text: str, action: str, name: str, value: str | None, local: bool) -> None:
    one = statement(text)
    assert one.subject.understood, one.subject.problem
    assert one.subject.action == action
    assert one.effects == (SetsParameter(name, value, local),)
    assert one.subject.facts["settings"] == (name,)


def test_a_select_may_set_and_show_at_once() -> None:
    """As asyncpg does."""
    one = statement("select current_setting('jit') as cur, set_config('jit', 'off', false) as new")
    assert (one.subject.action, one.subject.verbs) == ("read", ("SELECT", "SET"))
    assert one.effects == (SetsParameter("jit", "off", False),)
    bound = statement("select set_config('jit', $1, false)")
    assert (bound.subject.action, bound.effects) == ("session", ())


def test_a_parameter_may_be_set_where_the_server_has_it() -> None:
    """As pg_dump does."""
    one = statement(
        "SELECT set_config(name, 'view, foreign-table', false) FROM pg_settings "
        "WHERE name = 'restrict_nonsystem_relation_kind'"
    )
    assert (one.subject.action, one.subject.verbs, one.effects) == ("read", ("SELECT", "SET"), ())
    assert one.subject.resources[0].candidates == ("?.pg_settings",)


def test_a_pin_is_told_even_when_it_is_refused() -> None:
    one = statement("set client_encoding = 'SJIS'")
    assert not one.subject.understood
    assert one.effects == (SetsParameter("client_encoding", "SJIS", False),)
    assert "UTF8" in one.subject.problem


def test_set_transaction_snapshot_is_of_the_session() -> None:
    assert subject("set transaction snapshot 'x'").action == "session"


@pytest.mark.parametrize("name", sorted(catalogue.SETTINGS_WITH_MEANING | catalogue.SETTINGS_WITHOUT_MEANING))
def test_listed_parameters_are_of_the_session(name: str) -> None:
    assert action_of(name, "on") == "session"


@pytest.mark.parametrize("name", ["log_statement", "allow_system_table_mods", "ignore_checksum_failure", "x.y", "nope"])
def test_every_other_parameter_is_administration(name: str) -> None:
    assert action_of(name, "on") == "admin"
    assert action_of(name, None) == "session"


def test_the_lists_do_not_overlap() -> None:
    assert not catalogue.SETTINGS_WITH_MEANING & catalogue.SETTINGS_WITHOUT_MEANING


@pytest.mark.parametrize(
    ("path", "action"),
    [
        ("public, pg_catalog", "admin"),
        ("public, PG_CATALOG", "admin"),
        ('public, "pg_catalog"', "admin"),
        ("pg_catalog, public, pg_catalog", "session"),
        (' PG_Catalog , public, "pg_catalog"', "session"),
        ("pg_catalog\u00a0, public, pg_catalog", "admin"),
        ('"PG_CATALOG", public, pg_catalog', "admin"),
        ("'pg_catalog', public, pg_catalog", "admin"),
    ],
)
def test_a_path_on_which_the_catalogue_is_not_certainly_first_is_administration(path: str, action: str) -> None:
    assert action_of("search_path", path) == action
