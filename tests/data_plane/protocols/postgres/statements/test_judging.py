"""What ordinary statements do: action, verbs, relations, facts."""

from __future__ import annotations

import pytest

from data_plane.protocols.postgres.statements import FACTS
from tests.data_plane.protocols.postgres.statements.reading import parse, relations, statement, subject

SENTENCES = [
    # text, action, verbs, relations
    ("select 1", "read", "SELECT", {}),
    ("select", "read", "SELECT", {}),
    ("values (1), (2)", "read", "", {}),
    ("table users", "read", "SELECT", {"?.users": "read"}),
    ("select * from s.users u join orders o on o.u = u.id", "read", "SELECT", {"s.users": "read", "?.orders": "read"}),
    ("select (select max(x) from t)", "read", "SELECT", {"?.t": "read"}),
    ("select 1 where exists (select from t) order by (select 1 from o)", "read", "SELECT", {"?.t": "read", "?.o": "read"}),
    ("select 1 union select 2 from t except all table o", "read", "SELECT", {"?.t": "read", "?.o": "read"}),
    ("select * from t tablesample system (1)", "read", "SELECT", {"?.t": "read"}),
    ("select * from only t, lateral (select * from o) x", "read", "SELECT", {"?.t": "read", "?.o": "read"}),
    ("select * from t for update", "write", "SELECT", {"?.t": "lock read"}),
    ("select * from t, (select * from o) x for key share of t", "write", "SELECT", {"?.t": "lock read", "?.o": "lock read"}),
    ("select * into n from t", "ddl", "SELECT CREATE", {"?.t": "read", "?.n": "ddl"}),
    ("create table n as select * from t", "ddl", "CREATE SELECT", {"?.t": "read", "?.n": "ddl"}),
    ("create materialized view n as table t", "ddl", "CREATE SELECT", {"?.t": "read", "?.n": "ddl"}),
    ("insert into t values (1)", "write", "INSERT", {"?.t": "write"}),
    ("insert into t default values", "write", "INSERT", {"?.t": "write"}),
    ("insert into t select * from o", "write", "INSERT SELECT", {"?.t": "write", "?.o": "read"}),
    ("insert into t values (1) returning *", "write", "INSERT", {"?.t": "read write"}),
    ("insert into t values (1) on conflict (a) do update set a = 2", "write", "INSERT UPDATE", {"?.t": "read write"}),
    ("insert into t values (1) on conflict do nothing", "write", "INSERT", {"?.t": "write"}),
    ("update t set a = b from o where t.id = o.id", "write", "UPDATE", {"?.t": "read write", "?.o": "read"}),
    ("update t set (a, b) = (select c, d from o)", "write", "UPDATE SELECT", {"?.t": "read write", "?.o": "read"}),
    ("delete from s.t using o where true", "write", "DELETE", {"s.t": "read write", "?.o": "read"}),
    (
        "merge into t using o on t.a = o.a when matched then delete when not matched then insert values (1)",
        "write", "MERGE DELETE INSERT", {"?.t": "read write", "?.o": "read"},
    ),
    ("truncate t, s.o cascade", "write", "TRUNCATE", {"?.t": "write", "s.o": "write"}),
    ("lock table t in access exclusive mode", "write", "LOCK", {"?.t": "lock"}),
    ("refresh materialized view v", "write", "REFRESH", {"?.v": "write"}),
    ("copy t (a) to stdout", "read", "COPY", {"?.t": "read"}),
    ("copy t from stdin", "write", "COPY", {"?.t": "write"}),
    ("copy (select * from t) to stdout", "read", "COPY SELECT", {"?.t": "read"}),
    ("copy (delete from t returning a) to stdout", "write", "COPY DELETE", {"?.t": "read write"}),
    ("copy t to program 'sh'", "exec", "COPY", {"?.t": "read"}),
    ("copy t from '/etc/passwd'", "admin", "COPY", {"?.t": "write"}),
    ("do $$ begin end $$", "exec", "DO", {}),
    ("call s.p(1)", "exec", "CALL", {}),
    ("listen c", "read", "LISTEN", {}),
    ("notify c, 'x'", "write", "NOTIFY", {}),
    ("unlisten *", "session", "UNLISTEN", {}),
    ("show search_path", "session", "SHOW", {}),
    ("set constraints all deferred", "session", "SET", {}),
    ("discard all", "session", "DISCARD", {}),
    ("create table t (a int references o, b int default 1, like p)", "ddl", "CREATE",
     {"?.t": "ddl", "?.o": "ddl", "?.p": "ddl"}),
    ("create table t partition of p for values in (1)", "ddl", "CREATE", {"?.t": "ddl", "?.p": "ddl"}),
    ("create view v as select * from t", "ddl", "CREATE SELECT", {"?.v": "ddl", "?.t": "read"}),
    ("create index on t (lower(a)) where b > 0", "ddl", "CREATE", {"?.t": "ddl"}),
    ("create sequence s.q", "ddl", "CREATE", {"s.q": "ddl"}),
    ("create foreign table f (a int) server x", "ddl", "CREATE", {"?.f": "ddl"}),
    ("create schema s create table t (a int)", "ddl", "CREATE", {"?.t": "ddl"}),
    ("create rule r as on insert to t do also delete from o", "ddl", "CREATE DELETE", {"?.t": "ddl", "?.o": "read write"}),
    ("create trigger g after insert on t for each row execute function f()", "ddl", "CREATE", {"?.t": "ddl"}),
    ("create function f() returns int language sql begin atomic select a from t; end", "ddl", "CREATE SELECT",
     {"?.t": "read"}),
    ("alter table t add column a int default random()", "ddl", "ALTER", {"?.t": "ddl"}),
    ("alter table t attach partition p default", "ddl", "ALTER", {"?.t": "ddl", "?.p": "ddl"}),
    ("alter table t owner to x", "admin", "ALTER", {"?.t": "ddl"}),
    ("alter table t disable row level security", "admin", "ALTER", {"?.t": "ddl"}),
    ("alter table t rename to n", "ddl", "ALTER", {"?.t": "ddl", "?.n": "ddl"}),
    ("alter table t set schema n", "ddl", "ALTER", {"?.t": "ddl"}),
    ("drop table t, s.o cascade", "ddl", "DROP", {"?.t": "ddl", "s.o": "ddl"}),
    ("drop trigger g on s.t", "ddl", "DROP", {"s.t": "ddl"}),
    ("drop policy p on t", "admin", "DROP", {"?.t": "ddl"}),
    ("drop extension x", "admin", "DROP", {}),
    ("comment on column s.t.a is 'x'", "ddl", "COMMENT", {"s.t": "ddl"}),
    ("grant select on s.t to r", "admin", "GRANT", {"s.t": "ddl"}),
    ("revoke all on all tables in schema s from public", "admin", "REVOKE", {}),
    ("grant a to b", "admin", "GRANT", {}),
    ("vacuum full t", "admin", "VACUUM", {"?.t": "write"}),
    ("analyze t (a)", "admin", "ANALYZE", {"?.t": "write"}),
    ("cluster t using i", "admin", "CLUSTER", {"?.t": "write"}),
    ("reindex table t", "admin", "REINDEX", {"?.t": "write"}),
    ("reindex database d", "admin", "REINDEX", {}),
    ("checkpoint", "admin", "CHECKPOINT", {}),
    ("load 'x'", "admin", "LOAD", {}),
    ("alter system set log_statement = 'all'", "admin", "ALTER", {}),
    ("alter role r set search_path = x", "admin", "ALTER", {}),
    ("alter database d set search_path = x", "admin", "ALTER", {}),
    ("reassign owned by a to b", "admin", "REASSIGN", {}),
    ("drop owned by a", "admin", "DROP", {}),
    ("import foreign schema s from server x into y", "admin", "IMPORT", {}),
    ("security label on table t is 'x'", "admin", "SECURITY", {"?.t": "ddl"}),
    ("create extension dblink", "admin", "CREATE", {}),
    ("create server x foreign data wrapper y", "admin", "CREATE", {}),
    ("create user mapping for x server y", "admin", "CREATE", {}),
    ("create role r superuser", "admin", "CREATE", {}),
    ("create policy p on t using (a = 1)", "admin", "CREATE", {"?.t": "ddl"}),
    ("create event trigger e on ddl_command_start execute function f()", "admin", "CREATE", {}),
    ("create subscription s connection 'x' publication p", "admin", "CREATE", {}),
    ("update pg_catalog.pg_class set relname = 'x' where oid = 1", "admin", "UPDATE", {"pg_catalog.pg_class": "read write"}),
    ("delete from pg_proc", "admin", "DELETE", {"?.pg_proc": "read write"}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "action", "verbs", "touched"), SENTENCES)
