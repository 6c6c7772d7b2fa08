"""Settings follow transactions and savepoints as the server's do (DESIGN invariant 13)."""

from __future__ import annotations

import tracemalloc

import pytest

from data_plane.protocols.postgres.core.settings import Settings, contradicts_pin, read_path
from data_plane.protocols.postgres.interface import (
    ACCOUNT,
    CASCADE,
    ChangesNames,
    CreatesTemporary,
    CreatesView,
    DiscardsAll,
    DiscardsTemporary,
    EndsTransaction,
    MakesSavepoint,
    ReleasesSavepoint,
    RenamesRelation,
    RollsBackTo,
    SessionEffect,
    SetsParameter,
)
from tests.data_plane.protocols.postgres.core.conversation import COMPLETE, QUERY, Conversation, error, ready


def path_of(*effects: object) -> str:
    settings = Settings({"search_path": "start", "user": "app"})
    for effect in effects:
        if isinstance(effect, bool):
            settings.transaction_ended(keeps=effect)
        else:
            settings.apply(*effect if isinstance(effect, tuple) else (effect, ""))
    return ",".join(settings.path.schemas)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("250", 0.25), ("5s", 5), (" 1.5 min ", 90), ("2h", 7200), ("1d", 86400), (".5s", 0.5), ("1500us", 0.002),
     ("0", 0), ("0.4", 0), ("-1", 0), ("soon", 0), ("5 S", 0), ("", 0)],
)  # fmt: skip
def test_a_statement_timeout_is_read_with_its_unit(value: str, seconds: float) -> None:
    settings = Settings({})
    settings.apply(SetsParameter("statement_timeout", value, local=False), "SET")
    assert settings.statement_timeout == seconds


def test_the_statement_timeout_of_the_start_comes_back_with_a_reset() -> None:
    settings = Settings({"statement_timeout": "3s"})
    settings.apply(SetsParameter("statement_timeout", "1min", local=True), "SET")
    assert settings.statement_timeout == 60
    settings.apply(SetsParameter("statement_timeout", None, local=False), "RESET")
    assert settings.statement_timeout == 3


def sets(value: str | None, *, local: bool = False) -> SetsParameter:
    return SetsParameter("search_path", value, local)


@pytest.mark.parametrize(
    ("effects", "path"),
    [
        ([sets("a"), True], "a"),
        ([sets("a"), False], "start"),
        ([sets("a", local=True)], "a"),
        ([sets("a", local=True), True], "start"),
        ([sets("b"), sets("a", local=True), True], "b"),
        ([sets("a", local=True), sets("b"), True], "b"),
        ([sets("a"), (EndsTransaction(keeps=True), "ROLLBACK")], "start"),
        ([sets("a"), True, sets(None), True], "start"),
        ([sets("a"), MakesSavepoint("s"), sets("b"), RollsBackTo("s")], "a"),
        ([sets("a"), MakesSavepoint("s"), sets("b"), ReleasesSavepoint("s"), True], "b"),
        ([MakesSavepoint("s"), MakesSavepoint("t"), sets("b"), RollsBackTo("s"), RollsBackTo("s")], "start"),
        ([sets("a"), MakesSavepoint("s"), sets("b"), MakesSavepoint("s"), sets("c"), RollsBackTo("s")], "b"),
        ([sets("a"), True, MakesSavepoint("s"), sets("b", local=True), ReleasesSavepoint("s")], "b"),
        ([sets("a"), True, DiscardsAll()], "start"),
        ([sets("a"), True, SetsParameter("all", None, local=False), True], "start"),
    ],
)
def test_a_setting_lasts_as_long_as_the_server_keeps_it(effects: list[object], path: str) -> None:
    assert path_of(*effects) == path


