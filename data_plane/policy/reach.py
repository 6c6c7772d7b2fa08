"""Which actions policy may let a session do without asking people: what its account at the target is made for. Pure.

As `evaluate` decides, and total like it. Too much here would be a right that no operation needs; too little would
refuse at the target what policy allows. So an action is left out only when no operation of this session that has it
can be allowed: no rule reaches it, or a stricter rule fires on everything that the rule allows. Where the condition of
a rule speaks of the operation, what it could say is assumed: that it allows, and that it neither holds nor denies.

What people approve is not in it: the account is widened for that operation alone. `session` and `connect` need no
right. What is not understood may run any code, and needs what `exec` needs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, get_args

import msgspec

from data_plane.gate.interface import Action, Effect, SessionFacts
from data_plane.policy import conditions, model
from data_plane.policy.conditions import Condition, ConditionError, Facts, Truth
from data_plane.policy.globs import Patterns
from data_plane.policy.rules import CompiledPolicy, CompiledRule, selects
from data_plane.policy.vocabulary import SEVERITY, possible

_RIGHTS: Final[Mapping[Action, str]] = {
    **{Action(name): name for name in get_args(model.RoleAction)},
    Action.UNKNOWN: Action.EXEC.value,
}


class _Known(msgspec.Struct, frozen=True, eq=False):
    """What conditions see of the session, and of an operation whose worst action is this one and no more is known."""

    session: Facts
    by_worst: Mapping[str, Facts]

    def truths(self, condition: Condition, action: Action) -> Iterator[Truth]:
        """For operations that have this action: the worst of theirs is at least as bad. ERROR: it depends."""
        return (condition.holds(self.by_worst[worst]) for worst in SEVERITY[SEVERITY.index(action.value) :])


def actions(policies: Iterable[CompiledPolicy], session: SessionFacts, database: str = "") -> frozenset[str]:
    rules = [rule for policy in policies if selects(policy.spec, session) for rule in policy.rules]
    values = conditions.session_values(session, database)
    known = _Known(Facts(values), {worst: Facts({**values, "op.action": worst}) for worst in SEVERITY})
    allowing = [rule for rule in rules if rule.effect is Effect.ALLOW]
    stricter = [rule for rule in rules if rule.effect is not Effect.ALLOW]
    return frozenset(right for action, right in _RIGHTS.items() if _reached(action, allowing, stricter, known))


def needed(of_operation: Iterable[Action]) -> frozenset[str]:
    """The same for one operation with these actions."""
    return frozenset(_RIGHTS[action] for action in of_operation if action in _RIGHTS)


class Granted(msgspec.Struct, frozen=True):
    """The group roles that a session's account was made with, and what they were chosen by."""

    by: model.SessionRoles
    roles: frozenset[str]

    def lost(self, spec: model.TargetSpec, allowed: Collection[str]) -> frozenset[str]:
        """Those that the account would not be given any more, by the target and the actions as they are now."""
        return self.roles - _roles(spec.credential.session_roles or self.by, allowed)


def granted(spec: model.TargetSpec, allowed: Collection[str]) -> Granted | None:
    """None: the target's sessions have no accounts of their own."""
    by = spec.credential.session_roles
    return None if by is None else Granted(by, _roles(by, allowed))


def _roles(by: model.SessionRoles, allowed: Collection[str]) -> frozenset[str]:
    """What is made belongs to the owner, so whoever may make something is one of them."""
    found = {role for action, named in by.roles.items() if action in allowed for role in named}
    return frozenset(found | ({by.owner} if by.owner and Action.DDL in allowed else set()))


def _reached(action: Action, allowing: Iterable[CompiledRule], stricter: Iterable[CompiledRule], known: _Known) -> bool:
    """Whether an operation with this action can be allowed. Conditions cost most, so they are looked at last."""
    fitting = [rule for rule in allowing if _names(rule, action)]
    stopping = [rule for rule in stricter if fitting and action in rule.actions and _always(rule, action, known)]
    return any(
        not any(_covers(strict, rule) for strict in stopping) and _fires(rule, action, known) for rule in fitting
    )


def _names(rule: CompiledRule, action: Action) -> bool:
    if action not in rule.actions:
        return False
    return not rule.verbs or any(possible(action, verb) for verb in rule.verbs)


def _fires(rule: CompiledRule, action: Action, known: _Known) -> bool:
    """Whether its condition can let a rule that allows fire on an operation with this action."""
    if rule.condition is None:
        return True
    if _is_of_session(rule.condition):
        return rule.condition.holds(known.session) is Truth.TRUE
    return any(truth is not Truth.FALSE for truth in known.truths(rule.condition, action))


def _covers(strict: CompiledRule, allowing: CompiledRule) -> bool:
    """Whether whatever the one allows the other holds or denies, as far as verbs and names go. An allowing rule matches
    every table (function) that is named, so one pattern that is as wide is enough."""
    return (
        (not strict.verbs or (bool(allowing.verbs) and allowing.verbs <= strict.verbs))
        and _as_wide(strict.tables, allowing.tables)
        and _as_wide(strict.functions, allowing.functions)
    )


def _as_wide(strict: Patterns | None, allowing: Patterns | None) -> bool:
    return strict is None or (allowing is not None and strict.cover(allowing))


def _always(strict: CompiledRule, action: Action, known: _Known) -> bool:
    """Whether the rule's condition lets it fire on every operation with this action."""
    if strict.condition is None:
        return True
    if _is_of_session(strict.condition):
        return strict.condition.holds(known.session) is not Truth.FALSE
    return all(truth is Truth.TRUE for truth in known.truths(strict.condition, action))


def _is_of_session(condition: Condition) -> bool:
    return not isinstance(conditions.compiled(condition.text, of_session=True), ConditionError)
