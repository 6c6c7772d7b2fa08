"""Ways to do one thing and look like another (PROTOCOLS §2.3 to §2.7): each must be seen, or not be understood."""

from __future__ import annotations

import pytest

from data_plane.gate.interface import Action
from data_plane.protocols.postgres.statements.findings import SEVERITY
from tests.data_plane.protocols.postgres.statements.reading import parse, relations, subject

AT_LEAST = [
    # text, the least that it must be judged as
    ("with d as (delete from users returning *) select * from d", "write"),
    ("select * from (with d as (update t set a = 1 returning a) select * from d) x", "write"),
    ("with a as (select 1), b as (insert into t values (1) returning a) select 1", "write"),
    ("explain delete from users", "write"),
    ("explain (analyze, costs off) with d as (delete from t returning a) select 1", "write"),
    ("explain analyze create table n as select 1", "ddl"),
    ("explain select pg_read_file('/etc/passwd')", "admin"),
    ("select * into n from t", "ddl"),
    ("prepare p as select 1; execute p", "session"),
    ("create table n as execute p", "ddl"),
    ("declare c cursor for select lo_unlink(1)", "write"),
    ("select nextval('s')", "write"),
    ("select pg_catalog.setval('s', 1)", "write"),
    ("select \"setval\"('s', 1)", "write"),
    ("select * from t where id = nextval('s')", "write"),
    ("select case when true then nextval('s') end", "write"),
    ("select 1 limit nextval('s')", "write"),
    ("select 1 group by nextval('s')", "write"),
    ("select sum(1) filter (where nextval('s') > 0)", "write"),
    ("select sum(1) over (partition by nextval('s'))", "write"),
    ("select sum(1) over w from t window w as (order by nextval('s'))", "write"),
    ("select string_agg('a', ',' order by nextval('s'))", "write"),
    ("select * from generate_series(1, nextval('s'))", "write"),
    ("select * from rows from (generate_series(1, nextval('s'))) x", "write"),
    ("select * from t join o on nextval('s') = 1", "write"),
    ("select * from t tablesample system (nextval('s'))", "write"),
    ("select array[nextval('s')], row(nextval('s'))", "write"),
    ("select (array[1])[nextval('s')]", "write"),
    ("select xmlelement(name a, xmlattributes(nextval('s') as b))", "write"),
    ("select json_object('a': nextval('s'))", "write"),
    ("select * from xmltable('/a' passing (nextval('s')::text::xml) columns b int)", "write"),
    ("select * from json_table(nextval('s')::text::jsonb, '$' columns (a int path '$'))", "write"),
    ("select json_value('1'::jsonb, '$' default nextval('s') on error)", "write"),
    ("select a from t order by nextval('s')", "write"),
    ("select distinct on (nextval('s')) a from t", "write"),
    ("values (nextval('s'))", "write"),
    ("select ('s'::regclass).nextval", "write"),
    ("select (('s')::regclass).nextval", "write"),
    ("select ($1).nextval", "write"),
    ("select (array[1::oid])[1].lo_unlink", "write"),
    ("select x.lo_unlink from (select 1::oid) x", "write"),
    ("select s.x.lo_unlink from s.x", "write"),
    ("select (x).lo_unlink from t x", "write"),
    ("select (x).a.lo_unlink from t x", "write"),
    ("select 1 from t x where x.lo_unlink = 1", "write"),
    ("select 1 from t x order by x.lo_unlink", "write"),
    ("select 1 from t x join o on x.lo_unlink = 1", "write"),
    ("values ((1).lo_unlink)", "write"),
    ("copy (select (1).lo_unlink) to stdout", "write"),
    ("select ('/etc/passwd'::text).pg_read_file", "admin"),
    ("select (1).pg_terminate_backend", "admin"),
    ("select ('select 1'::text).ts_stat", "exec"),
    ("create view v as select ('/etc/passwd'::text).pg_read_file", "admin"),
    ("explain declare c cursor for select nextval('s')", "write"),
    ("explain analyze declare c cursor for with d as (delete from t returning a) select 1", "write"),
    ("explain (analyze, verbose) declare c cursor for select pg_read_file('/etc/passwd')", "admin"),
    ("select nextval('s') is null, not (nextval('s') = 1), nextval('s') between 1 and 2", "write"),
    ("select 1 = any (select nextval('s'))", "write"),
    ("select nextval('s')::text collate \"C\"", "write"),
    ("select greatest(coalesce(nextval('s'), 1), 2)", "write"),
    ("select 1 union all select nextval('s')", "write"),
    ("with recursive r as (select 1 union all select nextval('s') from r) select * from r", "write"),
    ("copy (select nextval('s')) to stdout", "write"),
    ("execute p(nextval('s'))", "write"),
    ("select lo_create(0)", "write"),
    ("select lo_from_bytea(0, 'x')", "write"),
    ("select lo_put(1, 0, 'x')", "write"),
    ("select lowrite(0, 'x')", "write"),
    ("select lo_open(1, 131072)", "write"),
    ("select pg_notify('c', 'x')", "write"),
    ("notify c, 'secret'", "write"),
    ("select pg_advisory_lock(1)", "write"),
    ("lock table users in access share mode", "write"),
    ("select * from users for no key update", "write"),
    ("select lo_import('/etc/passwd')", "admin"),
    ("select lo_export(1, '/tmp/x')", "admin"),
    ("select pg_read_file('/etc/passwd')", "admin"),
    ("select * from pg_ls_dir('.')", "admin"),
    ("select (pg_stat_file('x')).size", "admin"),
    ("select pg_terminate_backend(1)", "admin"),
    ("select pg_cancel_backend(pid) from pg_stat_activity", "admin"),
    ("select pg_reload_conf()", "admin"),
    ("select pg_switch_wal()", "admin"),
    ("select pg_create_logical_replication_slot('x', 'y')", "admin"),
    ("select pg_stat_reset()", "admin"),
    ("create view v as select pg_read_file('/etc/passwd')", "admin"),
    ("create rule r as on insert to t do instead select pg_reload_conf()", "admin"),
    ("alter table t alter a set default pg_read_file('/etc/passwd')", "admin"),
    ("select query_to_xml('delete from t', true, true, '')", "exec"),
    ("select table_to_xml('users', true, true, '')", "exec"),
    ("select database_to_xml(true, true, '')", "exec"),
    ("select cursor_to_xml('c', 1, true, true, '')", "exec"),
    ("select * from ts_stat('select 1')", "exec"),
    ("select ts_rewrite('a'::tsquery, 'select 1')", "exec"),
    ("select * from dblink('host=x', 'delete from t') as x (a int)", "exec"),
    ("select dblink_exec('drop table t')", "exec"),
    ("select * from crosstab('select 1')", "exec"),
    ("select xpath_table('a', 'b', 'c', 'd', 'e')", "exec"),
    ("do 'begin perform 1; end'", "exec"),
    ("call p()", "exec"),
    ("copy t to program 'curl x'", "exec"),
    ("copy (select 1) to program 'sh'", "exec"),
    ("copy t from program 'sh'", "exec"),
    ("copy t to '/tmp/x'", "admin"),
    ("set role postgres", "admin"),
    ("set local role none", "admin"),
    ("reset role", "admin"),
    ("set session authorization postgres", "admin"),
    ("reset session authorization", "admin"),
    ("select set_config('role', 'postgres', false)", "admin"),
    ("select set_config('session_authorization', 'postgres', false)", "admin"),
    ("set session_replication_role = replica", "admin"),
    ("set row_security = off", "admin"),
    ("set transform_null_equals = on", "admin"),
    ("set session_preload_libraries = 'x'", "admin"),
    ("set local_preload_libraries = 'x'", "admin"),
    ("set log_statement = 'none'", "admin"),
    ("set app.tenant = '2'", "admin"),
    ("select set_config('app.tenant', '2', false)", "admin"),
    ("set search_path = public, pg_catalog", "admin"),
    ('set search_path = "$user", PG_CATALOG', "admin"),
    ("select set_config('search_path', 'public,pg_catalog', false)", "admin"),
    ("set default_transaction_read_only = off", "admin"),
    ("set session characteristics as transaction read write", "admin"),
    ("prepare transaction 'x'", "admin"),
    ("commit prepared 'x'", "admin"),
    ("create function f() returns int language c as 'x', 'y'", "admin"),
    ("create function f() returns int language plpython3u as 'x'", "admin"),
    ("create function f() returns int security definer language sql as 'select 1'", "admin"),
    ("alter function f() security definer", "admin"),
    ("alter function f() owner to postgres", "admin"),
    ("create function f() returns int language sql as 'delete from t returning 1'", "ddl"),
    ("create procedure p() language plpgsql as 'begin end'", "ddl"),
    ("create cast (text as int) with function f(text)", "ddl"),
    ("create operator = (function = f, leftarg = text, rightarg = text)", "ddl"),
    ("create trigger g before update on t execute function f()", "ddl"),
    ("alter table users add column x int generated always as (lo_unlink(1)) stored", "ddl"),
    ("insert into pg_largeobject values (1)", "admin"),
    ("select query from pg_stat_activity", "admin"),
    ("table pg_catalog.pg_stat_activity", "admin"),
    ("select * from o join monitoring.pg_stat_statements using (id)", "admin"),
    ("with x as (select * from pg_locks) select * from x", "admin"),
    ("copy pg_stat_activity to stdout", "admin"),
    ("create view v as select * from pg_shadow", "admin"),
    ("update pg_authid set rolsuper = true where rolname = 'x'", "admin"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "least"), AT_LEAST)
