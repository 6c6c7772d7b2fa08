"""What policy says of an operation: deny over hold over allow, and deny when no rule says anything.

Pure and total: a decision depends on the subject, the session and the snapshot, on nothing else, so the gate may
keep it; it is the same for every order of policies and rules; no input raises. Where a rule's condition cannot be
evaluated, a deny or hold counts as fired and an allow does not.

A rule that names tables (functions) and allows must match every candidate of every one of them, and there must be
one; to hold or deny, one candidate is enough.

An operation has the actions of all its parts, and `op.action` is the worst of them. A rule that denies or holds fires
on any of them. Rules that allow must cover all of them, one rule or several together; people who are asked see the
whole operation, so a hold also covers what is milder than what it names. `session` actions are allowed unless a rule
denies them, or holds them by name. What is not understood has the action `unknown` too, whatever else it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, final, get_args

import msgspec

from data_plane.gate.interface import Action, Decision, Effect, SessionFacts, Subject
from data_plane.policy import conditions
from data_plane.policy.conditions import Facts, Truth
from data_plane.policy.model import PreviewKind
from data_plane.policy.rules import CompiledPolicy, CompiledRule, selects
from data_plane.policy.vocabulary import SEVERITY

BUILT_IN_CONNECT = "builtin/connect"
RELATION, FUNCTION = "relation", "function"  # kinds of resources that rules may name
_STRICTNESS = (Effect.ALLOW, Effect.HOLD, Effect.DENY)
_BUILT_IN_SESSION = Decision(Effect.ALLOW, ("builtin/session",))
_NOT_UNDERSTOOD = frozenset({Action.UNKNOWN})
_NEED_NO_RULE = frozenset({Action.SESSION})
_UNMATCHED = Decision(Effect.DENY, (), "no rule allows this here")


@final
class _Candidates:
    """Rules of one effect that action and verbs do not rule out. Those that name tables are found by a table's name."""

    __slots__ = ("_by_table", "_every", "_others")

    def __init__(self, rules: Iterable[CompiledRule]) -> None:
        self._every = tuple(rules)
        self._others: list[CompiledRule] = []
        self._by_table: dict[str, list[CompiledRule]] = {}
        for rule in self._every:
            keys = rule.tables.keys if rule.tables is not None else None
            if keys is None:
                self._others.append(rule)
            for key in keys or ():
                self._by_table.setdefault(key, []).append(rule)

    def fired(self, seen: _Seen) -> list[CompiledRule]:
        if not self._by_table:
            return [rule for rule in self._every if _fires(rule, seen)]
        found = dict.fromkeys(self._others)
        for name in seen.relations:
            schema, dot, _ = name.partition(".")
            if schema == "?":
                return [rule for rule in self._every if _fires(rule, seen)]
            for key in (name, schema + dot):
                if key in self._by_table:
                    found.update(dict.fromkeys(self._by_table[key]))
        return sorted((rule for rule in found if _fires(rule, seen)), key=_name)


_MOST_REMEMBERED = 512


