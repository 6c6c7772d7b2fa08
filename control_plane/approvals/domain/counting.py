"""When people have agreed: who takes which place of the chain, counted with everybody as they are now. Pure.

Places are given to people as a matching, so no order of approvals is worse than another: who could take several places
gives one up to whoever could only take that one. Everybody has one place in the whole chain. A stage is looked at only
when the ones before agree, in every way in which they can (one for each choice that `any` leaves).

Who was on call is a fact of the moment: an agreement given on call stays one after the hand-over. Everything else
(role, scope, groups, disabled, owner) must hold now.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from control_plane.approvals.domain.chain import Chain, Leaf, Requirement, Stage, alternatives, describe, leaves
from control_plane.approvals.domain.people import Parties, Person, Vote, ineligible, seat


class Place(msgspec.Struct, frozen=True):
    """One place of a stage: in which of its sets, and whether it is taken by somebody whom the escalation added."""

    stage: int
    path: tuple[int, ...]
    added: bool = False


class Taken(msgspec.Struct, frozen=True):
    place: Place
    vote: Vote


class Progress(msgspec.Struct, frozen=True):
    """How far the chain is. `stage` is the one that waits; `missing` 0 only when the whole chain agrees."""

    stage: int
    counted: tuple[Vote, ...]  # over all stages, each person once
    missing: int
    places: tuple[Taken, ...] = ()

    @property
    def satisfied(self) -> bool:
        return self.missing == 0


class Candidate(NamedTuple):
    """Somebody who could take places; or, with `only`, anybody of whom no more is known than that set they are in."""

    person: Person | None
    on_call: frozenset[str]
    only: Requirement | None = None


def fits(needs: Requirement, candidate: Candidate) -> bool:
    """Whether the set has this person in it."""
    person, on_call, only = candidate
    if only is not None:
        return _within(only, needs)
    if person is None:
        return False
    return (
        not person.groups.isdisjoint(needs.groups)
        or person.name in needs.people
        or not on_call.isdisjoint(needs.on_call)
    )


def _within(small: Requirement, large: Requirement) -> bool:
    named = ((small.groups, large.groups), (small.people, large.people), (small.on_call, large.on_call))
    return all(set(some) <= set(all_of) for some, all_of in named)


class _Seating:
    """Candidates in places. A place that is filled stays filled, though perhaps by somebody else."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self._candidates = candidates
        self.holder: dict[tuple[Place, int], int] = {}
        self._held: dict[int, tuple[Place, int]] = {}
        self._fitting: dict[tuple[Place, int], Sequence[int]] = {}

    def copy(self) -> _Seating:
        other = _Seating(self._candidates)
        other.holder, other._held = dict(self.holder), dict(self._held)
        other._fitting = self._fitting
        return other

    def fill(self, leaf: Leaf, stage: Stage, index: int, *, added: bool) -> int:
        """How many of the set's places could be filled."""
        place = Place(index, leaf.path)
        everybody = [leaf.needs, stage.escalation.needs] if added and stage.escalation else [leaf.needs]
        fitting = [
            number for number, one in enumerate(self._candidates) if any(fits(needs, one) for needs in everybody)
        ]
        filled = 0
        for number in range(leaf.needs.required):
            self._fitting[place, number] = fitting
            filled += self._fill(place, number, set())
        return filled

    def _fill(self, place: Place, number: int, tried: set[int]) -> bool:
        """Somebody who is free, else somebody whose place another can take."""
        fitting = [one for one in self._fitting[place, number] if one not in tried]
        free = next((one for one in fitting if one not in self._held), None)
        if free is not None:
            return self._give(place, number, free)
        for one in fitting:
            if one not in tried:
                tried.add(one)
                if self._fill(*self._held[one], tried):
                    return self._give(place, number, one)
        return False

    def _give(self, place: Place, number: int, candidate: int) -> bool:
        self.holder[place, number] = candidate
        self._held[candidate] = place, number
        return True