def test_a_statement_is_judged_by_what_it_does(text: str, action: str, verbs: str, touched: dict[str, str]) -> None:
    judged = subject(text)
    assert judged.understood, judged.problem
    assert judged.action == action
    assert " ".join(judged.verbs) == verbs
    assert relations(text) == touched


@pytest.mark.parametrize("text", [text for text, *_ in SENTENCES])
def test_every_fact_is_there_with_its_type(text: str) -> None:
    facts = subject(text).facts
    assert facts.keys() == FACTS.keys()
    assert all(type(facts[name]) is type(value) for name, value in FACTS.items())


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("delete from t", {"has_where": False}),
        ("delete from t where true", {"has_where": False}),
        ("delete from t where 1 = 1 or now() > '2020-01-01'", {"has_where": False}),
        ("delete from t where id = 1", {"has_where": True}),
        ("update t set a = b", {"has_where": False}),
        ("update t set a = 1 where current of c", {"has_where": True}),
        ("with d as (delete from t returning id) select * from d where id = 1", {"has_where": False}),
        ("with d as (delete from t where id = 1) update o set a = 1", {"has_where": False}),
        ("with d as (delete from t where id = 1) update o set a = 1 where b = 2", {"has_where": True}),
        ("insert into t values (1) on conflict (a) do update set a = 2", {"has_where": True}),
        ("merge into t using o on true when matched then delete", {"has_where": False}),
        ("merge into t using o on t.a = o.a when matched then delete", {"has_where": True}),
        ("merge into t using o on t.a = o.a when not matched by source then delete", {"has_where": False}),
        ("truncate t", {"has_where": False}),
        ("select * from t where a = 1", {"has_where": True}),
        ("select * from t", {"has_where": False, "has_limit": False, "limit": -1}),
        ("explain select * from t where a = 1 limit 3", {"has_where": True, "limit": 3, "explain": True}),
        ("select 1 limit $1", {"has_limit": True, "limit": -1}),
        ("select 1 fetch first 7 rows only", {"has_limit": True, "limit": 7}),
        ("delete from t where a = 1 returning b", {"returning": True, "columns": ("a", "b")}),
        ("insert into t (a, b) values (1, 2)", {"assigned": ("a", "b")}),
        ("update t set a = b where c = 1", {"assigned": ("a",), "columns": ("c", "b")}),
        ("explain (analyze) select 1", {"command": "EXPLAIN", "explain": True, "analyze": True}),
        ("explain (analyze off) select 1", {"explain": True, "analyze": False}),
        ("select for update", {"locks": True}),
        ("drop table t cascade", {"command": "DROP", "object": "table", "cascade": True}),
        ("drop materialized view t", {"object": "matview", "cascade": False}),
        ("create temp table t (a int)", {"object": "table", "temporary": True}),
        ("do language plpython3u 'x'", {"language": "plpython3u"}),
        ("create function f() returns int language plpgsql security definer as 'x'",
         {"language": "plpgsql", "security_definer": True}),
        ("copy t to program 'x'", {"copy": "to-program"}),
        ("copy t from '/x'", {"copy": "from-file"}),
        ("copy t from stdin", {"copy": "from-client"}),
        ("select a::s.mood, b::int, '1'::mood[]", {"types": ("s.mood", "?.mood")}),
        ("set work_mem = '1GB'", {"settings": ("work_mem",)}),
        ("select lower(a), pg_catalog.upper(b), s.f(c)", {
            "functions": ("?.lower", "pg_catalog.upper", "s.f"), "unknown_functions": ("s.f",)}),
    ],
)  # fmt: skip
def test_facts_say_what_conditions_ask_for(text: str, facts: dict[str, object]) -> None:
    found = subject(text).facts
    assert {name: found[name] for name in facts} == facts