@final
class SessionPolicy:
    """The policies that select one session, ready to decide its operations."""

    __slots__ = ("_remembered", "_rules", "_values", "masks", "selected")

    def __init__(self, policies: Iterable[CompiledPolicy], session: SessionFacts, database: str = "") -> None:
        chosen = [policy for policy in policies if selects(policy.spec, session)]
        self.selected = bool(chosen)
        self._values = conditions.session_values(session, database)
        self._rules = tuple(sorted((rule for policy in chosen for rule in policy.rules), key=_name))
        self._remembered: dict[tuple[frozenset[Action], bool, tuple[str, ...]], tuple[_Candidates, ...]] = {}
        self.masks = _session_masks(chosen, Facts(self._values))

    def decide(self, subject: Subject) -> Decision:
        try:
            return self._decide(subject)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with the subject, it is not allowed
            return Decision(Effect.DENY, (), f"policy could not judge this ({type(error).__name__})")

    def connect(self) -> Decision:
        """Whether a session may open: a policy selects it and no rule with action `connect` denies or holds it."""
        if not self.selected:
            return _UNMATCHED
        decision = self.decide(Subject(Action.CONNECT, ("CONNECT",), (), {}, understood=True))
        return decision if decision.rules else Decision(Effect.ALLOW, (BUILT_IN_CONNECT,))

    def _decide(self, subject: Subject) -> Decision:
        denies, holds, allows = self._candidates(subject)
        seen = _Seen(subject, self._values)
        if fired := denies.fired(seen):
            return _merged(fired)
        allowed = allows.fired(seen)
        left = _left(_actions(subject), allowed)
        if held := holds.fired(seen):
            graver = _graver(left, held, subject)
            return _uncovered(graver) if graver else _held(held, allowed)
        if left:
            return _uncovered(left) if allowed else _UNMATCHED
        return _merged(allowed) if allowed else _BUILT_IN_SESSION

    def _candidates(self, subject: Subject) -> tuple[_Candidates, ...]:
        """The rules that action and verbs do not rule out; few combinations occur, so they are remembered."""
        key = (subject.actions, subject.understood, subject.verbs)
        found = self._remembered.get(key)
        if found is None:
            fitting = [rule for rule in self._rules if _may_fire(rule, subject)]
            found = tuple(
                _Candidates(rule for rule in fitting if rule.effect is effect)
                for effect in (Effect.DENY, Effect.HOLD, Effect.ALLOW)
            )
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = found
        return found


@final
class _Seen:
    """What rules look at in a subject, worked out when the first rule asks."""

    __slots__ = ("_facts", "_functions", "_relations", "_subject", "_values")

    def __init__(self, subject: Subject, values: Mapping[str, Any]) -> None:
        self._subject = subject
        self._values = values
        self._facts: Facts | None = None
        self._relations: frozenset[str] | None = None
        self._functions: frozenset[str] | None = None

    @property
    def facts(self) -> Facts:
        if self._facts is None:
            self._facts = Facts({**self._values, **conditions.subject_values(self._subject)})
        return self._facts

    @property
    def relations(self) -> frozenset[str]:
        if self._relations is None:
            self._relations = frozenset(conditions.names(self._subject, RELATION))
        return self._relations

    @property
    def functions(self) -> frozenset[str]:
        if self._functions is None:
            self._functions = frozenset(conditions.names(self._subject, FUNCTION))
        return self._functions


def _may_fire(rule: CompiledRule, subject: Subject) -> bool:
    if rule.verbs and rule.verbs.isdisjoint(subject.verbs):
        return False
    return not rule.actions.isdisjoint(_actions(subject))


def _actions(subject: Subject) -> frozenset[Action]:
    return subject.actions if subject.understood else subject.actions | _NOT_UNDERSTOOD


def _left(actions: frozenset[Action], allowed: Iterable[CompiledRule]) -> frozenset[Action]:
    """What no rule covers, of the actions that need one."""
    left = actions - _NEED_NO_RULE
    for rule in allowed:
        left -= rule.actions
    return left


def _graver(left: frozenset[Action], held: Iterable[CompiledRule], subject: Subject) -> frozenset[Action]:
    """Of what is left, what nobody is asked about: it is worse than all that the rules hold."""
    asked = _actions(subject).intersection(action for rule in held for action in rule.actions)
    worst = max(map(SEVERITY.index, asked))
    return frozenset(action for action in left if SEVERITY.index(action) > worst)


def _uncovered(left: frozenset[Action]) -> Decision:
    return Decision(Effect.DENY, (), f"no rule allows all of this here: it is also {', '.join(sorted(left))}")


def _fires(rule: CompiledRule, seen: _Seen) -> bool:
    strict = rule.effect is not Effect.ALLOW
    if (tables := rule.tables) is not None:
        names = seen.relations
        if not (tables.any_perhaps(names) if strict else tables.all_surely(names)):
            return False
    if (functions := rule.functions) is not None:
        names = seen.functions
        if not (functions.any_perhaps(names) if strict else functions.all_surely(names)):
            return False
    if rule.condition is None:
        return True
    truth = rule.condition.holds(seen.facts)
    return truth is Truth.TRUE or (strict and truth is Truth.ERROR)


