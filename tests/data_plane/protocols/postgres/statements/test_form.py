"""Statements have one form when they differ in values only; whatever else differs, however small, is another form."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_plane.protocols.postgres.statements import StatementClassifier
from data_plane.protocols.postgres.statements.form import LONGEST, VALUE, form
from tests.data_plane.protocols.postgres.statements.test_attacks import AT_LEAST
from tests.data_plane.protocols.postgres.statements.test_sharing import TEXTS


def same(one: str, other: str) -> bool:
    first, second = form(one.encode()), form(other.encode())
    return first is not None and second is not None and first.tree == second.tree


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("DELETE FROM orders WHERE id = 5", "delete from orders where id =  -77"),
        ("DELETE FROM orders WHERE note = 'a'", "DELETE FROM orders WHERE note = E'b\\n' /* really */"),
        ("DELETE FROM t WHERE id = $1", "DELETE FROM t WHERE id=$1"),
        ("UPDATE t SET n = n - 5 WHERE id = 5", "UPDATE t SET n = n - 6 WHERE id = 5"),
        (
            "UPDATE t SET d = d - '1 day'::interval, s = s || 'a' WHERE id = 5",
            "UPDATE t SET d = d - '2 days'::interval, s = s || 'b' WHERE id = 5",
        ),
        ("DELETE FROM t WHERE id IN (1, 2)", "DELETE FROM t WHERE id IN (3, 4)"),
        ("DELETE FROM t WHERE a LIKE 'x%' AND NOT b BETWEEN 1 AND 2", "DELETE FROM t WHERE a LIKE '%' AND NOT b BETWEEN 0 AND 9"),
        ("UPDATE t SET a = 1, (b, c) = ('x', 2.5) WHERE k = 1", "UPDATE t SET a = 2, (b, c) = ('', 0.1) WHERE k = 2"),
        ("UPDATE t SET at = '2020-01-01'::date", "UPDATE t SET at = '2021-01-01'::date"),
        ("UPDATE t SET n = n + 1 WHERE id = 1", "UPDATE t SET n = n + 2 WHERE id = 1"),
        ("INSERT INTO t VALUES (1, 'a'), (2, 'b')", "INSERT INTO t VALUES (3, 'c'), (4, 'd')"),
        ("INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 1", "INSERT INTO t VALUES (2) ON CONFLICT (a) DO UPDATE SET b = 2"),
        ("SELECT * FROM t JOIN u ON u.a = 1 WHERE t.b = ARRAY[1, 2]", "SELECT * FROM t JOIN u ON u.a = 2 WHERE t.b = ARRAY[3, 4]"),
        ("SELECT * FROM t WHERE at > now() - interval '1 day'", "SELECT * FROM t WHERE at > now() - interval '2 days'"),
        ("SELECT * FROM t WHERE b IN (SELECT c FROM u WHERE d = 1)", "SELECT * FROM t WHERE b IN (SELECT c FROM u WHERE d = 2)"),
    ],
)  # fmt: skip
def test_values_that_columns_are_compared_with_or_given_may_differ(one: str, other: str) -> None:
    assert same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("DELETE FROM t WHERE id = 5", "DELETE FROM t"),
        ("UPDATE t SET m = m - 'a' WHERE id = 5", "UPDATE t SET m = m - 'ssn' WHERE id = 5"),
        ("UPDATE t SET m = m - 'a'::text WHERE id = 5", "UPDATE t SET m = m - 'ssn'::text WHERE id = 5"),
        ("UPDATE t SET m = m - ARRAY['a'] WHERE id = 5", "UPDATE t SET m = m - ARRAY['ssn'] WHERE id = 5"),
        ("UPDATE t SET m = m - ('a' || 'b') WHERE id = 5", "UPDATE t SET m = m - ('ss' || 'n') WHERE id = 5"),
        ("DELETE FROM t WHERE m - 'a' = '{}'", "DELETE FROM t WHERE m - 'ssn' = '{}'"),
        ("DELETE FROM t WHERE id = 5", "DELETE FROM u WHERE id = 5"),
        ("DELETE FROM t WHERE id = 5", "DELETE FROM s.t WHERE id = 5"),
        ("DELETE FROM t WHERE id = 5", "DELETE FROM ONLY t WHERE id = 5"),
        ("DELETE FROM t WHERE id = 5", "DELETE FROM t WHERE ref = 5"),
        ("DELETE FROM t WHERE id = 5", "DELETE FROM t WHERE id > 5"),
        ("DELETE FROM t WHERE id = 5", "DELETE FROM t WHERE id = 5 OR id = 6"),
        ("DELETE FROM t WHERE id = 5", "DELETE FROM t WHERE NOT id = 5"),
        ("DELETE FROM t WHERE id = 5", "DELETE FROM t WHERE id = id"),
        ("DELETE FROM t WHERE id = 5", "DELETE FROM t WHERE id = NULL"),
        ("DELETE FROM t WHERE id = 5", "DELETE FROM t WHERE id = '5'"),
        ("DELETE FROM t WHERE id = 5", "DELETE FROM t WHERE id = 5.5"),
        ("DELETE FROM t WHERE id = 5", "DELETE FROM t WHERE id = 99999999999"),
        ("DELETE FROM t WHERE id = 5", "DELETE FROM t WHERE id = $1"),
        ("DELETE FROM t WHERE id = 5", "DELETE FROM t WHERE id = 5::bigint"),
        ("DELETE FROM t WHERE id = 5", "DELETE FROM t WHERE id = 5 RETURNING *"),
        ("DELETE FROM t WHERE id = 5", "DELETE FROM t WHERE id = (SELECT 5)"),
        ("DELETE FROM t WHERE id = 5", "DELETE FROM t WHERE id OPERATOR(evil.=) 5"),
        ("DELETE FROM t WHERE id OPERATOR(s.=) 5", "DELETE FROM t WHERE id OPERATOR(s.=) 6"),
        ("DELETE FROM t WHERE id IN (1, 2)", "DELETE FROM t WHERE id IN (1, 2, 3)"),
        ("DELETE FROM t WHERE id = ANY('{1}')", "DELETE FROM t WHERE id = ANY('{1,2,3}')"),
        ("DELETE FROM t WHERE id = ANY(ARRAY[1])", "DELETE FROM t WHERE id = ANY(ARRAY[1, 2])"),
        ("DELETE FROM t WHERE true", "DELETE FROM t WHERE false"),
        ("DELETE FROM t WHERE 't'", "DELETE FROM t WHERE 'f'"),
        ("DELETE FROM t WHERE 1 = 2", "DELETE FROM t WHERE 1 = 1"),
        ("DELETE FROM t WHERE id = 5 AND 1 = 2", "DELETE FROM t WHERE id = 5 AND 1 = 1"),
        ("DELETE FROM t WHERE id = 5 OR false", "DELETE FROM t WHERE id = 5 OR true"),
        ("DELETE FROM t WHERE (id = 5) <> (1 = 1)", "DELETE FROM t WHERE (id = 5) <> (1 = 2)"),
        ("DELETE FROM t WHERE (SELECT 1) = 2", "DELETE FROM t WHERE (SELECT 1) = 1"),
        ("DELETE FROM t WHERE d->>'a' = 'x'", "DELETE FROM t WHERE d->>'b' = 'x'"),
        ("DELETE FROM t WHERE d @? '$.a'", "DELETE FROM t WHERE d @? '$.b'"),
        ("DELETE FROM t WHERE c = 'orders'::regclass", "DELETE FROM t WHERE c = 'payments'::regclass"),
        ("DELETE FROM t WHERE c = '{1}'::int[]", "DELETE FROM t WHERE c = '{2}'::int[]"),
        ("DELETE FROM t WHERE c = 'a'::mine", "DELETE FROM t WHERE c = 'b'::mine"),
        ("DELETE FROM t WHERE a = lower('X')", "DELETE FROM t WHERE a = lower('Y')"),
        ("DELETE FROM t WHERE a = f((SELECT b FROM u WHERE id = 1))", "DELETE FROM t WHERE a = f((SELECT b FROM u WHERE id = 2))"),
        ("UPDATE t SET a = nextval('s')", "UPDATE t SET a = nextval('other')"),
        ("UPDATE t SET a = 1", "UPDATE t SET b = 1"),
        ("UPDATE t SET a = true", "UPDATE t SET a = false"),
        ("UPDATE t SET a = 1", "UPDATE t SET a = NULL"),
        ("UPDATE t SET a = 1", "UPDATE t SET a = a"),
        ("UPDATE t SET a = 1", "UPDATE t SET a = DEFAULT"),
        ("UPDATE t SET a[1] = 1", "UPDATE t SET a[2] = 1"),
        ("INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (1), (2)"),
        ("INSERT INTO t (a, b) VALUES (1, 2)", "INSERT INTO t (a, c) VALUES (1, 2)"),
        ("INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING"),
        ("INSERT INTO t VALUES (1) ON CONFLICT (a) WHERE b = 1 DO NOTHING", "INSERT INTO t VALUES (1) ON CONFLICT (a) WHERE b = 2 DO NOTHING"),
        ("INSERT INTO t SELECT 1 FROM u", "INSERT INTO t SELECT 2 FROM u"),
        ("SELECT a FROM t", "SELECT b FROM t"),
        ("SELECT a FROM t", "SELECT DISTINCT a FROM t"),
        ("SELECT a FROM t", "SELECT a FROM t FOR UPDATE"),
        ("SELECT a FROM t LIMIT 1", "SELECT a FROM t LIMIT 1000"),
        ("SELECT a FROM t LIMIT 1", "SELECT a FROM t"),
        ("SELECT a FROM t OFFSET 1", "SELECT a FROM t OFFSET 2"),
        ("SELECT a, b FROM t ORDER BY 1", "SELECT a, b FROM t ORDER BY 2"),
        ("SELECT a, count(*) FROM t GROUP BY 1", "SELECT a, count(*) FROM t GROUP BY 2"),
        ("SELECT a FROM t TABLESAMPLE system (1)", "SELECT a FROM t TABLESAMPLE system (100)"),
        ("SELECT a FROM t UNION SELECT a FROM u", "SELECT a FROM t UNION ALL SELECT a FROM u"),
        ("SELECT count(*) FILTER (WHERE a = 1) FROM t", "SELECT count(*) FILTER (WHERE a = 2) FROM t"),
    ],
)  # fmt: skip
def test_anything_but_a_value_makes_another_form(one: str, other: str) -> None:
    assert form(one.encode()) is not None
    assert not same(one, other)


@pytest.mark.parametrize(
    "text",
    [
        "", "DROP TABLE t", "TRUNCATE t", "DO $$BEGIN END$$", "COPY t TO STDOUT", "COPY (SELECT 1) TO STDOUT", "SET a.b = 'x'",
        "CREATE TABLE t AS SELECT 1", "SELECT 1 INTO t", "GRANT SELECT ON t TO u", "CALL p(1)", "EXECUTE p(1)", "VACUUM",
        "EXPLAIN ANALYZE DELETE FROM t WHERE id = 1", "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE",
        "DELETE FROM t WHERE id = 5; DELETE FROM t WHERE id = 6", "DELETE FROM t WHERE", "LOCK t", "PREPARE p AS DELETE FROM t",
        "DELETE FROM t WHERE a = lower($1)", "DELETE FROM t WHERE id = ANY($1)", "SELECT a FROM t LIMIT $1", "SELECT $1",
        "DELETE FROM t WHERE $1", "DELETE FROM t WHERE 1 = $1", "DELETE FROM t WHERE d->>$1 = 'x'", "DECLARE c CURSOR FOR SELECT 1",
        "DELETE FROM t WHERE c = $1::regclass", "DELETE FROM t WHERE c = $1::mine", "DELETE FROM t WHERE note = 'a\\''",
        f"DELETE FROM t WHERE note = '{'x' * LONGEST}'",
    ],
)  # fmt: skip
def test_what_is_no_plain_statement_or_is_decided_by_a_parameter_has_no_form(text: str) -> None:
    assert form(text.encode()) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("DELETE FROM t WHERE id = - 5 AND 1=1", "DELETE FROM t WHERE id = ‹value› AND 1=1"),
        ("DELETE FROM tä WHERE a = '😀é' AND b IN ($1, 'x')", "DELETE FROM tä WHERE a = ‹value› AND b IN (‹value›, ‹value›)"),
        ("UPDATE t SET (a, b) = (1, 2) WHERE c = date '2020-01-01' LIMIT", None),
        ("UPDATE t SET (a, b) = (1, 2) WHERE c = date '2020-01-01'", "UPDATE t SET (a, b) = (‹value›, ‹value›) WHERE c = date ‹value›"),
        ("DELETE FROM t WHERE a = E'\\'' AND b = $$x$$", "DELETE FROM t WHERE a = ‹value› AND b = ‹value›"),
    ],
)  # fmt: skip
def test_people_see_which_values_may_differ(text: str, shown: str | None) -> None:
    found = form(text.encode())
    assert (found.text if found else None) == shown


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([*TEXTS, *(text for text, _ in AT_LEAST)]),
    st.integers(0, 200),
    st.integers(0, 8),
    st.binary(max_size=6),
)
def test_no_text_breaks_it(text: str, at: int, cut: int, put: bytes) -> None:
    raw = text.encode()
    form(raw[:at] + put + raw[at + cut :])


SHARED = [text for text in TEXTS if (found := form(text.encode())) and VALUE in found.text]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SHARED), st.data())
def test_only_what_is_marked_may_differ(text: str, data: st.DataObject) -> None:
    """Puts other values at the marks: the same form. Changes anything else that is a constant: another, or none."""
    found = form(text.encode())
    assert found is not None
    pieces = found.text.split(VALUE)
    left_out = re.match("(.*?)".join(map(re.escape, pieces)) + "$", text, re.DOTALL)
    assert left_out is not None
    values = [_other(value, data) for value in left_out.groups()]
    again = "".join(piece + value for piece, value in zip(pieces, [*values, ""], strict=True))
    assert same(text, again)
    place = data.draw(st.integers(0, len(pieces) - 1))
    changed = re.sub(r"\d+", lambda number: str(int(number[0]) + 1), pieces[place], count=1)
    if changed != pieces[place]:
        others = [*pieces[:place], changed, *pieces[place + 1 :]]
        assert not same(text, "".join(piece + value for piece, value in zip(others, [*values, ""], strict=True)))


def _other(value: str, data: st.DataObject) -> str:
    """One of the same kind."""
    if re.fullmatch(r"-?\d+", value):
        return str(data.draw(st.integers(0, 2**31 - 1)))
    return "'" + data.draw(st.text("abc '%", max_size=5)).replace("'", "''") + "'" if value.startswith("'") else value


def test_a_repeated_text_is_read_once() -> None:
    classifier = StatementClassifier()
    first = classifier.form(b"DELETE FROM t WHERE id = 5")
    assert first is not None
    assert classifier.form(b"DELETE FROM t WHERE id = 5") is first
