"""Conditions of rules: CEL, compiled against declared types, so that a mistake is found when the policy is written.

Each variable is declared under its whole name (`op.has_where`), which makes an unknown field a compile error.
A condition sees no text, no value and no clock: its answer depends on subject, session and snapshot only.
Evaluation never raises: an error (a fact that this operation lacks) is ERROR, and the caller is strict with it.
"""

from __future__ import annotations

import difflib
import enum
import functools
import re
from collections.abc import Mapping
from typing import Any, final

import msgspec
from cel_expr_python import cel

from data_plane.gate.interface import Action, SessionFacts, Subject
from data_plane.policy.vocabulary import FACTS

_STRINGS = cel.Type.List(cel.Type.STRING)
_TYPES: Mapping[type, Any] = {bool: cel.Type.BOOL, int: cel.Type.INT, str: cel.Type.STRING, tuple: _STRINGS}
_SESSION: Mapping[str, Any] = {
    "requester.name": cel.Type.STRING,
    "requester.kind": cel.Type.STRING,
    "requester.groups": _STRINGS,
    "target.name": cel.Type.STRING,
    "target.environment": cel.Type.STRING,
    "target.protocol": cel.Type.STRING,
    "target.labels": cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
    "session.client_address": cel.Type.STRING,
    "session.application_name": cel.Type.STRING,
    "session.database": cel.Type.STRING,
}
_OPERATION: Mapping[str, Any] = {
    "op.action": cel.Type.STRING,
    "op.verbs": _STRINGS,
    "op.tables": _STRINGS,
    "op.functions": _STRINGS,
    "op.understood": cel.Type.BOOL,
    **{f"op.{name}": _TYPES[type(value)] for name, value in FACTS.items()},
}
VARIABLES = tuple(sorted({**_SESSION, **_OPERATION}))
_PLACED = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)' \(in container ''\)")
_WITHOUT_FACTS = frozenset({Action.SESSION, Action.CONNECT})
_LONGEST = 4096


class Truth(enum.Enum):
    TRUE = enum.auto()
    FALSE = enum.auto()
    ERROR = enum.auto()


class ConditionError(msgspec.Struct, frozen=True):
    """Why a text is no condition; line and column count from 1."""

    message: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.message}"


@final
class Condition:
    """A compiled condition."""

    __slots__ = ("_expression", "text")

    def __init__(self, text: str, expression: Any) -> None:
        self.text = text
        self._expression = expression

    def holds(self, facts: Facts) -> Truth:
        try:
            value = self._expression.eval(facts.activation)
            if value.type() != cel.Type.BOOL:
                return Truth.ERROR
            return Truth.TRUE if value.value() is True else Truth.FALSE
        except Exception:  # noqa: BLE001  # whatever the engine does, a decision must come out
            return Truth.ERROR

    @property
    def checked(self) -> bytes:
        """A google.protobuf.Any that holds a cel.expr.CheckedExpr."""
        return bytes(self._expression.serialize())

    @property
    def never(self) -> bool:
        """False whatever its variables are."""
        return self.holds(Facts({})) is Truth.FALSE


@final
class Facts:
    """What conditions see of one subject in one session; made once for all rules."""

    __slots__ = ("_made", "_values")

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self._made: Any = None

    @property
    def activation(self) -> Any:
        if self._made is None:
            self._made = _environment().Activation(dict(self._values))
        return self._made


@functools.lru_cache(maxsize=4096)
def compiled(text: str, *, of_session: bool = False) -> Condition | ConditionError:
    """`of_session`: the condition may speak of requester, target and session only."""
    if len(text) > _LONGEST:
        return ConditionError(f"a condition has at most {_LONGEST} characters")
    environment = _session_environment() if of_session else _environment()
    try:
        expression = environment.compile(text)
        if expression.return_type() != cel.Type.BOOL:
            kind = expression.return_type().name().lower()
            return ConditionError(f"a condition is true or false, this is of type {kind}")
    except Exception as error:  # noqa: BLE001  # the engine raises RuntimeError for each kind of mistake
        return _explained(str(error), of_session=of_session)
    return Condition(text, expression)


def session_values(session: SessionFacts, database: str) -> dict[str, Any]:
    requester, target = session.requester, session.target
    return {
        "requester.name": requester.name,
        "requester.kind": requester.kind,
        "requester.groups": list(requester.groups),
        "target.name": target.name,
        "target.environment": target.environment,
        "target.protocol": target.protocol,
        "target.labels": dict(target.labels),
        "session.client_address": session.client_address,
        "session.application_name": session.application_name,
        "session.database": database,
    }


def subject_values(subject: Subject) -> dict[str, Any]:
    values: dict[str, Any] = {
        "op.action": subject.action.value,
        "op.verbs": list(subject.verbs),
        "op.tables": names(subject, "relation"),
        "op.functions": names(subject, "function"),
        "op.understood": subject.understood,
    }
    facts = {**FACTS, **subject.facts} if _WITHOUT_FACTS.issuperset(subject.actions) else subject.facts
    for name, value in facts.items():
        if name in FACTS:
            values[f"op.{name}"] = list(value) if isinstance(value, tuple) else value
    return values


def names(subject: Subject, kind: str) -> list[str]:
    """Every name that a resource of this kind may have."""
    return [name for resource in subject.resources if resource.kind == kind for name in resource.candidates]


@functools.cache
def _environment() -> Any:
    return cel.NewEnv(variables={**_SESSION, **_OPERATION})


@functools.cache
def _session_environment() -> Any:
    return cel.NewEnv(variables=dict(_SESSION))


def _explained(text: str, *, of_session: bool) -> ConditionError:
    placed = _PLACED.search(text)
    if placed is None:
        return ConditionError(text.splitlines()[0])
    message = placed[3].removesuffix(" [INVALID_ARGUMENT]")
    if (unknown := _UNDECLARED.search(message)) is not None:
        known = [name for name in VARIABLES if not of_session or name in _SESSION]
        near = difflib.get_close_matches(unknown[1], known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        message = f"unknown field {unknown[1]!r}; {hint}"
    return ConditionError(message, int(placed[1]), int(placed[2]))
