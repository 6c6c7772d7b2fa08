"""Chains and crowds for hypothesis, and an oracle that counts by trying everything."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hypothesis import strategies as st

from control_plane.approvals.domain import Chain, Escalation, Parties, Person, Requirement, Scope, Stage

GROUPS = ("dba", "security", "leads")
NAMES = tuple(f"p{number}" for number in range(6))
SCHEDULES = ("web", "db")
PARTIES = Parties("idn_requester", frozenset({"idn_owner"}), "production", {"team": "shop"})

_named = {
    "groups": st.lists(st.sampled_from(GROUPS), max_size=2, unique=True).map(tuple),
    "people": st.lists(st.sampled_from(NAMES), max_size=2, unique=True).map(tuple),
    "on_call": st.lists(st.sampled_from(SCHEDULES), max_size=1, unique=True).map(tuple),
}
leaves = st.builds(Requirement, required=st.integers(1, 2), **_named).filter(
    lambda one: bool(one.groups or one.people or one.on_call)
)
requirements = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(Requirement, all_of=st.lists(inner, min_size=1, max_size=2).map(tuple)),
        st.builds(Requirement, any_of=st.lists(inner, min_size=1, max_size=2).map(tuple)),
    ),
    max_leaves=3,
)
escalations = st.none() | st.builds(Escalation, timeout_seconds=st.just(60), **_named)


def _stage(needs: Requirement, escalation: Escalation | None) -> Stage:
    return Stage(
        needs.groups, needs.required, 60, needs.people, needs.on_call, needs.all_of, needs.any_of, "", escalation
    )


stages = st.builds(_stage, requirements, escalations)
chains = st.lists(stages, min_size=1, max_size=3).map(lambda some: Chain("chain", tuple(some), 300))


def _person(name: str, groups: frozenset[str], on_call: frozenset[str], flaw: str) -> Person:
    return Person(
        id={"requester": "idn_requester", "owner": "idn_owner"}.get(flaw, f"idn_{name}"),
        name=name,
        kind="machine" if flaw == "machine" else "person",
        groups=groups,
        may_review=flaw != "no role",
        enabled=flaw != "disabled",
        scopes=(Scope(("staging",)),) if flaw == "elsewhere" else (Scope(("production",)),),
        on_call=on_call,
    )


FLAWS = ("machine", "no role", "disabled", "elsewhere", "requester", "owner")
groups_of_one = st.frozensets(st.sampled_from(GROUPS), max_size=2)
turns_of_one = st.frozensets(st.sampled_from(SCHEDULES), max_size=1)
people = st.builds(_person, st.sampled_from(NAMES), groups_of_one, turns_of_one, st.sampled_from(("",) * 10 + FLAWS))
crowds = st.lists(people, unique_by=lambda one: one.id, max_size=6).filter(
    lambda some: len({one.name for one in some}) == len(some)
)


# ------------------------------------------------------------------ the oracle


def may_count(person: Person) -> bool:
    """As DESIGN says it: a human who reviews here, neither the requester nor an owner of the credential."""
    here = any(
        (not scope.environments or "production" in scope.environments) and scope.labels.items() <= {("team", "shop")}
        for scope in person.scopes
    )
    human = person.kind == "person" and person.enabled and person.may_review
    return human and here and person.id not in {"idn_requester", "idn_owner"}


def able(crowd: Sequence[Person]) -> list[Person]:
    return [one for one in crowd if may_count(one)]


def satisfied(chain: Chain, escalated: frozenset[int], crowd: Sequence[Person]) -> bool:
    return missing(chain, escalated, crowd) == (len(chain.stages), 0)


def missing(chain: Chain, escalated: frozenset[int], crowd: Sequence[Person]) -> tuple[int, int]:
    """The first stage that these people, all of whom agreed, leave open, and how many more it needs at the least."""
    voters = tuple(able(crowd))
    for index in range(len(chain.stages)):
        wanted = [(number, stage.needs) for number, stage in enumerate(chain.stages[: index + 1])]
        more = next(count for count in itertools.count() if _filled(chain, escalated, wanted, voters, count, index))
        if more:
            return index, more
    return len(chain.stages), 0


def _filled(
    chain: Chain,
    escalated: frozenset[int],
    wanted: list[tuple[int, Requirement]],
    left: tuple[Person, ...],
    jokers: int,
    open_stage: int,
) -> bool:
    """Whether all of `wanted` can be filled with distinct people; jokers fill places of the open stage only."""
    if not wanted:
        return True
    (index, needs), rest = wanted[0], wanted[1:]
    if needs.all_of:
        parts = [(index, part) for part in needs.all_of]
        return _filled(chain, escalated, parts + rest, left, jokers, open_stage)
    if needs.any_of:
        return any(_filled(chain, escalated, [(index, part), *rest], left, jokers, open_stage) for part in needs.any_of)
    fitting = [one for one in left if _in(chain.stages[index], needs, one, escalated=index in escalated)]
    for used in range((min(jokers, needs.required) if index == open_stage else 0) + 1):
        for chosen in itertools.combinations(fitting, needs.required - used):
            others = tuple(one for one in left if one not in chosen)
            if _filled(chain, escalated, rest, others, jokers - used, open_stage):
                return True
    return False


def _in(stage: Stage, needs: Requirement, person: Person, *, escalated: bool) -> bool:
    sets = [needs, stage.escalation.needs] if escalated and stage.escalation else [needs]
    return any(
        person.groups & set(one.groups) or person.name in one.people or person.on_call & set(one.on_call)
        for one in sets
    )
