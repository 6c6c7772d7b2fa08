"""Where output columns come from: by name, conservatively."""

from __future__ import annotations

import pytest

from data_plane.protocols.postgres.interface import ColumnSource
from tests.data_plane.protocols.postgres.statements.reading import lineage, statement

OPAQUE = "*"


def shown(source: ColumnSource) -> str:
    return " ".join([*sorted(source.columns), *([OPAQUE] if source.opaque else [])])


@pytest.mark.parametrize(
    ("text", "outputs"),
    [
        ("select a, t.b, s.t.c from t", ["a", "b", "c"]),
        ("select 1, 'x', null, $1, now(), current_user", ["", "", "", "", "", ""]),
        ("select a || b, a + 1, -a, a is null, a = 'x'", ["a b", "a", "a", "a", "a"]),
        ('select a::text, cast(a as int), a collate "C"', ["a", "a", "a"]),
        ("select upper(a), coalesce(a, b), greatest(a, b), nullif(a, b)", ["a", "a b", "a b", "a b"]),
        ("select case when a = 1 then b else c end, case a when b then 1 end", ["a b c", "a b"]),
        ("select array[a, b], row(a, b), (a, b)", ["a b", "a b", "a b"]),
        ("select count(*), count(a), count(distinct a), count(a) filter (where b > 0)", ["", "", "", ""]),
        ("select sum(a), max(a), string_agg(a, ',' order by b), array_agg(a)", ["a", "a", "a b", "a"]),
        ("select rank() over (order by a), lag(a) over (partition by b)", ["", "a"]),
        ("select percentile_disc(0.5) within group (order by a)", ["a"]),
        ("select pg_typeof(a), pg_column_size(a)", ["", ""]),
        ("select json_build_object('a', a), to_jsonb(a), jsonb_agg(a)", ["a", "a", "a"]),
        ("select json_object('k': a), json_array(a, b), json_arrayagg(a)", ["a", "a b", "a"]),
        ("select xmlelement(name x, a), xmlforest(a as b), xmlserialize(content a as text)", ["a", "a", "a"]),
        ("select a[1], (a).b, (a).b[c]", ["a", "a b", "a b c"]),
        ("select extract(year from a), substring(a from 1 for 2), trim(a), a at time zone 'utc'", ["a", "a", "a", "a"]),
        ("select f(a), s.lower(a), public.count(a)", [OPAQUE, OPAQUE, OPAQUE]),
        ("select lo_get(a), upper(f(a))", [OPAQUE, OPAQUE]),
        ("select row(t.*), to_json(t.*), count(t.*)", [OPAQUE, OPAQUE, ""]),
        ("select t.row_to_json, t.to_jsonb, t.name from t", ["row_to_json *", "to_jsonb *", "name"]),
        ("select (select a from o), array(select a from o), (select count(*) from o)", ["a", "a", ""]),
        ("select exists (select 1 from o where a = 1), exists (select * from o)", ["a", ""]),
        ("select a in (select b from o), a = any (array[b])", ["a b", "a b"]),
        ("select (select o from o), (select * from o)", ["o", OPAQUE]),
        ("values (1, 'x'), ((select a from t), 2)", ["a", ""]),
        ("select a, b from t union select c, 1 from o", ["a c", "b"]),
        ("select a from t union select b from o union all select c from p", ["a b c"]),
        ("select a from t intersect (select b from o except values (1))", ["a b"]),
        ("insert into t values (1) returning a, upper(b)", ["a", "b"]),
        ("update t set a = 1 returning old.a, new.a || b", ["a", "a b"]),
        ("delete from t returning a", ["a"]),
        ("merge into t using o on true when matched then delete returning merge_action(), t.a", ["", "a"]),
        ("copy (select upper(a) from t) to stdout", ["a"]),
        ("explain select a from t", [""]),
        ("explain select f(a) from t", [OPAQUE]),
        ("show x", [""]),
        ("select from t", []),
    ],
)
def test_outputs_say_which_columns_they_read(text: str, outputs: list[str]) -> None:
    found = lineage(text).outputs
    assert found is not None
    assert [shown(source) for source in found] == outputs


@pytest.mark.parametrize(
    "text",
    ["select * from t", "select a, t.* from t", "select (t).* from t", "table t", "delete from t returning *",
     "select 1 union select * from t", "select * from t union select a from o", "call p()"],
)  # fmt: skip
def test_outputs_are_unknown_behind_a_star(text: str) -> None:
    assert lineage(text).outputs is None


@pytest.mark.parametrize(
    "text", ["delete from t", "insert into t values (1)", "fetch c", "execute p", "create table t ()"]
)
def test_what_gives_no_rows_of_its_own_has_no_lineage(text: str) -> None:
    assert statement(text).lineage is None


