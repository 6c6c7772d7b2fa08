"""What statements store of what they read: by name, conservatively."""

from __future__ import annotations

import pytest

from tests.data_plane.protocols.postgres.statements.reading import statement


def stored(text: str) -> set[str]:
    """The column names; `*` for what cannot be followed."""
    lineage = statement(text).stores
    if lineage is None:
        return set()
    sources = lineage.outputs or ()
    names = {name for source in sources for name in source.columns}
    grown: set[str] = set()
    while grown != names:
        grown = set(names)
        names |= {name for given, source in lineage.derived if given in names for name in source.columns}
    opaque = lineage.renamed or any(source.opaque for source in sources)
    return names | ({"*"} if opaque else set())


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("insert into t select a from u where b = 1 order by c", {"a"}),
        ("insert into t values (1, $1), (default, now())", set()),
        ("insert into t values ((select a from u))", {"a"}),
        ("insert into t select * from u", {"*"}),
        ("insert into t table u", {"*"}),
        ("insert into t default values", set()),
        ("insert into t values (1) on conflict (i) do update set a = excluded.a", set()),
        ("insert into t values (1) on conflict (i) do update set a = t.b", {"b"}),
        ("insert into t values (1) on conflict (i) do update set a = (select excluded.b from u excluded)", {"b"}),
        ("insert into t values (1) returning a", set()),
        ("update t set a = b || 'x', c = 1 where d = 2", {"b"}),
        ("update t set (a, b) = (select c, d from u)", {"c", "d"}),
        ("update t set a = u.b from u where u.c = t.c", {"b"}),
        ("update t set a = s.x from (select b as x from u) s", {"x", "b"}),
        ("delete from t where a = 1", set()),
        ("merge into t using u on t.i = u.i when matched then update set a = u.b", {"b"}),
        ("merge into t using u on t.i = u.i when not matched then insert values (u.b)", {"b"}),
        ("create table t as select a from u", {"a"}),
        ("create table t as select a from u with no data", {"a"}),
        ("create table t as execute p", {"*"}),
        ("create table t (a int)", set()),
        ("create materialized view t as select a from u", {"a"}),
        ("create view t as select a from u", {"a"}),
        ("select a into t from u", {"a"}),
        ("select 1 into t union select a from u", {"a"}),
        ("select a from u", set()),
        ("select a from u for update", set()),
        ("with q as (select a as x from u) insert into t select x from q", {"x", "a"}),
        ("with q as (insert into t select a from u) select 1", {"a"}),
        ("with q as (delete from u returning a as x), r as (insert into t select x from q) select 1", {"x", "a"}),
        ("explain analyze insert into t select a from u", {"a"}),
        ("explain analyze create table t as select a from u", {"a"}),
        ("copy (insert into t select a from u returning b) to stdout", {"a"}),
        ("create rule r as on update to t do also insert into u select old.a", {"a"}),
        ("alter table t alter a type text using b", {"b"}),
        ("alter table t add a text generated always as (upper(b)) stored", {"b"}),
        ("alter table t add a int default 1, add check (b > 1)", set()),
        ("create index on t (a, lower(b))", set()),
        ("select pg_notify('c', a), setval('s', b) from t", {"a", "b"}),
        ("select nextval('s')", set()),
        ("prepare p as insert into t select a from u", set()),
    ],
)
def test_what_is_stored(text: str, names: set[str]) -> None:
    assert stored(text) == names
