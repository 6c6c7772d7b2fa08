"""What the cache and the shape share must be what reading the text anew gives."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_plane.protocols.postgres.interface import ParsedQuery
from data_plane.protocols.postgres.statements import StatementClassifier
from data_plane.protocols.postgres.statements.cache import Cache
from data_plane.protocols.postgres.statements.classifier import read_text
from data_plane.protocols.postgres.statements.shape import DIGITS, differs_in_integers_only, kept_limits, shape
from tests.data_plane.protocols.postgres.statements.reading import described
from tests.data_plane.protocols.postgres.statements.test_attacks import AT_LEAST, NOT_UNDERSTOOD
from tests.data_plane.protocols.postgres.statements.test_judging import SENTENCES

CORPUS = [
    line for line in (Path(__file__).parent / "corpus.sql").read_text().splitlines() if line[:2] not in ("", "--")
]
TEXTS = [*CORPUS, *(text for text, *_ in SENTENCES), *(text for text, _ in AT_LEAST), *NOT_UNDERSTOOD]


def anew(text: bytes) -> ParsedQuery:
    return ParsedQuery(tuple(reading.statement for reading in read_text(text)))


def with_other_literals(text: str) -> list[str]:
    """The text with other constants where its shape has none."""
    found = []
    for number, word in (("7", "'x'"), ("0", "''"), ("900719", "'it''s; drop table t --'"), ("'5'", "8")):
        other = re.sub(r"(?<![A-Za-z0-9_])'[^']*'(?:'[^']*')*", lambda _, word=word: word, text)
        found.append(re.sub(r"(?<![\w.'])(?<!limit )\d+(?![\w.'])", lambda _, number=number: number, other))
    return found


@pytest.mark.parametrize("text", TEXTS)
def test_a_judgement_shared_by_shape_is_the_judgement_of_the_text(text: str) -> None:
    """Whatever came first with the shape, the text gets what it would get alone."""
    for other in with_other_literals(text):
        judged_alike(other, text)
        judged_alike(text, other)


def judged_alike(first: str, text: str) -> None:
    classifier = StatementClassifier()
    shared = classifier.parse(first.encode())
    found = classifier.parse(text.encode())
    if found is shared and first != text:
        fresh = anew(text.encode())
        failed = [one for one in fresh.statements if not one.subject.understood and not one.subject.verbs]
        assert failed or described(found) == described(fresh)  # what no server parses is refused there
    else:
        assert described(found) == described(anew(text.encode()))


@pytest.mark.parametrize("parameter", ["role", "search_path", "client_encoding", "default_transaction_read_only"])
def test_what_sets_a_harmless_parameter_shares_nothing_with_what_sets_another(parameter: str) -> None:
    setting = "select set_config(name, 'x', false) from pg_settings where name = '{}'"
    classifier = StatementClassifier()
    assert classifier.parse(setting.format("jit").encode()).statements[0].subject.understood
    assert not classifier.parse(setting.format(parameter).encode()).statements[0].subject.understood


def test_plain_statements_are_shared() -> None:
    shared = 0
    for text in CORPUS:
        classifier = StatementClassifier()
        first = classifier.parse(text.encode())
        shared += any(classifier.parse(other.encode()) is first for other in with_other_literals(text) if other != text)
    assert shared > 40


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("select * from t where a = 1 and b = 'x'", "select * from t where a = 22 and b = 'it''s'"),
        ("select * from t where a = 1 limit 10", "select * from t where a = 2 limit 10"),
        ("update t set a = 'x' where b in (1, 2)", "update t set a = '' where b in (3, 4)"),
        ("insert into t (a) values (1)", "insert into t (a) values (2)"),
        ("delete from t where a=1", "delete from t where a=2"),
    ],
)
def test_texts_that_differ_in_literals_share_one_judgement(one: str, other: str) -> None:
    classifier = StatementClassifier()
    assert classifier.parse(one.encode()) is classifier.parse(other.encode())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("select * from t limit 10", "select * from t limit 11"),
        ("select * from t limit  10", "select * from t limit  11"),
        ("select * from t fetch first 10 rows only", "select * from t fetch first 11 rows only"),
        ("select * from t limit  '10'", "select * from t limit  11"),
        ("select a1 from t", "select a2 from t"),
        ("select t.a from t where a in (1)", "select t.a from t where a in (1, 2)"),
        ("set search_path = 'a'", "set search_path = 'b'"),
        ("select set_config('search_path', 'a', false)", "select set_config('search_path', 'b', false)"),
        ("select nextval('a'); select 1", "select nextval('b'); select 1"),
        ("prepare p as select 1", "prepare p as select 2"),
        ("select f(1)", "select f(2)"),
        ("copy (select 1) to stdout", "copy (select 2) to stdout"),
        ("select 'a' -- 1", "select 'b' -- 1"),
        ("select E'a'", "select E'b'"),
        ('select "1" from t', 'select "2" from t'),
        ("select $$1$$", "select $$2$$"),
        ("select 1.5", "select 2.5"),
    ],
)
def test_what_may_differ_in_meaning_is_not_shared(one: str, other: str) -> None:
    classifier = StatementClassifier()
    assert classifier.parse(one.encode()) is not classifier.parse(other.encode())


@pytest.mark.parametrize(
    "text",
    [
        b"select E'a'", b"select 'a' = e'b'", b"select B'1'", b"select X'1f'", b"select N'a'", b"select U&'a'",
        b"select '\\'", b'select "a"', b"select $1", b"select $$a$$", b"select 1 -- x", b"select /* x */ 1",
        b"select '\xc3\xa9'", b"select 'open", b"select E'a ' , 'b'", b"select a'b ' , 'c'", b"x" * 5000,
    ],
)  # fmt: skip
def test_a_text_with_anything_unusual_has_no_shape(text: bytes) -> None:
    assert shape(text) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"select 1", b"select \0"),
        (b"select a1, t1.b2, 1.5, .5, 1e5, 0x1f, 1_000", b"select a1, t1.b2, 1.5, .5, 1e5, 0x1f, 1_000"),
        (b"select 'a''b', ''", b"select \0, \0"),
        (b"select 'a' 'b'", b"select \0 \0"),
        (b"select 12-3,a[4],f(5)", b"select \0-\0,a[\0],f(\0)"),
        (b"select 1 limit 10 offset 20", b"select \0 limit 10 offset \0"),
        (b"select 1 LIMIT 10", b"select \0 LIMIT 10"),
        (b"select 1 Limit 10", b"select \0 Limit \0"),
    ],
)
def test_the_shape_leaves_out_integers_and_plain_strings(text: bytes, found: bytes) -> None:
    assert shape(text) == found


@pytest.mark.parametrize("text", TEXTS)
def test_which_digits_a_text_has_makes_no_difference_to_its_shape(text: str) -> None:
    found, same = shape(text.encode()), shape(text.encode().translate(DIGITS))
    assert same == (None if found is None else found.translate(DIGITS))


@pytest.mark.parametrize(
    ("text", "integers_only"),
    [
        (b"select 1, 22", True),
        (b"select a1, 2", False),
        (b"select 1 limit 5", False),
        (b"select 1.5", False),
        (b"select 1, 'x'", False),
        (b"select 1, 2, 3, 4, 5", False),
    ],
)
def test_texts_are_known_by_their_digits_only_when_all_of_them_are_in_a_few_integers(
    text: bytes, integers_only: bool
) -> None:
    assert differs_in_integers_only(text, shape(text) or b"") is integers_only


def test_a_text_that_differs_in_the_digits_of_a_name_is_another_however_often_it_is_asked_for() -> None:
    classifier = StatementClassifier()
    for _ in range(3):
        relations = [
            classifier.parse(f"select * from t{number} where a = {number}".encode()).statements[0].subject.resources
            for number in range(10)
        ]
        assert len(set(relations)) == 10


def test_limits_that_are_kept_are_counted() -> None:
    assert kept_limits(b"select \0 limit 10 union (select \0 LIMIT 3)") == 2
    assert kept_limits(b"select \0 limit \0") == 0


WORDS = st.sampled_from(
    ["select", "from", "t", "where", "a", "=", "1", "22", "'x'", "'it''s'", "''", "E'a'", "limit", "5", "(", ")", ",",
     "in", "order by", "interval", "date", "union", "insert into", "values", "delete from", "update", "set", "::", "int",
     "'", '"', "--", "/*", "*/", "$$", "\\", "\n", ";", "a1", ".5", "1.5", "count(*)", "as", "null", "limit 7"]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(WORDS, max_size=14), st.sampled_from(["", " "]))
def test_texts_of_words_get_the_same_judgement_with_and_without_caches(words: list[str], space: str) -> None:
    text = space.join(words)
    classifier = StatementClassifier()
    for other in with_other_literals(text):
        classifier.parse(other.encode())
    found, fresh = classifier.parse(text.encode()), anew(text.encode())
    if any(not one.subject.understood for one in fresh.statements) and found.statements:
        return  # no server parses it; what is said of it reaches nobody
    assert described(found) == described(fresh)


# ---------------------------------------------------------------------- the cache


def test_a_cache_keeps_what_is_asked_for_and_stays_bounded() -> None:
    cache: Cache[int] = Cache(8, 10_000)
    for number in range(100):
        cache.put(b"%d" % number, number)
        assert cache.get(b"0") == 0
        assert len(cache) <= 9
    assert cache.get(b"50") is None
    assert cache.get(b"99") == 99


def test_a_cache_is_bounded_by_bytes() -> None:
    cache: Cache[int] = Cache(1000, 100)
    cache.put(b"x" * 51, 1)
    assert len(cache) == 0
    for number in range(50):
        cache.put(b"%020d" % number, number)
    assert len(cache) <= 4


def test_a_repeated_text_is_the_same_object() -> None:
    classifier = StatementClassifier()
    assert classifier.parse(b"select 1") is classifier.parse(b"select 1")
    assert classifier.parse(b"begin") is classifier.parse(b"begin")