def test_a_disguise_does_not_make_it_less(text: str, least: str) -> None:
    worst = max(SEVERITY[one.subject.action] for one in parse(text).statements)
    assert worst >= SEVERITY[Action(least)]
    assert all(one.subject.understood for one in parse(text).statements)


NOT_UNDERSTOOD = [
    "select f(1)",
    "select s.lower('x')",
    "select public.now()",
    "select \"Lower\"('x')",
    "select * from f()",
    "select 1 from t where f(a)",
    "select a operator(public.+) b",
    "select a === b",
    "select a order using operator(s.<) b",
    "select a from t order by a using operator(s.<)",
    "select 1 operator(s.=) any (select 2)",
    "select * from t tablesample s.mine (1)",
    "select pg_stat_get_backend_pid(1)",
    "select set_config(a, 'x', false) from t",
    "select set_config('search_path', a, false) from t",
    "select set_config('search_path', 'x', false) from t",
    "select set_config('search_path', 'x', false) where false",
    "select set_config(name, 'x', false) from pg_settings",
    "select set_config(name, 'x', false) from pg_settings where name = 'search_path'",
    "select set_config(name, 'x', false) from pg_settings where name <> 'jit'",
    "select set_config(name, 'x', false) from pg_settings where name = 'jit' or true",
    "select set_config(name, 'x', false) from pg_settings where setting = 'jit'",
    "select set_config(setting, 'x', false) from pg_settings where name = 'jit'",
    "select set_config(name, setting, false) from pg_settings where name = 'jit'",
    "select set_config(name, 'x', false), set_config(name, 'x', false) from pg_settings where name = 'jit'",
    "select set_config(name, 'x', false) from pg_settings p (s, name) where name = 'jit'",
    "select set_config(name, 'x', false) from pg_settings, t where name = 'jit'",
    "select set_config(name, 'x', false) from s.pg_settings where name = 'jit'",
    "select set_config(name, 'x', false) over () from pg_settings where name = 'jit'",
    "select set_config(name, 'x', false) filter (where f(1)) from pg_settings where name = 'jit'",
    "with pg_settings as (select 'role' as name) select set_config(name, 'x', false) from pg_settings where name = 'jit'",
    "select coalesce(set_config('search_path', 'x', false), '')",
    "select set_config($1, 'x', false)",
    "select set_config('search_path', $1, false)",
    "select set_config('search_path', 'x', $1)",
    "explain select set_config('search_path', 'x', false)",
    "insert into t values (set_config('search_path', 'x', false))",
    "set client_encoding to 'SJIS'",
    "set names 'latin1'",
    "set local client_encoding = 'GBK'",
    "select set_config('client_encoding', 'SJIS', false)",
    "set standard_conforming_strings = off",
    "select pg_catalog.set_config('Standard_Conforming_Strings', 'off', false)",
    "select 'a\\' as x --' as y",
    "select 'it\\''s'",
    "selec 1",
    "select 'open",
    "select 1; drop",
    "BASE_BACKUP",
    "START_REPLICATION SLOT x LOGICAL 0/0",
    'select * from "public.users"',
    'select * from "a.b".users',
    'select * from "users\u202e"',
    "delete from t where f(a)",
    "create table n as select f(1)",
    "create materialized view v as select s.f(1)",
    "explain analyze declare c cursor for select zap(4)",
    "explain declare c cursor for select a === b",
    "explain analyze declare c cursor for select set_config('search_path', 'x', false)",
    "alter table t add column b int default f(1)",
    "alter table t add column b int generated always as (f(a)) stored",
    "alter table t add column b int check (f(b))",
    "alter table t add check (f(a))",
    "alter table t add constraint c check (a === 1) not valid",
    "alter table t alter a type int using f(a)",
    "alter table t add exclude using gist (f(a) with =)",
    "alter table t add exclude using gist (a with =) where (f(a))",
    "alter table t attach partition p for values from (f(1)) to (2)",
    "alter domain d add check (f(value))",
    "create table p partition of t for values from (f(1)) to (2)",
    "create table p partition of t for values in (f(1))",
    "create table p partition of t for values from ((1).f) to (f(2))",
    "create schema s create table p partition of t for values in (f(1))",
    "create index on t (f(a))",
    "create index on t (a) where f(a)",
    "create unique index concurrently i on t (a) where a === 1",
]  # fmt: skip