def _merged(fired: Sequence[CompiledRule]) -> Decision:
    """One decision of rules that agree in effect; in order of their names, so that the first is always the same."""
    first = fired[0].decision
    if len(fired) == 1:
        return first
    return msgspec.structs.replace(
        first,
        rules=tuple(rule.name for rule in fired),
        message=next((rule.decision.message for rule in fired if rule.decision.message), ""),
        masks=_all_masks(fired),
    )


def _held(fired: Sequence[CompiledRule], allowed: Sequence[CompiledRule]) -> Decision:
    """The shortest wait of those that fired. Rules that ask different people cannot both be obeyed: a denial."""
    chains = {rule.decision.chain for rule in fired}
    decision = _merged(fired)
    if len(chains) > 1:
        asked = ", ".join(f"{rule.name} asks for {rule.decision.chain}" for rule in fired)
        return Decision(Effect.DENY, decision.rules, f"rules ask for different approvals, tell an admin: {asked}")
    return msgspec.structs.replace(
        decision,
        wait_seconds=min(rule.decision.wait_seconds for rule in fired),
        wait_in_transaction_seconds=min(rule.decision.wait_in_transaction_seconds for rule in fired),
        ticket=all(rule.decision.ticket for rule in fired),
        masks=_all_masks([*fired, *allowed]),
        preview=_previews(rule.decision for rule in fired),
    )


def _previews(decisions: Iterable[Decision]) -> tuple[str, ...]:
    """All that is asked for, in the order of their cost."""
    asked = {kind for decision in decisions for kind in decision.preview}
    return tuple(kind for kind in get_args(PreviewKind) if kind in asked)


def _all_masks(rules: Iterable[CompiledRule]) -> tuple[str, ...]:
    return tuple(sorted({mask for rule in rules for mask in rule.decision.masks}))


def _session_masks(policies: Iterable[CompiledPolicy], facts: Facts) -> tuple[str, ...]:
    """Masks that hold for the whole session; a condition that cannot be evaluated masks."""
    masks: set[str] = set()
    for policy in policies:
        for condition, names in policy.masks:
            if condition is None or condition.holds(facts) is not Truth.FALSE:
                masks.update(names)
    return tuple(sorted(masks))


def combined(decisions: Sequence[Decision]) -> Decision:
    """One decision for a batch: deny over hold over allow. Empty: nothing was understood, so a denial."""
    if len(decisions) == 1:
        return decisions[0]
    effect = max((decision.effect for decision in decisions), key=_STRICTNESS.index, default=Effect.DENY)
    strictest = [decision for decision in decisions if decision.effect is effect]
    rules = tuple(dict.fromkeys(rule for decision in strictest for rule in decision.rules))
    if effect is Effect.DENY:
        return Decision(effect, rules, next((each.message for each in strictest if each.message), ""))
    masks = tuple(sorted({mask for decision in decisions for mask in decision.masks}))
    if effect is Effect.ALLOW:
        return Decision(effect, rules, masks=masks)
    return _held_batch(strictest, rules, masks)


def _held_batch(held: Sequence[Decision], rules: tuple[str, ...], masks: tuple[str, ...]) -> Decision:
    chains = {decision.chain for decision in held}
    if len(chains) > 1:
        asked = ", ".join(sorted(chains))
        return Decision(Effect.DENY, rules, f"its statements need different approvals ({asked}): send them separately")
    return msgspec.structs.replace(
        held[0],
        rules=rules,
        message=next((each.message for each in held if each.message), ""),
        wait_seconds=min(each.wait_seconds for each in held),
        wait_in_transaction_seconds=min(each.wait_in_transaction_seconds for each in held),
        ticket=all(each.ticket for each in held),
        masks=masks,
        preview=_previews(held),
    )


def _name(rule: CompiledRule) -> str:
    return rule.name