@pytest.mark.parametrize(
    ("text", "derived"),
    [
        ("select x from (select a as x from t) s", {"x": "a"}),
        ("select x from (select a from t) s(x)", {"x": "a"}),
        ("select upper from (select upper(a) from t) s", {"upper": "a"}),
        ("select upper from (select upper(a)::varchar from t) s", {"upper": "a"}),
        ("select text from (select (a || b)::text from t) s", {"text": "a b"}),
        ('select "case" from (select case when true then a || b end from t) s', {"case": "a b"}),
        ("select b from (select case when a = 1 then 1 else o.b end from t, o) s", {"b": "a b"}),
        ("select nullif from (select nullif(a, '') from t) s", {"nullif": "a"}),
        ("select xmlforest from (select xmlforest(a) from t) s", {"xmlforest": "a"}),
        ("select b from (select (a).b[1] from t) s", {"b": "a b"}),
        ("select max from (select (select max(a) from t)) s", {"max": "a"}),
        ('select "array" from (select array(select a from t)) s', {"array": "a"}),
        ("select x from (select t as x from t) s", {"x": "t"}),
        ("select x from (select *, a || b as x from t) s", {"x": "a b"}),
        ("select column1 from (values ((select a from t))) v", {"column1": "a"}),
        ("select x from (values ((select a from t), 1)) v(x, y)", {"x": "a", "y": ""}),
        ("with w as (select a as x from t) select x from w", {"x": "a"}),
        ("with w(x) as (select a from t) select x from w", {"x": "a"}),
        ("with w as (delete from t returning a as x) select x from w", {"x": "a"}),
        ("with recursive w(x) as (select a from t union select x || b from w, o) select x from w", {"x": "a b x"}),
        ("select x from (select a as x from t union select b from o) s", {"x": "a b"}),
        (
            "select value from t, jsonb_each_text(to_jsonb(t)) e",
            {"key": "t", "value": "t", "jsonb_each_text": "t", "e": "t"},
        ),
        ("select w from t, regexp_split_to_table(a, ' ') w", {"w": "a", "regexp_split_to_table": "a"}),
        ("select x from t, json_to_record(a) as r(x text)", {"x": "a", "json_to_record": "a", "r": "a"}),
        ("select g from generate_series(1, 2) g", {}),
        ("select x from (select f(a) as x from t) s", {"x": OPAQUE}),
        ("select c from (select a as b from t) s, lateral (select b as c) u", {"b": "a", "c": "b"}),
    ],
)
def test_names_that_a_statement_gives_are_derived(text: str, derived: dict[str, str]) -> None:
    found = lineage(text)
    assert not found.renamed
    assert {name: shown(source) for name, source in found.derived} == derived


@pytest.mark.parametrize(
    "text",
    [
        "select x from t as u(x)",
        "select x from (select * from t) as u(x)",
        "with w(x) as (select * from t) select x from w",
        "select x from (t join o on true) as j(x)",
        "select x from t, unnest(t.a) x",
        "select x from t, json_populate_record(null::o, t.a) x",
        "select x from t, f(a) x",
        "select x from t, xmltable('/a' passing a columns x text)",
        "select x from t, json_table(a, '$' columns (x text path '$'))",
        "with w(x) as (select 1 union select * from t) select x from w",
    ],
)
def test_names_that_cannot_be_followed_make_all_computed_columns_suspect(text: str) -> None:
    assert lineage(text).renamed


@pytest.mark.parametrize(
    ("text", "aliases"),
    [
        ("select 1 from t", {"t"}),
        ("select 1 from s.t x", {"x"}),
        ("select 1 from t, o x join p on true, (select 1 from q) s", {"t", "x", "p", "q", "s"}),
        ("with w as (select 1) select 1 from w", {"w"}),
        ("select 1 from t join o using (a) as j", {"t", "o", "j"}),
        ("select 1 from generate_series(1, 2)", {"generate_series"}),
        ("select (select 1 from o)", {"o"}),
        ("delete from t x using o returning 1", {"x", "o", "old", "new"}),
        ("update t set a = 1 returning with (old as o) 1", {"t", "old", "new", "o"}),
    ],
)
def test_every_name_of_a_row_is_an_alias(text: str, aliases: set[str]) -> None:
    assert lineage(text).aliases == aliases


def test_a_call_that_may_be_a_column_of_a_row_reads_a_column_of_its_name() -> None:
    outputs = lineage("select rank(t), now(), count(t) from t").outputs
    assert outputs is not None
    assert [set(output.columns) for output in outputs] == [{"rank"}, set(), set()]
