"""Rules that can never fire: a match that contradicts itself, or a stricter rule without a condition that is as wide.

Sound, not complete: what is reported here can never fire; a rule that is not reported may still never do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from data_plane.gate.interface import Action
from data_plane.policy import globs, model, vocabulary
from data_plane.policy.documents import Problem
from data_plane.policy.rules import actions_of, listed

_STRICTNESS = {"allow": 0, "hold": 1, "deny": 2}


class _Placed(msgspec.Struct, frozen=True):
    policy: model.Policy
    index: int
    rule: model.Rule

    @property
    def name(self) -> str:
        return f"{self.policy.metadata.name}/{self.rule.name}"


def contradiction(match: model.Match) -> str:
    """Why no operation matches; empty when one can."""
    actions, verbs = listed(match.action), [verb.upper() for verb in match.verbs]
    if actions and verbs and not any(vocabulary.possible(action, verb) for action in actions for verb in verbs):
        return f"{', '.join(verbs)} never comes with action {' or '.join(actions)}"
    if set(actions) == {"connect"} and (match.tables or match.functions):
        return "connecting touches no table and calls no function"
    return ""


def shadowed(policies: Sequence[model.Policy]) -> list[Problem]:
    placed = [
        _Placed(policy, index, rule)
        for policy in policies
        for index, rule in enumerate(policy.spec.rules)
        if rule.effect is not None
    ]
    stricter = [each for each in placed if each.rule.effect != "allow" and not each.rule.when]
    return [problem for each in placed for problem in _shadows(each, stricter)]


def _shadows(each: _Placed, stricter: Iterable[_Placed]) -> Iterator[Problem]:
    """At most one problem: the first rule that leaves nothing for this one."""
    for other in stricter:
        if _rank(other.rule) > _rank(each.rule) and _covers(other, each):
            yield Problem(
                "Policy",
                each.policy.metadata.name,
                f"$.spec.rules[{each.index}]",
                f"this rule can never fire: {other.name} has effect {other.rule.effect} for everything it matches",
            )
            return


def _rank(rule: model.Rule) -> int:
    return _STRICTNESS[rule.effect or "allow"]


def _covers(wide: _Placed, narrow: _Placed) -> bool:
    return _selects_more(wide.policy.spec, narrow.policy.spec) and _matches_more(wide.rule, narrow.rule)


def _matches_more(wide: model.Rule, narrow: model.Rule) -> bool:
    """Whether every operation that `narrow` fires on, `wide` fires on too."""
    actions = actions_of(narrow)
    if not narrow.match.action:
        actions -= {Action.SESSION}  # nobody writes a rule without an action for BEGIN and COMMIT
    given, taken = narrow.match, wide.match
    verbs, wanted = {verb.upper() for verb in given.verbs}, {verb.upper() for verb in taken.verbs}
    return (
        actions <= actions_of(wide)
        and (not wanted or (bool(verbs) and verbs <= wanted))
        and _patterns_cover(taken.tables, given.tables)
        and _patterns_cover(taken.functions, given.functions)
    )


def _patterns_cover(wide: Sequence[str], narrow: Sequence[str]) -> bool:
    """A rule without patterns also fires where nothing is named, so only one without patterns covers it."""
    if not wide:
        return True
    return bool(narrow) and all(any(globs.covers(one, each) for one in wide) for each in narrow)


def _selects_more(wide: model.PolicySpec, narrow: model.PolicySpec) -> bool:
    return _targets_cover(wide.targets, narrow.targets) and _requesters_cover(wide.requesters, narrow.requesters)


def _targets_cover(wide: model.TargetSelector, narrow: model.TargetSelector) -> bool:
    pairs = (
        (listed(wide.names), listed(narrow.names)),
        (listed(wide.environment), listed(narrow.environment)),
        (listed(wide.protocol), listed(narrow.protocol)),
    )
    return all(_patterns_cover(one, other) for one, other in pairs) and wide.labels.items() <= narrow.labels.items()


def _requesters_cover(wide: model.RequesterSelector, narrow: model.RequesterSelector) -> bool:
    if wide.kind and wide.kind != narrow.kind:
        return False
    if not wide.groups and not wide.identities:
        return True
    named = bool(narrow.groups or narrow.identities)
    return named and set(narrow.groups) <= set(wide.groups) and set(narrow.identities) <= set(wide.identities)