@pytest.mark.parametrize("text", NOT_UNDERSTOOD)
def test_what_cannot_be_followed_is_not_understood(text: str) -> None:
    failed = [one.subject for one in parse(text).statements if not one.subject.understood]
    assert failed
    assert all(one.action is Action.UNKNOWN and one.problem for one in failed)


@pytest.mark.parametrize(
    "text",
    [
        "/**/delete/* x */from--\nusers",
        "DELETE FROM USERS",
        'delete from "users"',
        'delete from u&"\\0075sers"',
        "delete from ONLY (users)",
        "delete from users as x",
        "explain delete from users",
        "with x as (select 1) delete from users",
        "with users as (select 1) delete from users",
    ],
)
def test_spelling_does_not_matter(text: str) -> None:
    assert subject(text).action is Action.WRITE
    assert "DELETE" in subject(text).verbs
    assert relations(text)["?.users"] == "read write"


@pytest.mark.parametrize(
    ("text", "touched"),
    [
        ("with users as (select 1) select * from users", {}),
        ("with users as (select * from users) select * from users", {"?.users": "read"}),
        ("with recursive users as (select 1 union select * from users) select * from users", {}),
        ("with a as (select * from b), b as (select 1) select * from a", {"?.b": "read"}),
        ("with recursive a as (select * from b), b as (select 1) select * from a", {}),
        ("with users as (select 1) select * from public.users", {"public.users": "read"}),
        ("select * from (with users as (select 1) select * from users) x, users", {"?.users": "read"}),
        ("select (with users as (select 1) select 1 from users) from users", {"?.users": "read"}),
        ("with users as (select 1) select (select 1 from users)", {}),
        ("with users as (select 1) insert into users select * from users", {"?.users": "write"}),
        ("with users as (select 1) update users set a = 1 from users x where true", {"?.users": "read write"}),
        ("with users as (select 1) (with o as (select 1) select * from users, o) union select * from o", {"?.o": "read"}),
        ("with u as (select 1) merge into users using u on true when not matched then do nothing",
         {"?.users": "read write"}),
        ("create view users as with users as (table o) table users", {"?.users": "ddl", "?.o": "read"}),
    ],
)  # fmt: skip
def test_a_common_table_expression_hides_a_relation_where_it_does_so_for_the_server(
    text: str, touched: dict[str, str]
) -> None:
    assert relations(text) == touched


