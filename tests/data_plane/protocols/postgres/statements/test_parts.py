"""A statement is all that its parts are: each action counts, and each name that may be a call."""

from __future__ import annotations

import time

import pytest

from data_plane.protocols.postgres.statements.findings import SEVERITY, Findings
from data_plane.protocols.postgres.statements.queries import with_clause
from data_plane.protocols.postgres.statements.table import judge
from data_plane.protocols.postgres.statements.walker import Scope, Walker
from tests.data_plane.protocols.postgres.statements.reading import subject


@pytest.mark.parametrize(
    "text",
    [
        "create table t (a int default f(1), b int check (f(b)), c int generated always as (f(a)) stored)",
        "alter table t alter a set default f(1)",
        "create domain d as int check (f(value))",
        "create rule r as on insert to t do instead select f(1)",
        "create trigger g before update on t for each row when (f(1)) execute function h()",
        "create function g() returns int begin atomic select f(1); end",
    ],
)
def test_a_definition_that_does_not_run_now_is_understood(text: str) -> None:
    judged = subject(text)
    assert judged.understood, judged.problem
    assert judged.facts["unknown_functions"] == ("f",)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("select a, t.b, s.t.c from t where t.d = 1", ("b", "c", "d")),
        ("select (1).zap, (t).zip.zop, ($1).zup from t", ("zap", "zip", "zop", "zup")),
        ("select t.*, (t).* from t", ()),
        ("select o.total from o union select p.a from p order by 1", ("total", "a")),
        ("insert into t values ((1).zap)", ("zap",)),
        ("update t set a = x.b from x where t.c = x.c", ("b", "c")),
        ("update t set a.b = 1, c[1] = 2", ()),
        ("insert into t (a.b) values (1)", ()),
        ("select a from t join o using (c)", ()),
        ("select s.f(1) from pg_catalog.pg_class", ()),
    ],
)
def test_names_that_may_call_a_function_are_told(text: str, names: tuple[str, ...]) -> None:
    """The catalogue says which are columns."""
    judged = subject(text)
    assert set(judged.facts["possible_functions"]) == set(names)
    assert judged.understood or "s.f" in judged.problem
    assert not [one for one in judged.resources if one.kind == "function" and one.candidates != ("s.f",)]


def test_a_call_by_a_name_after_a_dot_is_told_like_any_call() -> None:
    resource = subject("select ('s'::regclass).nextval").resources[0]
    assert (resource.kind, resource.candidates, resource.access) == ("function", ("?.nextval",), ("execute",))


@pytest.mark.parametrize(
    ("text", "actions"),
    [
        ("select 1", "read"),
        ("values (1)", "read"),
        ("begin", "session"),
        ("set work_mem = '1MB'", "session"),
        ("explain select 1", "read"),
        ("copy t to stdout", "read"),
        ("prepare p as delete from t", "session"),
        ("execute p(1)", "session"),
        ("declare c cursor for select 1", "read"),
        ("explain declare c cursor for select 1", "read"),
        ("insert into t values (1)", "write"),
        ("insert into t values (now(), lower('A'))", "write"),
        ("update t set a = lower(a), b = now() where c = 1", "write"),
        ("execute p(now())", "read"),
        ("insert into t values ((select a from o))", "write read"),
        ("insert into t select * from o", "write read"),
        ("insert into t values (1) order by (select 1)", "write read"),
        ("insert into t default values returning a", "write"),
        ("delete from t where a in (select 1)", "write read"),
        ("create temp table x as with d as (delete from t returning *) select * from d", "ddl write read"),
        ("with d as (delete from t returning *) select * into temp x from d", "ddl write read"),
        ("with d as (delete from t returning a) select pg_read_file('x') from d", "admin write read"),
        ("create view v as select nextval('s')", "ddl write read"),
        ("create rule r as on insert to t do instead delete from o", "ddl write"),
        ("create table t (a int default nextval('s'))", "ddl"),
        ("create table t (a int default pg_backend_pid() check (pg_read_file(a) is null))", "ddl admin"),
        ("alter table t alter a set default nextval('s')", "ddl"),
        ("alter table t alter a set default nextval('s'), add b int default nextval('s')", "ddl write"),
        ("alter table t add b int default nextval('s'), alter a set default nextval('s')", "ddl write"),
        ("create schema s grant select on t to u", "ddl admin"),
        ("select set_config('work_mem', '1MB', false), nextval('s')", "session read write"),
        ("select set_config('work_mem', '1MB', false)", "session"),
        ("delete from t where f(a)", "unknown write"),
        ("selec", "unknown"),
    ],
)
def test_a_statement_has_the_actions_of_all_its_parts(text: str, actions: str) -> None:
    judged = subject(text)
    assert judged.actions == set(actions.split())
    assert judged.action == max(judged.actions, key=SEVERITY.__getitem__)


def test_each_common_table_expression_costs_the_same() -> None:
    """Not as much as there are names in scope: that would take minutes here."""
    names = [{"CommonTableExpr": {"ctename": f"a{number}"}} for number in range(100_000)]
    walker = Walker(Findings(), judge)
    started = time.process_time()
    opened = walker.common.opened()
    with_clause(walker, {"withClause": {"ctes": names}})
    assert "a99999" in walker.common
    walker.common.close(opened)
    assert time.process_time() - started < 3
    assert "a0" not in walker.common


def test_a_name_that_is_hidden_twice_is_hidden_until_both_are_gone() -> None:
    scope = Scope()
    scope.add("a")
    inner = scope.opened()
    scope.add("a")
    scope.add("b")
    scope.close(inner)
    assert ("a" in scope, "b" in scope) == (True, False)