@pytest.mark.parametrize(
    ("written", "schemas"),
    [
        ('"$user", public', ("app", "public")),
        ('a,"B ""c", d_1', ("a", 'B "c', "d_1")),
        ("", ()),
        ("A", ("a",)),
        ('"a', ()),
        ("a b", ()),
        ("a,", ()),
    ],
)
def test_a_search_path_is_read_as_the_server_reads_it(written: str, schemas: tuple[str, ...]) -> None:
    assert read_path(written, "app") == schemas


def test_sessions_alike_share_one_path_and_others_never_do() -> None:
    first, second, other = Settings({}), Settings({}), Settings({"search_path": "a"})
    assert first.path is second.path
    assert other.path.schemas == ("a",)
    second.apply(CreatesTemporary("orders"), "CREATE TABLE")
    assert first.path.temporary == frozenset()
    assert second.path.temporary == {"orders"}


def test_temporary_tables_are_part_of_the_path_until_all_is_discarded() -> None:
    settings = Settings({})
    settings.apply(CreatesTemporary("orders"), "CREATE TABLE")
    assert settings.path.temporary == {"orders"}
    settings.apply(DiscardsAll(), "DISCARD ALL")
    assert settings.path.temporary == frozenset()


MADE = CreatesTemporary("orders")


@pytest.mark.parametrize(
    ("effects", "temporary"),
    [
        ([MADE], {"orders"}),
        ([MADE, True], {"orders"}),
        ([MADE, False], set()),
        ([MADE, True, CreatesTemporary("t"), False], {"orders"}),
        ([MADE, (EndsTransaction(keeps=False), "ROLLBACK")], set()),
        ([MADE, (EndsTransaction(keeps=True), "ROLLBACK")], set()),
        ([MakesSavepoint("s"), MADE, RollsBackTo("s")], set()),
        ([MakesSavepoint("s"), MADE, ReleasesSavepoint("s"), True], {"orders"}),
        ([MADE, True, DiscardsTemporary(), True], set()),
        ([MADE, True, DiscardsTemporary(), False], {"orders"}),
        ([MADE, RenamesRelation("orders", "users")], {"orders", "users"}),
        ([RenamesRelation("orders", "users")], set()),
    ],
)
def test_temporary_tables_are_there_as_long_as_the_server_keeps_them(
    effects: list[object], temporary: set[str]
) -> None:
    settings = Settings({})
    for effect in effects:
        if isinstance(effect, bool):
            settings.transaction_ended(keeps=effect)
        else:
            settings.apply(*effect if isinstance(effect, tuple) else (effect, ""))
    assert settings.path.temporary == temporary


DROPPED = ChangesNames(frozenset({"orders"}), temporary=True)
ALTERED = ChangesNames(frozenset({"orders"}), temporary=True, stay=True)
FLEETING = CreatesTemporary("orders", lasts=False)


@pytest.mark.parametrize(
    ("effects", "altered"),
    [
        ([MADE, True, DROPPED], False),
        ([MADE, True, ALTERED, ALTERED, DROPPED], False),
        ([FLEETING, ALTERED, DROPPED], False),
        ([MADE, ChangesNames(frozenset({"orders", CASCADE}), temporary=True)], False),
        ([MADE, MakesSavepoint("s"), DROPPED, RollsBackTo("s"), DROPPED], False),
        ([DROPPED], True),
        ([CreatesTemporary("orders", alone=False), DROPPED], True),
        ([MADE, True, ChangesNames(frozenset("*")), True, DROPPED], True),
        ([MADE, True, DROPPED, True, DROPPED], True),
        ([MADE, True, ChangesNames(frozenset({"orders"}))], True),
        ([MADE, True, ChangesNames(frozenset({"orders", "users"}), temporary=True)], True),
        ([MADE, False, DROPPED], True),
        ([FLEETING, True, DROPPED], True),
        ([MADE, True, DiscardsTemporary(), DROPPED], True),
        ([MADE, True, DiscardsAll(), DROPPED], True),
        ([SetsParameter("search_path", "public, pg_temp", local=False), MADE, True, DROPPED], True),
        (
            [
                *(MADE, CreatesTemporary("n"), ChangesNames(frozenset({"orders", "n"}), temporary=True), True),
                *(RenamesRelation("orders", "n"), ChangesNames(frozenset({"orders", "n"}), temporary=True)),
            ],
            True,
        ),
        ([MADE, RenamesRelation("orders", "n"), ChangesNames(frozenset({"orders", "n"}), temporary=True)], False),
        (
            [MADE, RenamesRelation("orders", "n"), ChangesNames(frozenset({"orders", "n"}), temporary=True), DROPPED],
            True,
        ),
    ],
)
def test_only_changes_of_what_is_certainly_temporary_are_none_of_the_catalogue(
    effects: list[object], *, altered: bool
) -> None:
    settings = Settings({})
    for effect in effects:
        if isinstance(effect, bool):
            settings.transaction_ended(keeps=effect)
        else:
            settings.apply(effect, "")  # type: ignore[arg-type]
    assert bool(settings.path.altered) is altered


