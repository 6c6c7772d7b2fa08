"""Effects and references: what the core must remember of a statement that ran."""

from __future__ import annotations

import pytest

from data_plane.protocols.postgres.interface import (
    CASCADE,
    CASTS,
    ChangesNames,
    ClosesCursor,
    CreatesTemporary,
    CreatesView,
    Deallocates,
    Declares,
    DiscardsAll,
    DiscardsTemporary,
    EndsTransaction,
    MakesSavepoint,
    Prepares,
    ReadsCursor,
    Reference,
    ReleasesSavepoint,
    RenamesRelation,
    RollsBackTo,
    RunsPrepared,
    SessionEffect,
)
from tests.data_plane.protocols.postgres.statements.reading import parse, statement


def names(*changed: str) -> ChangesNames:
    return ChangesNames(frozenset(changed))


def own(*changed: str, stay: bool = False) -> ChangesNames:
    """Of relations that are temporary ones, if the session has such."""
    return ChangesNames(frozenset(changed), temporary=True, stay=stay)


@pytest.mark.parametrize(
    ("text", "effects", "references"),
    [
        ("deallocate p", (Deallocates("p"),), ()),
        ("deallocate prepare all", (Deallocates(None),), ()),
        ("discard all", (DiscardsAll(),), ()),
        ("discard temp", (DiscardsTemporary(),), ()),
        ("alter table t rename to u", (RenamesRelation("t", "u"), own("t", "u")), ()),
        ("alter view public.t rename to u", (names("t", "u"),), ()),
        ("alter table t rename a to b", (own("t", stay=True),), ()),
        ("alter table t add a int", (), ()),
        ("alter table t drop a", (own("t", stay=True),), ()),
        ("alter table t drop a cascade", (own("t", CASCADE, stay=True),), ()),
        ("alter table t drop constraint c", (), ()),
        ("alter table t drop constraint c cascade", (own("t", CASCADE, stay=True),), ()),
        ("drop table s.t", (names("t"),), ()),
        ("drop table pg_temp.t, u", (own("t", "u"),), ()),
        ("drop type a cascade", (names("a", CASCADE),), ()),
        ("create view s.v as select 1", (CreatesView("v", bare=False), names("v")), ()),
        ("create function f(int) returns int language sql as ''", (names("f"),), ()),
        ("create operator s.+ (leftarg = int, function = f)", (names("+"),), ()),
        ("create cast (a as b) without function", (names(CASTS),), ()),
        ("alter function f(int) rename to g", (names("f", "g"),), ()),
        ("alter type s.a rename to b", (names("a", "b"),), ()),
        ("alter table t owner to someone", (), ()),
        ("alter table t attach partition orders default", (own("t", "orders"),), ()),
        ("alter schema a rename to b", (names("*"),), ()),
        ("discard plans", (), ()),
        ("close c", (ClosesCursor("c"),), ()),
        ("close all", (ClosesCursor(None),), ()),
        ("fetch 5 from c", (), (ReadsCursor("c"),)),
        ('move backward all in "C"', (), (ReadsCursor("C"),)),
        ("execute p(1, 'x')", (), (RunsPrepared("p"),)),
        ("explain analyze execute p", (), (RunsPrepared("p"),)),
        ("create table t as execute p(1)", (), (RunsPrepared("p"),)),
        ("create temp table t (a int)", (CreatesTemporary("t"),), ()),
        ("create table pg_temp.t (a int)", (CreatesTemporary("t"),), ()),
        ("create temp table t as select 1", (CreatesTemporary("t"),), ()),
        ("create temp table t (a int) on commit drop", (CreatesTemporary("t", lasts=False),), ()),
        ("create temp table t on commit drop as select 1", (CreatesTemporary("t", lasts=False),), ()),
        ("create temp view v as select 1", (CreatesTemporary("v", alone=False), CreatesView("v")), ()),
        ("create temp sequence q", (CreatesTemporary("q", alone=False),), ()),
        ("create temp table if not exists t (a int)", (CreatesTemporary("t", alone=False),), ()),
        ("create temp table t () inherits (p)", (CreatesTemporary("t", alone=False),), ()),
        ("create table pg_temp_7.t (a int)", (CreatesTemporary("t"),), ()),
        ("explain create temp table t as select 1", (CreatesTemporary("t", alone=False),), ()),
        ("select 1 into temp t", (CreatesTemporary("t"),), ()),
        ("create table t (a int)", (), ()),
        ("commit", (EndsTransaction(keeps=True),), ()),
        ("end and chain", (EndsTransaction(keeps=True),), ()),
        ("rollback", (EndsTransaction(keeps=False),), ()),
        ("abort", (EndsTransaction(keeps=False),), ()),
        ("prepare transaction 'x'", (EndsTransaction(keeps=True),), ()),
        ("commit prepared 'x'", (names("*"),), ()),
        ("savepoint s", (MakesSavepoint("s"),), ()),
        ("release s", (ReleasesSavepoint("s"),), ()),
        ("rollback to savepoint s", (RollsBackTo("s"),), ()),
        ("begin", (), ()),
    ],
)
def test_effects_and_references(
    text: str, effects: tuple[SessionEffect, ...], references: tuple[Reference, ...]
) -> None:
    one = statement(text)
    assert one.effects == effects
    assert one.references == references


