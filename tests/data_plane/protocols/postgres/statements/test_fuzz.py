"""Whatever comes, an answer and never an exception; and spelling changes nothing."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pglast import parser

from data_plane.gate.interface import Action
from data_plane.protocols.postgres.statements import StatementClassifier
from tests.data_plane.protocols.postgres.statements.reading import described
from tests.data_plane.protocols.postgres.statements.test_attacks import AT_LEAST
from tests.data_plane.protocols.postgres.statements.test_sharing import TEXTS


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_get_an_answer(text: bytes) -> None:
    for one in StatementClassifier().parse(text).statements:
        assert one.subject.understood or (one.subject.action is Action.UNKNOWN and one.subject.problem)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(TEXTS), st.integers(0, 200), st.integers(0, 8), st.binary(max_size=6))
def test_damaged_statements_get_an_answer(text: str, at: int, cut: int, put: bytes) -> None:
    raw = text.encode()
    StatementClassifier().parse(raw[:at] + put + raw[at + cut :])


def complete(text: str) -> bool:
    """Whether it is a text of its own: one that is not (`select 'open`) goes on in what follows it."""
    try:
        return bool(parser.parse_sql_json(text))
    except parser.ParseError:
        return False


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(list(filter(complete, TEXTS))), min_size=2, max_size=4))
def test_statements_are_judged_alone_as_in_company(texts: list[str]) -> None:
    classifier = StatementClassifier()
    alone = [one for text in texts for one in described(classifier.parse(text.encode()), but_text=True)]
    together = classifier.parse(";\n".join(texts).encode())
    if len(together.statements) > 1 or len(alone) == 1:
        assert described(together, but_text=True) == alone


@pytest.mark.parametrize("text", [*TEXTS, *(text for text, _ in AT_LEAST)])
def test_comments_space_and_case_change_nothing(text: str) -> None:
    classifier = StatementClassifier()
    plain = classifier.parse(text.encode())
    if any(not one.subject.understood for one in plain.statements):
        return
    again = classifier.parse(respelled(text).encode())
    assert described(again, but_text=True) == described(plain, but_text=True)


def respelled(text: str) -> str:
    """The same tokens with other space, comments, and keywords and plain identifiers in other case."""
    chosen = random.Random(text)
    parts: list[str] = []
    end = 0
    for token in parser.scan(text):
        between = text[end : token.start]
        parts.append(chosen.choice([" /* ' */ ", ' -- "\n', "\n\t", " /*/* $$ */*/ "]) if between else "")
        word = text[token.start : token.end + 1]
        plain = token.kind != "NO_KEYWORD" or (token.name == "IDENT" and word[0] not in '"uU')
        parts.append(word.swapcase() if plain and chosen.random() < 0.7 else word)
        end = token.end + 1
    return "".join(parts)
