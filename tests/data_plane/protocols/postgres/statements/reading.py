"""What the tests of this package share: one statement in, its parts out."""

from __future__ import annotations

from data_plane.gate.interface import Subject
from data_plane.protocols.postgres.interface import Lineage, ParsedQuery, Statement
from data_plane.protocols.postgres.statements import StatementClassifier

CLASSIFIER = StatementClassifier()


def parse(text: str | bytes) -> ParsedQuery:
    return CLASSIFIER.parse(text if isinstance(text, bytes) else text.encode())


def statement(text: str | bytes) -> Statement:
    statements = parse(text).statements
    assert len(statements) == 1, statements
    return statements[0]


def subject(text: str | bytes) -> Subject:
    return statement(text).subject


def relations(text: str) -> dict[str, str]:
    """Relation name to its accesses, sorted and joined by a space."""
    found = [resource for resource in subject(text).resources if resource.kind == "relation"]
    return {resource.candidates[0]: " ".join(sorted(resource.access)) for resource in found}


def lineage(text: str) -> Lineage:
    found = statement(text).lineage
    assert found is not None
    return found


def described(query: ParsedQuery, *, but_text: bool = False) -> list[object]:
    """Everything in it as plain values, for comparing judgements that are different objects."""
    return [_described(one, {"text"} if but_text else set()) for one in query.statements]


def _described(one: Statement, without: set[str]) -> object:
    subject = one.subject
    effects = [
        (
            type(effect).__name__,
            [_value(getattr(effect, field), without) for field in effect.__struct_fields__ if field not in without],
        )
        for effect in one.effects
    ]
    return (
        subject.action,
        subject.verbs,
        subject.resources,
        dict(subject.facts),
        subject.understood,
        subject.problem,
        effects,
        one.references,
        one.lineage,
        one.stores,
        one.copy,
        one.transaction,
    )


def _value(value: object, without: set[str]) -> object:
    return _described(value, without) if isinstance(value, Statement) else value
