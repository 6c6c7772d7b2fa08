"""Several PREPAREs or DECLAREs in one Query: people see which of them runs, and approve all that they saw before."""

from __future__ import annotations

import pytest

from data_plane.gate.interface import Operation
from tests.data_plane.protocols.postgres.core.conversation import (
    BIND,
    BOUND,
    COMPLETE,
    EXECUTE,
    PARSE,
    PARSED,
    QUERY,
    SYNC,
    Conversation,
    FakeMasking,
    ready,
)

A = "PREPARE a AS DELETE FROM t WHERE id = 1"
B = "PREPARE b AS DELETE FROM t WHERE id > 0"
TWO = f"-- äöü\n{A} ;\n/* für b */ {B}"
CURSORS = "BEGIN; DECLARE one CURSOR FOR SELECT n FROM t WHERE id = 1; DECLARE all_of_them CURSOR FOR SELECT n FROM t; SELECT 1"


def prepared(query: str = TWO) -> Conversation:
    session = Conversation()
    session.client(QUERY(query))
    session.target(*[COMPLETE("PREPARE")] * query.lower().count("prepare "), ready())
    return session


def held(*messages: bytes, session: Conversation | None = None) -> Operation:
    session = session or prepared()
    session.client(*messages)
    return session.operations[-1]


@pytest.mark.parametrize(("name", "text"), [("a", A), ("b", B)])
def test_people_are_shown_the_one_that_is_bound(name: str, text: str) -> None:
    session = prepared()
    operation = held(BIND("", name), EXECUTE(""), SYNC, session=session)
    assert operation.text == text
    assert session.recorder.of("input")[-1][1] == text


@pytest.mark.parametrize(("name", "text"), [("a", A), ("b", B)])
def test_people_are_shown_the_one_that_execute_names(name: str, text: str) -> None:
    assert held(QUERY(f"execute {name}")).text == f"execute {name};\n{text}"
    assert held(PARSE("", f"execute {name}"), BIND("", ""), EXECUTE(""), SYNC).text == f"execute {name};\n{text}"


def test_the_one_that_runs_again_is_told_by_its_own_text() -> None:
    session = prepared("prepare x as select 1; prepare y as update t set n = 1")
    session.client(BIND("", "y"), EXECUTE(""), SYNC)
    session.target(BOUND, COMPLETE("UPDATE 1"), ready())
    session.client(BIND("", "x") + EXECUTE("") + SYNC)
    texts = [text for _, text, _ in session.recorder.of("input")]
    assert texts[1:] == ["prepare y as update t set n = 1", "prepare x as select 1"]


@pytest.mark.parametrize("query", ["execute a", "execute b"])
def test_what_is_approved_is_also_the_whole_query(query: str) -> None:
    assert TWO.encode() in held(QUERY(query)).parts
    assert TWO.encode() in held(BIND("", query[-1]), EXECUTE(""), SYNC).parts
    assert TWO.encode() in held(PARSE("", query), BIND("", ""), EXECUTE(""), SYNC).parts
    assert (
        TWO.encode() in held(BIND("", query[-1]), PARSE("", "delete from t"), BIND("p", ""), EXECUTE("p"), SYNC).parts
    )


def test_another_query_around_the_same_statement_is_another_operation() -> None:
    other = TWO.replace("für", "für das")
    first, second = (held(BIND("", "a"), EXECUTE(""), SYNC, session=prepared(query)) for query in (TWO, other))
    assert first.text == second.text
    assert first.digest != second.digest


def test_what_was_prepared_alone_is_approved_as_before() -> None:
    operation = held(QUERY("execute a"), session=prepared(A + ";"))
    assert operation.parts[:-1] == (b"execute a", f"{A};".encode())


def test_what_the_query_itself_prepares_is_not_told_twice() -> None:
    query = f"{TWO}; EXECUTE a; EXECUTE b"
    operation = held(QUERY(query), session=Conversation())
    assert operation.text == query
    assert operation.parts[:-1] == (query.encode(),)


def test_the_same_query_again_does_not_hide_what_it_names() -> None:
    query = "EXECUTE a; DEALLOCATE a; PREPARE a AS DELETE FROM t"
    session = prepared(f"{A}; {B}")
    session.client(QUERY(query))
    session.approve()
    session.target(COMPLETE("DELETE 1"), COMPLETE("DEALLOCATE"), COMPLETE("PREPARE"), ready())
    assert held(QUERY(query), session=session).text == f"{query};\nPREPARE a AS DELETE FROM t"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("one", "DECLARE one CURSOR FOR SELECT n FROM t WHERE id = 1"),
        ("all_of_them", "DECLARE all_of_them CURSOR FOR SELECT n FROM t"),
    ],
)
def test_a_fetch_says_which_cursor_it_reads(name: str, text: str) -> None:
    session = Conversation(masking=FakeMasking())
    session.client(QUERY(CURSORS))
    answers = ("BEGIN", "DECLARE CURSOR", "DECLARE CURSOR", "SELECT 1")
    session.target(*map(COMPLETE, answers), ready("T"))
    session.client(QUERY(f"fetch all from {name}"))
    assert session.recorder.of("input")[-1][1] == f"fetch all from {name};\n{text}"
    session.target(COMPLETE("FETCH 0"), ready("T"))
    operation = held(QUERY(f"delete from t; fetch all from {name}"), session=session)
    assert operation.text == f"delete from t; fetch all from {name};\n{text}"
    assert CURSORS.encode() in operation.parts


def test_parse_and_bind_apart_show_it_too() -> None:
    session = prepared()
    session.client(PARSE("s", "execute b"), SYNC)
    session.target(PARSED, ready())
    assert held(BIND("", "s"), EXECUTE(""), SYNC, session=session).text == f"execute b;\n{B}"
