"""The SELECT that finds the rows of a statement: the same tables and the same WHERE, or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_plane.protocols.postgres.preview.deriving import Rows, asks_who_asks, query_of, rows_of, written_rows


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("delete from t", Rows("FROM t\n", (), "t")),
        ("DELETE FROM ONLY s.t AS x WHERE x.a = 1;", Rows("FROM ONLY s.t AS x\nWHERE x.a = 1\n", (), "x")),
        ("delete from t * where true -- all", Rows("FROM t *\nWHERE true\n", (), "t")),
        ("delete from t where a = 1 /* x */ returning *", Rows("FROM t\nWHERE a = 1\n", (), "t")),
        ("delete from t where b in (select 1 where true)", Rows("FROM t\nWHERE b in (select 1 where true)\n", (), "t")),
        ('update "T" set a = 1 where "B" = 2', Rows('FROM "T"\nWHERE "B" = 2\n', (), "T")),
        ("update ünï set a = 'é' where ö = 'ß'", Rows("FROM ünï\nWHERE ö = 'ß'\n", (), "ünï")),
        ("update t set a = (select 1 from u where true)", Rows("FROM t\n", (), "t")),
        ("update t set a = $1, b = $3 where c > $4 and d = $3", Rows("FROM t\nWHERE c > $1 and d = $2\n", (4, 3), "t")),
        ("update t set a = b is distinct from c where d", Rows("FROM t\nWHERE d\n", (), "t")),
        ("delete from t using u where t.a = u.a", Rows("FROM t\n, u\nWHERE t.a = u.a\n", (), "t", joins=True)),
        (
            "update t set a = b is distinct from c from u where t.a = u.a",
            Rows("FROM t\n, u\nWHERE t.a = u.a\n", (), "t", joins=True),
        ),
    ],
)
def test_the_rows_of_an_update_or_delete(text: str, expected: Rows) -> None:
    assert rows_of(text.encode()) == expected


@pytest.mark.parametrize(
    "text",
    [
        "select 1", "insert into t values (1)", "with x as (select 1) delete from t", "truncate t",
        "delete from t where current of c", "delete from t; delete from u", "not sql", "", "delete from t where a = $0",
        "merge into t using u on true when matched then delete",
    ],
)  # fmt: skip
def test_of_anything_else_there_are_none(text: str) -> None:
    assert rows_of(text.encode()) is None


def test_the_query_of_a_select_or_insert() -> None:
    assert query_of(b"select * from t where a = $2 limit 5;") == Rows(
        "FROM (\nselect * from t where a = $1 limit 5\n) AS assentry_rows\n", (2,)
    )
    found = query_of(b"insert into t (a) select a from u join v on true on conflict do nothing returning a")
    assert found == Rows("FROM (\nselect a from u join v on true\n) AS assentry_rows\n", ())
    for text in (
        b"select * from t for update", b"select 1 into t", b"insert into t values (1)",
        b"with d as (delete from t returning *) select * from d", b"insert into t default values",
        b"select * from (select * from t for share) x",
    ):  # fmt: skip
        assert query_of(text) is None, text


def test_rows_that_are_written_out_are_counted() -> None:
    assert written_rows(b"insert into t values (1), (2), (3)") == 3
    assert written_rows(b"insert into t select 1") is None
    assert written_rows(b"values (1), (2)") is None


@pytest.mark.parametrize("word", ["current_user", "session_user", "user", "current_role"])
def test_what_depends_on_who_asks_is_seen_wherever_it_stands(word: str) -> None:
    assert asks_who_asks(f"delete from t where a in (select case when {word} = b then 1 end from u)".encode())
    assert not asks_who_asks(b"delete from t where a < current_date")
    assert asks_who_asks(b"not sql"), "in doubt it does"


WORDS = st.sampled_from(
    [
        "delete",
        "update",
        "from",
        "where",
        "set",
        "using",
        "returning",
        "t",
        "u",
        "a",
        "b",
        "=",
        ",",
        "(",
        ")",
        "$1",
        "$2",
        "and",
        "or",
        "is",
        "distinct",
        "1",
        "'x'",
        "--",
        "/*",
        "*/",
        ";",
        "\n",
        "only",
        "as",
        "*",
        "select",
        "with",
        "current",
        "of",
    ]
)


@given(st.lists(WORDS, max_size=25))
def test_nothing_that_is_cut_ever_selects_anything_else(words: list[str]) -> None:
    """What comes out was compared with the statement; here that it never raises and holds no statement end."""
    for text in (" ".join(words).encode(), b"delete from t where " + " ".join(words).encode()):
        found = rows_of(text)
        if found is not None:
            assert found.source.startswith("FROM ")
            assert ";" not in found.source.replace("';'", "")
