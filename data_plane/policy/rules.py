"""Policies made ready: selectors, compiled matches and conditions. `evaluate` asks them what they say.

Documents that passed `validate` always compile; what cannot be evaluated is refused here too, because an agent
may be older or newer than the control plane that wrote its snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from data_plane.gate.interface import Action, Decision, Effect, SessionFacts, TargetFacts
from data_plane.policy import conditions, durations, model
from data_plane.policy.conditions import Condition
from data_plane.policy.globs import Patterns
from data_plane.policy.globs import matches as glob_matches

_ACTIONS = tuple(Action)
_NEEDS_ITS_NAME = {
    Effect.ALLOW: frozenset({Action.UNKNOWN, Action.CONNECT}),
    Effect.HOLD: frozenset({Action.SESSION, Action.CONNECT}),
    Effect.DENY: frozenset({Action.CONNECT}),
}


class PolicyError(Exception):
    """A policy that cannot be evaluated; `args[0]` names the policy, the rule and what is wrong."""


class CompiledRule(msgspec.Struct, frozen=True, eq=False):
    """One rule with an effect, ready to be matched. `name` is "policy/rule"."""

    name: str
    effect: Effect
    actions: frozenset[Action]
    verbs: frozenset[str]
    tables: Patterns | None
    functions: Patterns | None
    condition: Condition | None
    decision: Decision


class CompiledPolicy(msgspec.Struct, frozen=True, eq=False):
    name: str
    spec: model.PolicySpec
    rules: tuple[CompiledRule, ...]
    masks: tuple[tuple[Condition | None, tuple[str, ...]], ...]  # of rules that only mask


def compile_policy(policy: model.Policy) -> CompiledPolicy:
    """Raises PolicyError. `validate` finds more; this refuses only what could not be evaluated."""
    name = policy.metadata.name
    rules = tuple(_rule(name, rule) for rule in policy.spec.rules if rule.effect is not None)
    masks = tuple(
        (_condition(name, rule, of_session=True), rule.mask) for rule in policy.spec.rules if rule.effect is None
    )
    return CompiledPolicy(name=name, spec=policy.spec, rules=rules, masks=masks)


def actions_of(rule: model.Rule) -> frozenset[Action]:
    """The actions on which a rule with an effect can fire."""
    named = {Action(name) for name in listed(rule.match.action)}
    return frozenset(named or set(_ACTIONS) - _NEEDS_ITS_NAME[Effect(rule.effect or "allow")])


def _rule(policy: str, rule: model.Rule) -> CompiledRule:
    match = rule.match
    return CompiledRule(
        name=f"{policy}/{rule.name}",
        effect=Effect(rule.effect or "deny"),
        actions=actions_of(rule),
        verbs=frozenset(verb.upper() for verb in match.verbs),
        tables=Patterns(match.tables) if match.tables else None,
        functions=Patterns(match.functions) if match.functions else None,
        condition=_condition(policy, rule, of_session=False),
        decision=_decision(policy, rule),
    )


def _condition(policy: str, rule: model.Rule, *, of_session: bool) -> Condition | None:
    if not rule.when:
        return None
    condition = conditions.compiled(rule.when, of_session=of_session)
    if isinstance(condition, conditions.ConditionError):
        raise PolicyError(f"policy {policy}, rule {rule.name}: {condition}")
    return condition


def _decision(policy: str, rule: model.Rule) -> Decision:
    """What the rule says when it fires alone."""
    held = rule.effect == "hold"
    try:
        wait, inside = durations.seconds(rule.hold.wait), durations.seconds(rule.hold.in_transaction)
    except durations.DurationError as error:
        raise PolicyError(f"policy {policy}, rule {rule.name}: {error}") from error
    return Decision(
        effect=Effect(rule.effect or "deny"),
        rules=(f"{policy}/{rule.name}",),
        message=rule.message,
        chain=rule.approval if held else "",
        wait_seconds=wait if held else 0,
        wait_in_transaction_seconds=inside if held else 0,
        ticket=held and rule.hold.then == "ticket",
        masks=tuple(sorted(set(rule.mask))),
        preview=tuple(rule.hold.preview) if held else (),
    )


def selects(spec: model.PolicySpec, session: SessionFacts) -> bool:
    return selects_target(spec.targets, session.target) and _selects_requester(spec.requesters, session)


def selects_target(selector: model.TargetSelector, target: TargetFacts) -> bool:
    given = (
        (selector.names, target.name),
        (selector.environment, target.environment),
        (selector.protocol, target.protocol),
    )
    return all(
        not listed(patterns) or any(glob_matches(pattern, value) for pattern in listed(patterns))
        for patterns, value in given
    ) and all(target.labels.get(name) == value for name, value in selector.labels.items())


def _selects_requester(selector: model.RequesterSelector, session: SessionFacts) -> bool:
    requester = session.requester
    if selector.kind and selector.kind != requester.kind:
        return False
    if not selector.groups and not selector.identities:
        return True
    return not set(selector.groups).isdisjoint(requester.groups) or requester.name in selector.identities


def listed(one_or_more: str | Sequence[str]) -> tuple[str, ...]:
    """Documents write one name or a list of names."""
    return (one_or_more,) if isinstance(one_or_more, str) else tuple(one_or_more)