@pytest.mark.parametrize(
    ("text", "verb"),
    [
        ("begin", "BEGIN"),
        ("start transaction isolation level serializable read only", "BEGIN"),
        ("commit", "COMMIT"),
        ("end", "COMMIT"),
        ("rollback", "ROLLBACK"),
        ("abort", "ROLLBACK"),
        ("savepoint s", "SAVEPOINT"),
        ("release savepoint s", "RELEASE"),
        ("rollback to s", "ROLLBACK TO"),
        ("prepare transaction 'x'", "PREPARE TRANSACTION"),
        ("select 1", ""),
    ],
)
def test_transaction_control_says_its_verb(text: str, verb: str) -> None:
    assert statement(text).transaction == verb


def test_prepare_carries_its_statement_and_runs_nothing() -> None:
    one = statement("prepare p (int) as delete from t where id = $1 returning a")
    assert (one.subject.action, one.subject.resources) == ("session", ())
    (prepares,) = one.effects
    assert isinstance(prepares, Prepares)
    assert prepares.name == "p"
    assert prepares.statement.subject.action == "write"
    assert prepares.statement.lineage is not None


def test_prepare_of_what_is_not_understood_carries_that() -> None:
    (prepares,) = statement("prepare p as select f(1)").effects
    assert isinstance(prepares, Prepares)
    assert not prepares.statement.subject.understood


def test_declare_is_judged_as_its_query() -> None:
    one = statement("declare c cursor with hold for select a from t for update")
    (declares,) = one.effects
    assert isinstance(declares, Declares)
    assert (declares.cursor, declares.hold) == ("c", True)
    assert declares.statement.lineage is not None
    assert (one.subject.action, one.subject.verbs) == ("write", ("SELECT",))
    assert (one.subject.facts["command"], declares.statement.subject.facts["command"]) == ("DECLARE", "SELECT")
    (without,) = statement("declare c no scroll cursor for select 1").effects
    assert isinstance(without, Declares)
    assert not without.hold


def test_the_arguments_of_execute_are_its_own() -> None:
    one = statement("execute p(nextval('s'))")
    assert (one.subject.action, one.subject.verbs) == ("write", ("EXECUTE",))


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("prepare a as select 1; prepare b as select 2", ["prepare a as select 1", "prepare b as select 2"]),
        (
            "/* é */ prepare a as select 'é' ;; -- ü\n declare c cursor for select 'ä'\n",
            ["prepare a as select 'é'", "declare c cursor for select 'ä'"],
        ),
        (
            ";prepare a as select 'ß;' /* ö */;declare c cursor for select 1 -- to the end",
            ["prepare a as select 'ß;' /* ö */", "declare c cursor for select 1 -- to the end"],
        ),
        ("prepare a as select 1", [""]),
        (" -- what it is for\n prepare a as select 1; ", [""]),
    ],
)
def test_each_of_several_carries_its_own_text(text: str, own: list[str]) -> None:
    effects = [effect for one in parse(text).statements for effect in one.effects]
    assert [effect.text.decode() for effect in effects if isinstance(effect, Prepares | Declares)] == own