@pytest.mark.parametrize(
    ("effects", "temporary"),
    [
        ([CreatesView("v")], False),
        ([MADE, CreatesView("v")], True),
        ([MADE, CreatesView("v", bare=False)], False),
        ([SetsParameter("search_path", "pg_temp", False), SetsParameter("search_path", "a", False), CreatesView("v")], True),
    ],
)  # fmt: skip
def test_a_view_may_be_temporary_without_saying_so(effects: list[SessionEffect], *, temporary: bool) -> None:
    settings = Settings({})
    for effect in effects:
        settings.apply(effect, "")
    assert ("v" in settings.path.temporary) is temporary


def test_pins() -> None:
    assert not contradicts_pin("client_encoding", "UTF-8")
    assert contradicts_pin("client_encoding", "SQL_ASCII")
    assert contradicts_pin("standard_conforming_strings", "off")
    assert not contradicts_pin("TimeZone", "off")


def personal(account: str, user: str = "", **more: str) -> Settings:
    told = {"search_path": '"$user", public', "user": user or account, "role": user or "none", "database": "d"}
    return Settings({**told, ACCOUNT: account, **more})


def test_the_account_that_was_made_for_a_session_is_in_no_digest() -> None:
    one, other, owning = personal("gw_a"), personal("gw_b"), personal("gw_c", user="owner")
    assert one.path.schemas == ("gw_a", "public")
    assert owning.path.schemas == ("owner", "public")
    assert one.digest_state() == other.digest_state() == owning.digest_state()
    assert dict(one.digest_state()) == {"database": "d", "role": "none", "search_path": "$user, public"}
    assert one.copy().digest_state() == one.digest_state()


def test_a_path_that_names_the_account_is_told_as_it_is_written() -> None:
    one = personal("gw_a")
    one.apply(SetsParameter("search_path", "gw_a, public", local=False), "SET")
    assert dict(one.digest_state())["search_path"] == "gw_a, public"
    one.apply(SetsParameter("search_path", "", local=False), "SET")
    assert dict(one.digest_state())["search_path"] == ""


def test_a_role_that_a_session_with_its_own_account_takes_on_is_in_the_digest() -> None:
    for session in (personal("gw_a"), personal("gw_b", user="owner")):
        before = session.digest_state()
        session.apply(SetsParameter("role", "auditor", local=False), "SET")
        assert dict(session.digest_state()).items() >= {"role": "auditor", "search_path": "auditor, public"}.items()
        session.apply(SetsParameter("role", None, local=False), "SET")
        assert session.digest_state() == before


def test_no_role_at_all_is_the_account_itself() -> None:
    session = personal("gw_a", user="owner")
    session.apply(SetsParameter("role", "none", local=False), "SET")
    assert session.path.schemas == ("gw_a", "public")


