"""A condition's mistakes are found when it is written, with line and column."""

from __future__ import annotations

import pytest

from data_plane.policy import conditions, vocabulary
from data_plane.policy.conditions import Condition, ConditionError
from data_plane.protocols.postgres.statements import findings


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("!op.has_wher", 1, 4, "unknown field 'op.has_wher'; did you mean 'op.has_where'?"),
        ("op.has_where &&\n  op.limit == 'x'", 2, 12, "found no matching overload"),
        ("op.has_where &&", 1, 16, "Syntax error"),
        ("op.command", 1, 1, "of type string"),
        ("zebra", 1, 1, "known: op.action"),
    ],
)
def test_a_mistake_has_line_column_and_advice(text: str, line: int, column: int, message: str) -> None:
    error = conditions.compiled(text)
    assert isinstance(error, ConditionError)
    assert (error.line, error.column) == (line, column)
    assert message in error.message


def test_a_condition_on_the_session_may_not_speak_of_operations() -> None:
    assert isinstance(conditions.compiled("op.has_where", of_session=True), ConditionError)
    assert isinstance(conditions.compiled("target.environment == 'x'", of_session=True), Condition)


def test_a_condition_that_is_never_true_is_known() -> None:
    never, sometimes = conditions.compiled("false && op.has_where"), conditions.compiled("op.has_where")
    assert isinstance(never, Condition)
    assert isinstance(sometimes, Condition)
    assert never.never
    assert not sometimes.never


def test_a_condition_is_not_endless() -> None:
    assert isinstance(conditions.compiled("!" * 5000 + "op.has_where"), ConditionError)
    assert isinstance(conditions.compiled("(" * 2000 + "true" + ")" * 2000), ConditionError)


def test_every_fact_of_postgres_may_be_named_with_its_own_type() -> None:
    declared = {name: type(value) for name, value in vocabulary.FACTS.items()}
    told = {name: type(value) for name, value in findings.FACTS.items() if name not in {"tables", "functions"}}
    assert told.items() <= declared.items()