def test_what_is_not_understood_is_still_described() -> None:
    """A deny rule on verbs or tables must see it."""
    judged = subject("delete from s.users where f(a)")
    assert judged.verbs == ("DELETE",)
    assert relations("delete from s.users where f(a)") == {"s.users": "read write"}
    assert judged.facts["unknown_functions"] == ("f",)


def test_a_definition_lists_functions_that_nobody_knows() -> None:
    judged = subject("create view v as select s.f(a) from t where a === 1")
    assert judged.understood
    assert judged.facts["unknown_functions"] == ("s.f", "operator(===)")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("selec 1", 'position 1: syntax error at or near "selec"'),
        ("select é from where", 'not understood: syntax error at or near "where"'),
        ("select a from where", 'position 15: syntax error at or near "where"'),
        ("select f(1)", "the function f()"),
        ("select a === b", "operator ==="),
        ("select 'a\\'", "backslash"),
        (b"select '\xff'", "byte 9: not UTF-8"),
        (b"select \0 1", "NUL"),
        (b"select '" + b"a" * 256 * 1024 + b"'", "longer than 262144 bytes; send fewer rows at a time or use COPY"),
        ("select " + ",".join("1" * 50000), "too many parts in one text; send fewer rows at a time or use COPY"),
        ("select " + "(" * 20000, "memory exhausted"),
        ("select " + "+".join(["1"] * 50000), "stack depth"),
        ("select " + "+".join(["1"] * 2000), "nested too deeply"),
        ("select 1" + " union select 1" * 2000, "nested too deeply"),
        ("select 1;" * 1001, "more than 1000 statements"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_refusal_says_what_and_where(text: str | bytes, said: str) -> None:
    judged = subject(text)
    assert not judged.understood
    assert judged.problem.startswith(("not understood", "operator", "set_config"))
    assert said in judged.problem