def test_a_query_string_gives_a_statement_for_each_of_its_statements() -> None:
    assert [one.subject.action for one in parse("begin; delete from t; commit").statements] == [
        "session",
        "write",
        "session",
    ]


@pytest.mark.parametrize("text", ["", " \n", ";;", "-- nothing", "/* nothing */ ;"])
def test_an_empty_query_has_no_statements(text: str) -> None:
    assert parse(text).statements == ()


def test_a_function_is_a_resource_of_its_own() -> None:
    found = [resource for resource in subject("select s.f(lower(a)) from t").resources if resource.kind == "function"]
    assert [(resource.candidates, resource.access) for resource in found] == [
        (("s.f",), ("execute",)),
        (("?.lower",), ("execute",)),
    ]


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("drop function s.f(int)", "function", "s.f"),
        ("drop schema s", "schema", "s"),
        ("drop database d", "database", "d"),
        ("drop role r", "role", "r"),
        ("create extension dblink", "extension", "dblink"),
        ("alter type s.mood add value 'x'", "type", "s.mood"),
        ("create domain d as int check (value > 0)", "type", "?.d"),
        ("create type c as (a int)", "type", "?.c"),
        ("create aggregate a (int) (sfunc = f, stype = int)", "function", "?.a"),
        ("create operator === (function = f, leftarg = int, rightarg = int)", "operator", "?.==="),
        ("grant usage on schema s to r", "schema", "s"),
        ("grant execute on function f(int) to r", "function", "?.f"),
        ("revoke all on all tables in schema s from r", "schema", "s"),
        ("notify c", "channel", "c"),
        ("load 'x'", "library", "x"),
        ("create trigger g after insert on t execute function s.f()", "function", "s.f"),
    ],
)
def test_what_a_definition_is_about_is_a_resource(text: str, kind: str, name: str) -> None:
    assert (kind, name) in {
        (resource.kind, resource.candidates[0]) for resource in subject(text).resources if resource.kind == kind
    }


def test_copy_to_and_from_the_client_is_described() -> None:
    copy = statement(
        "copy s.t (a, b) to stdout with (format csv, header, delimiter ';', null 'x', encoding 'utf8')"
    ).copy
    assert copy is not None
    assert (copy.to_client, copy.relation, copy.columns) == (True, "s.t", ("a", "b"))
    assert dict(copy.options) == {"format": "csv", "header": "true", "delimiter": ";", "null": "x", "encoding": "utf8"}
    query = statement("copy (select 1) to stdout csv").copy
    assert query is not None
    assert (query.relation, query.columns, query.options) == ("", (), (("format", "csv"),))
    inward = statement("copy t from stdin (freeze, force_null (a, b))").copy
    assert inward is not None
    assert (inward.to_client, inward.relation, inward.options) == (
        False,
        "?.t",
        (("freeze", "true"), ("force_null", "a,b")),
    )
    assert statement("copy t to '/x'").copy is None