class _Way(NamedTuple):
    """One way to choose where there is `any`, as far as it goes."""

    choice: tuple[int, ...]
    stage: int  # the first that is not filled; past the last when all are
    missing: int
    seating: _Seating

    @property
    def reached(self) -> tuple[int, int]:
        return self.stage, -self.missing


def _ways(chain: Chain, escalated: frozenset[int], candidates: Sequence[Candidate]) -> Iterator[_Way]:
    def onward(choice: tuple[int, ...], before: _Seating) -> Iterator[_Way]:
        index = len(choice)
        if index == len(chain.stages):
            yield _Way(choice, index, 0, before)
            return
        stage = chain.stages[index]
        for number, chosen in enumerate(alternatives(stage.needs)):
            seating = before.copy()
            wanted = sum(leaf.needs.required for leaf in chosen)
            filled = sum(seating.fill(leaf, stage, index, added=index in escalated) for leaf in chosen)
            if filled == wanted:
                yield from onward((*choice, number), seating)
            else:
                yield _Way((*choice, number), index, wanted - filled, seating)

    yield from onward((), _Seating(candidates))


def _best(chain: Chain, escalated: frozenset[int], candidates: Sequence[Candidate]) -> _Way:
    return max(_ways(chain, escalated, candidates), key=lambda way: way.reached)


# ------------------------------------------------------------------ votes


def counting(parties: Parties, votes: Sequence[Vote], people: Mapping[str, Person]) -> list[tuple[Vote, Candidate]]:
    """The votes that count for anything, the earliest first; of those in which the same person had a say, one."""
    seen: set[str] = set()
    found = []
    for vote in sorted(votes, key=lambda one: (one.at_ms, one.identity_id)):
        person = seat(parties, vote, people)
        if person is not None and seen.isdisjoint(vote.whose):
            seen |= vote.whose
            found.append((vote, Candidate(person, frozenset(vote.on_call))))
    return found


def progress(
    chain: Chain,
    parties: Parties,
    votes: Sequence[Vote],
    people: Mapping[str, Person],
    escalated: frozenset[int] = frozenset(),
) -> Progress:
    """The furthest that these votes take the chain. `escalated`: the stages that have asked more people."""
    if not chain.stages:
        return Progress(-1, (), 1)
    given = counting(parties, votes, people)
    way = _best(chain, escalated, [candidate for _, candidate in given])
    places = _places(chain, way.seating, given)
    last = len(chain.stages) - 1
    return Progress(min(way.stage, last), tuple(one.vote for one in places), way.missing, places)


def _places(chain: Chain, seating: _Seating, given: Sequence[tuple[Vote, Candidate]]) -> tuple[Taken, ...]:
    found = []
    for (place, _), number in seating.holder.items():
        vote, candidate = given[number]
        leaf = leaf_of(chain.stages[place.stage], place.path)
        taken = msgspec.structs.replace(place, added=not fits(leaf, candidate))
        found.append(Taken(taken, msgspec.structs.replace(vote, stage=place.stage)))
    return tuple(sorted(found, key=lambda one: (one.place.stage, one.vote.at_ms, one.vote.identity_id)))


def leaf_of(stage: Stage, path: Sequence[int]) -> Requirement:
    needs = stage.needs
    for step in path:
        needs = needs.parts[step]
    return needs


# ------------------------------------------------------------------ who is still of use


class Waiting(NamedTuple):
    """A request's chain with the votes that count."""

    chain: Chain
    escalated: frozenset[int]
    given: Sequence[Candidate]


