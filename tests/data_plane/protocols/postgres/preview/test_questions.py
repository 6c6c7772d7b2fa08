"""What the core asks of a held unit, and the facts that its text gives away."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from data_plane.gate.impact import Fact, Impact
from data_plane.gate.interface import Held
from data_plane.protocols.postgres.preview.facts import facts_of
from data_plane.protocols.postgres.preview.question import Bound, Question
from tests.data_plane.protocols.postgres.core.conversation import (
    BIND,
    EXECUTE,
    HOLD,
    PARSE,
    PARSED,
    QUERY,
    SYNC,
    Conversation,
    FakeGate,
    ready,
)


def asked(*messages: bytes, before: tuple[bytes, ...] = (), answers: tuple[bytes, ...] = ()) -> Question:
    """Of a unit that policy holds with a wish for previews."""
    it, questions = Conversation(), []
    it.client(*before)
    it.target(*answers)
    previewed = msgspec.structs.replace(HOLD, preview=("facts", "count"))
    judge = FakeGate.judge

    def judged(gate: FakeGate, number: int, subjects: Any, raw: bytes) -> Any:
        verdict = judge(gate, number, subjects, raw)
        return Held(previewed) if isinstance(verdict, Held) else verdict

    it.gate.judge = judged.__get__(it.gate)  # type: ignore[method-assign]

    async def nothing() -> Impact:
        return Impact()

    def previews(question: Question) -> Any:
        questions.append(question)
        return nothing

    it.core._previews = previews
    it.client(*messages)
    assert it.preview is nothing
    assert asyncio.run(it.preview()) == Impact()
    (question,) = questions
    return question


def test_a_query_is_asked_about_with_the_state_of_its_session() -> None:
    question = asked(QUERY("delete from t where id = 1"))
    assert (question.text, question.bound, question.wanted) == (
        b"delete from t where id = 1", Bound(), ("facts", "count"),
    )  # fmt: skip
    assert question.path.schemas == ("app", "public")
    assert dict(question.state)["search_path"] == "app, public"
    assert question.statement is not None
    assert not question.in_transaction
    assert question.unguarded == ""


def test_parameters_are_those_of_the_portal_that_runs() -> None:
    text = "delete from t where id = $1 and n = $2"
    prepare = PARSE("s", text, (23, 25))
    question = asked(
        BIND("other", "s", (b"9", b"z")), BIND("", "s", (b"\0\0\0\7", None), (1, 0)), EXECUTE(""), SYNC,
        before=(prepare, SYNC), answers=(PARSED, ready()),
    )  # fmt: skip
    assert question.text == text.encode()
    assert question.bound == Bound((23, 25), (1, 0), (b"\0\0\0\7", None))
    assert question.bound.only([2, 1]) == Bound((25, 23), (0, 1), (None, b"\0\0\0\7"))
    assert "bound and executed once" in question.unguarded


def test_several_statements_are_asked_about_as_what_they_are() -> None:
    question = asked(QUERY("delete from t; delete from u"))
    assert question.statement is None
    assert [fact.name for fact in facts_of(question)][:2] == ["1. does", "1. changes"]


def test_a_unit_that_policy_wants_no_preview_of_is_not_asked_about() -> None:
    it = Conversation()
    it.core._previews = lambda _: (_ for _ in ()).throw(AssertionError)
    it.client(QUERY("delete from t"))
    assert it.preview is None


def facts(text: str) -> tuple[Fact, ...]:
    return facts_of(asked(QUERY(text)))


def test_the_facts_of_a_statement() -> None:
    found = {fact.name: fact.value for fact in facts("delete from s.t where id = 1 returning *")}
    assert found == {
        "does": "DELETE", "changes": "s.t", "reads": "s.t", "WHERE": "names a column",
        "RETURNING": "gives the rows that it changed to the client",
    }  # fmt: skip
    everything = {fact.name: fact.value for fact in facts("delete from t where true")}
    assert everything["WHERE"] == "none that names a column: it may touch every row"


def test_many_names_are_bounded_and_the_rest_is_counted() -> None:
    others = " and ".join(f"id in (select 1 from u{number})" for number in range(30))
    (reads,) = [fact.value for fact in facts(f"delete from t where {others}") if fact.name == "reads"]
    assert reads.endswith("and 11 more")
