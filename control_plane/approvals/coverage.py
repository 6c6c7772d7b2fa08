"""Whether a held operation is one of those that people have approved beforehand in a plan. Pure.

Equal means: the same text but for blanks and semicolons at its ends, run once, without parameters, and in a session
state in which nothing is said that the plan does not say. What a plan leaves open is what a session begins with
(`EXPECTED`), never "whatever it is": another schema, time zone or role makes the same text another operation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from control_plane.approvals import postgres_unit
from control_plane.approvals.reports import ReportedOperation
from control_plane.approvals.shown import Plan

# By protocol: the session state that a plan means when it does not say otherwise.
EXPECTED: Final[Mapping[str, Mapping[str, str]]] = {
    "postgres": {
        "DateStyle": "ISO, MDY",
        "IntervalStyle": "postgres",
        "TimeZone": "UTC",
        "client_encoding": "UTF8",
        "role": "none",
        "search_path": "$user, public",
        "standard_conforming_strings": "on",
    }
}
# By protocol: whether the bytes run the text once and nothing besides.
_RUNS_ONCE: Final[Mapping[str, Callable[[bytes, str], bool]]] = {"postgres": postgres_unit.runs_once}
_BLANKS: Final = " \t\r\n\f\v"
_ACCOUNT: Final = "user"  # at the target: the agent's own, which no client chooses; not told where each session has one
_UTC: Final = frozenset({"UTC", "Etc/UTC", "GMT", "Etc/GMT", "Etc/UCT", "UCT", "Zulu", "Etc/Zulu", "Etc/Universal"})


def expected_state(protocol: str, database: str, told: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Complete and sorted: what a session must say of itself for anything of the plan to run."""
    named = {"database": database} if database else {}
    return tuple(sorted({**EXPECTED.get(protocol, {}), **named, **told}.items()))


def item_of(plan: Plan, used: Collection[int], operation: ReportedOperation) -> int | str:
    """The number of the unused statement that this operation is; otherwise in words why it is none."""
    open_items = [number for number in range(1, len(plan.statements) + 1) if number not in used]
    equal = [number for number in open_items if same_text(plan.statements[number - 1], operation.text)]
    if not equal:
        return "its text is none of those that are left in the plan"
    if plan.ordered and equal[0] != open_items[0]:
        return f"the plan is ordered and number {open_items[0]} comes first"
    if operation.parameters:
        return "it has parameters, and a plan's statements have none"
    once = _RUNS_ONCE.get(operation.protocol)
    if once is None or not once(operation.raw, operation.text):
        return "its bytes run more than its text once"
    return _other_state(plan.session_state, operation.session_state) or equal[0]


def same_text(planned: str, asked: str) -> bool:
    return ends_trimmed(planned) == ends_trimmed(asked)


def ends_trimmed(text: str) -> str:
    """Without blanks at both ends and semicolons at the end: they mean nothing, and clients differ in sending them.
    Only what is a blank to a server: a no-break space is part of a name there."""
    return text.strip(_BLANKS).rstrip(f";{_BLANKS}")


def _other_state(planned: Sequence[tuple[str, str]], told: Sequence[tuple[str, str]]) -> str:
    now = dict(told)
    account = now.pop(_ACCOUNT, "$user")
    wanted = {name: _meant(name, value, account) for name, value in planned}
    found = {name: _of_time_zone(name, value) for name, value in now.items()}
    other = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    return f"its session state differs from the plan's in {', '.join(other)}" if other else ""


def _meant(name: str, value: str, account: str) -> str:
    """As a session would tell it."""
    if name != "search_path":
        return _of_time_zone(name, value)
    schemas = (schema.strip().strip('"') for schema in value.split(","))
    return ", ".join(account if schema == "$user" else schema for schema in schemas)


def _of_time_zone(name: str, value: str) -> str:
    return "UTC" if name == "TimeZone" and value in _UTC else value