def useful_place(waits: Waiting, person: Person) -> Place | None:
    """The place that this person's agreement would help to fill now. None: it would bring the chain no further.

    It helps when there could be people with whom and this person the stages up to the one that waits are filled, and
    without this person are not, in whichever way. So nobody is asked for a place that another has taken, and nobody
    is refused who takes one so that another may have the next."""
    chain, escalated, given = waits
    added = Candidate(person, person.on_call)
    waiting = _best(chain, escalated, given).stage
    if waiting == len(chain.stages):
        return _confirming(chain, added)
    through = msgspec.structs.replace(chain, stages=chain.stages[: waiting + 1])
    if not any(asks(stage, added, escalated=index in escalated) for index, stage in enumerate(through.stages)):
        return None
    for chosen in itertools.product(*(alternatives(stage.needs) for stage in through.stages)):
        slots = [(index, leaf) for index, leaves_of in enumerate(chosen) for leaf in leaves_of]
        for last in range(len(slots)):
            seating = _seated(through, escalated, [*given, added], [*slots[:last], *slots[last + 1 :], slots[last]])
            mine = next((place for (place, _), number in seating.holder.items() if number == len(given)), None)
            if mine is not None and not _filled_without(through, escalated, given, slots, seating):
                leaf = leaf_of(chain.stages[mine.stage], mine.path)
                return msgspec.structs.replace(mine, added=not fits(leaf, added))
    return None


Slots = Sequence[tuple[int, Leaf]]  # the number of the stage, and one of its sets


def _seated(chain: Chain, escalated: frozenset[int], candidates: Sequence[Candidate], slots: Slots) -> _Seating:
    """As many as can be, what comes first before what comes last."""
    seating = _Seating(candidates)
    for index, leaf in slots:
        seating.fill(leaf, chain.stages[index], index, added=index in escalated)
    return seating


def _filled_without(
    chain: Chain, escalated: frozenset[int], given: Sequence[Candidate], slots: Slots, seating: _Seating
) -> bool:
    """Whether others alone, each for one of the places that are still free, would fill the chain."""
    free = [
        Candidate(None, frozenset(), leaf.needs)
        for index, leaf in slots
        for number in range(leaf.needs.required)
        if (Place(index, leaf.path), number) not in seating.holder
    ]
    return _best(chain, escalated, [*given, *free]).stage == len(chain.stages)


def asks(stage: Stage, candidate: Candidate, *, escalated: bool) -> bool:
    """Whether one of the stage's sets has this person in it."""
    sets = [leaf.needs for leaf in leaves(stage.needs)]
    sets += [stage.escalation.needs] if stage.escalation and escalated else []
    return any(fits(needs, candidate) for needs in sets)


def _confirming(chain: Chain, added: Candidate) -> Place | None:
    """Nothing is missing, but nobody said the last word: somebody who had not counted counts again. Whom the last
    stage names may say it."""
    last = len(chain.stages) - 1
    for leaf in leaves(chain.stages[last].needs):
        if fits(leaf.needs, added):
            return Place(last, leaf.path)
    return None


# ------------------------------------------------------------------ whether it can be done at all


def unanswerable(chain: Chain, parties: Parties, people: Sequence[Person]) -> str | None:
    """Why nobody could ever satisfy the chain with these people. None: it can be satisfied. `on_call` of each must
    be what it can be in the chain's time; those whom an escalation adds are reckoned with."""
    if not chain.stages:
        return f"approval chain {chain.name!r} has no stage"
    able = _enough(chain, [Candidate(one, one.on_call) for one in people if ineligible(parties, one) is None])
    way = _best(chain, frozenset(range(len(chain.stages))), able)
    if way.stage == len(chain.stages):
        return None
    stage = chain.stages[way.stage]
    needed = f"approval chain {chain.name!r} needs {describe(stage)}"
    if stage.needs.parts:
        return f"{needed}, and {way.missing} of these places nobody could take for this request"
    return f"{needed}, and {stage.required - way.missing} could approve this request"


def _enough(chain: Chain, able: Sequence[Candidate]) -> list[Candidate]:
    """Of every set as many as the chain has places: more of them change nothing, as others take at most the rest."""
    sets = [leaf.needs for stage in chain.stages for leaf in leaves(stage.needs)]
    places = sum(needs.required for needs in sets)
    sets += [stage.escalation.needs for stage in chain.stages if stage.escalation]
    kept: dict[str, Candidate] = {}
    for needs in sets:
        fitting = (one for one in able if one.person and fits(needs, one))
        kept.update((one.person.id, one) for one in itertools.islice(fitting, places) if one.person)
    return list(kept.values())
