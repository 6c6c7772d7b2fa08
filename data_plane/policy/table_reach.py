"""What the policies of a target could ever let anybody do to which tables, with or without people's approval. Pure.

For the rights that accounts at the target may have: whatever no rule reaches, no account needs. It is wide where a rule
leaves something open (a condition may always hold) and narrow where a rule that denies leaves nothing open.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from data_plane.gate.interface import Action, TargetFacts
from data_plane.policy import model
from data_plane.policy.globs import matches
from data_plane.policy.rules import actions_of, selects_target
from data_plane.policy.vocabulary import possible

EVERY_TABLE: Final = ("*",)
_CHANGES: Final = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")
_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {  # what verbs other than those four may carry
    "COPY": ("INSERT",),
    "MERGE": ("INSERT", "UPDATE", "DELETE"),
    "LOCK": ("UPDATE",),
    "SELECT": ("UPDATE",),  # with a row lock
    "REFRESH": (),
    "NOTIFY": (),
}
NEEDS_RIGHTS_OF: Final[Mapping[Action, str]] = {Action.UNKNOWN: Action.EXEC}  # as `reach` has it
_WHATEVER: Final = frozenset({"EXPLAIN", "PREPARE", "EXECUTE", "DECLARE", "CREATE"})  # may carry any change


class Reached(msgspec.Struct, frozen=True):
    """What one rule that allows or holds lets happen. `masks`: those that are on whatever it lets through."""

    rule: str
    action: str
    changes: frozenset[str]  # INSERT, UPDATE, DELETE, TRUNCATE
    tables: tuple[str, ...]
    functions: tuple[str, ...]  # empty: any
    held: bool
    masks: frozenset[str]
    denied: tuple[tuple[str, ...], ...] = ()  # tables that others deny for this action, whoever asks
    denied_changes: Mapping[str, tuple[str, ...]] = {}

    def covers(self, name: str) -> bool:
        return _any(self.tables, name) and not any(_any(tables, name) for tables in self.denied)

    def names(self, name: str) -> bool:
        """Whether it is written out in the rule, and not only matched."""
        return name in self.tables and self.covers(name)

    def changes_of(self, name: str) -> frozenset[str]:
        return frozenset(change for change in self.changes if not _any(self.denied_changes.get(change, ()), name))

    def covers_all_of(self, schema: str) -> bool:
        """Whether every table in it that is made one day is reached."""
        if any(_touches(pattern, schema) for tables in self.denied for pattern in tables):
            return False
        return any(
            pattern == "*" or (pattern.endswith(".*") and matches(pattern, f"{schema}.")) for pattern in self.tables
        )

    def changes_in(self, schema: str) -> frozenset[str]:
        """Of every table in it that is made one day."""
        denied = self.denied_changes.get
        return frozenset(
            one for one in self.changes if not any(_touches(pattern, schema) for pattern in denied(one, ()))
        )

    def may_make_in(self, schema: str) -> bool:
        return any(_touches(pattern, schema) for pattern in self.tables)

    def calls(self, name: str) -> bool:
        return not self.functions or _any(self.functions, name)


def reached(policies: Iterable[model.PolicySpec], target: TargetFacts) -> tuple[Reached, ...]:
    """One for each action of each rule, in the order of the policies."""
    chosen = [spec for spec in policies if selects_target(spec.targets, target)]
    everybodys = frozenset(
        mask for spec in chosen if spec.requesters == model.RequesterSelector() for mask in _session_masks(spec)
    )
    return tuple(one for spec in chosen for one in _of_policy(spec, chosen, everybodys))


def _session_masks(spec: model.PolicySpec) -> frozenset[str]:
    return frozenset(mask for rule in spec.rules if rule.effect is None and not rule.when for mask in rule.mask)


def _of_policy(
    spec: model.PolicySpec, chosen: Iterable[model.PolicySpec], everybodys: frozenset[str]
) -> Iterator[Reached]:
    denying = [rule for other in chosen if _binds(other, spec) for rule in other.rules if _always_denies(rule)]
    masks = everybodys | _session_masks(spec)
    for rule in spec.rules:
        if rule.effect in ("allow", "hold"):
            yield from _of_rule(rule, denying, masks | frozenset(rule.mask))


def _binds(other: model.PolicySpec, spec: model.PolicySpec) -> bool:
    """Whether what it denies is denied to everybody that this policy lets do something."""
    return other.requesters in (model.RequesterSelector(), spec.requesters)


def _always_denies(rule: model.Rule) -> bool:
    return rule.effect == "deny" and not rule.when and not rule.match.functions


def _of_rule(rule: model.Rule, denying: Iterable[model.Rule], masks: frozenset[str]) -> Iterator[Reached]:
    verbs = frozenset(verb.upper() for verb in rule.match.verbs)
    for action in sorted(actions_of(rule)):
        if action in (Action.SESSION, Action.CONNECT):
            continue
        if verbs and not any(possible(action, verb) for verb in verbs):
            continue
        strict = [other for other in denying if action in actions_of(other)]
        whole = [other.match.tables or EVERY_TABLE for other in strict if not other.match.verbs]
        yield Reached(
            rule=rule.name,
            action=NEEDS_RIGHTS_OF.get(action, action),
            changes=_changes(verbs) if action is Action.WRITE else frozenset(),
            tables=rule.match.tables or EVERY_TABLE,
            functions=tuple(rule.match.functions),
            held=rule.effect == "hold",
            masks=masks,
            denied=tuple(whole),
            denied_changes=_denied_changes(strict),
        )


def _changes(verbs: frozenset[str]) -> frozenset[str]:
    if not verbs or not verbs.isdisjoint(_WHATEVER):
        return frozenset(_CHANGES)
    return frozenset(change for verb in verbs for change in _NEEDS.get(verb, (verb,)) if change in _CHANGES)


def _denied_changes(strict: Iterable[model.Rule]) -> dict[str, tuple[str, ...]]:
    denied: dict[str, tuple[str, ...]] = {}
    for rule in strict:
        for verb in rule.match.verbs:
            if verb.upper() in _CHANGES:
                denied[verb.upper()] = denied.get(verb.upper(), ()) + (rule.match.tables or EVERY_TABLE)
    return denied


def _any(patterns: Iterable[str], name: str) -> bool:
    return any(matches(pattern, name) for pattern in patterns)


def _touches(pattern: str, schema: str) -> bool:
    """Whether it may match something in the schema: the part of a pattern before its first star says."""
    before, star, _ = pattern.partition("*")
    return (
        f"{schema}.".startswith(before) or before.startswith(f"{schema}.") if star else before.startswith(f"{schema}.")
    )