@pytest.mark.parametrize(
    ("effect", "user"),
    [
        (SetsParameter("all", None, local=False), "auditor"),
        (SetsParameter("session_authorization", None, local=False), "app"),
        (SetsParameter("session_authorization", "other", local=False), "other"),
        (DiscardsAll(), "app"),
    ],
)
def test_what_else_ends_a_role_and_what_does_not(effect: SessionEffect, user: str) -> None:
    session = Settings({"user": "app", "role": "none", "search_path": '"$user"'})
    session.apply(SetsParameter("role", "auditor", local=False), "SET")
    session.apply(effect, "SET")
    assert session.path.schemas == (session.user,) == (user,)


def test_an_account_that_all_sessions_share_is_in_the_digest() -> None:
    shared = Settings({"user": "app", "role": "none", "search_path": '"$user"'})
    assert dict(shared.digest_state()) == {"role": "none", "search_path": "app", "user": "app"}
    assert not shared.path.personal


def test_what_changes_the_meaning_of_a_statement_is_in_the_digest() -> None:
    """Invariant 13."""
    first, second = Settings({"search_path": "a", "database": "d"}), Settings({"search_path": "b", "database": "d"})
    assert first.digest_state() != second.digest_state()
    before = first.digest_state()
    first.apply(SetsParameter("role", "owner", local=False), "SET")
    assert first.digest_state() != before


def test_a_session_with_thousands_of_temporary_relations_keeps_each_name_once() -> None:
    settings = Settings({"search_path": "start", "user": "app"})
    tracemalloc.start()
    try:
        for number in range(2_000):
            settings.apply(CreatesTemporary(f"t{number}"), "CREATE TABLE")
            settings.transaction_ended(keeps=True)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(settings.path.temporary) == 2_000
    assert kept < 2_000_000


def test_nothing_is_judged_while_a_setting_is_unanswered() -> None:
    """Invariant 13: the next statement means what the path makes of it."""
    session = Conversation()
    session.client(QUERY("set search_path = a"), QUERY("select 1"))
    assert session.take_target() == ["Query set search_path = a"]
    session.target(COMPLETE("SET"), ready())
    assert session.take_target() == ["Query select 1"]
    assert session.names.paths[-1] == ("a",)


def test_a_setting_that_failed_does_not_hold() -> None:
    session = Conversation()
    session.client(QUERY("set search_path = a"))
    session.target(error(), ready())
    session.client(QUERY("select 1"))
    assert session.names.paths[-1] == ("app", "public")


def test_an_implicit_transaction_that_fails_undoes_its_settings() -> None:
    session = Conversation()
    session.client(QUERY("set search_path = a; select 1/0"))
    assert session.names.paths[-1] == ("a",), "the second statement of a query is judged under what the first sets"
    session.target(COMPLETE("SET"), error(), ready())
    session.client(QUERY("select 1"))
    assert session.names.paths[-1] == ("app", "public")


def test_an_approval_binds_the_search_path() -> None:
    """Invariants 2 and 13."""
    digests = []
    for path in ("a", "b"):
        session = Conversation()
        session.client(QUERY(f"set search_path = {path}"))
        session.target(COMPLETE("SET"), ready())
        session.client(QUERY("delete from t"))
        digests.append(session.operations[0].digest)
    assert digests[0] != digests[1]


@pytest.mark.parametrize(
    ("statement", "changes"),
    [
        ("set row_security = off", 0),
        ("set role reporting", 0),
        ("reset role", 0),
        ("select set_config('app.tenant', '7', false)", 0),
        ("select rolname from pg_authid", 0),
        ("select set_config('app.tenant', '7', false), pg_reload_conf()", 1),
        ("select rolname into roles from pg_authid", 1),
        ("select query_to_xml('drop table t', true, true, '')", 1),
        ("alter role bot set search_path = a", 1),
        ("alter table t add b int", 1),
    ],
)
def test_neither_a_parameter_nor_a_look_is_a_change_of_the_schema(statement: str, changes: int) -> None:
    """Both may be administration; the catalogue stays as it is known."""
    talk = Conversation()
    talk.client(QUERY(statement))
    talk.target(COMPLETE("SET"), ready())
    assert bool(talk.names.changes) == bool(changes)
