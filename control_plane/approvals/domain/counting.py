"""When people have agreed: votes counted with everybody as they are now. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from control_plane.approvals.domain.chain import Chain, Stage, describe
from control_plane.approvals.domain.people import Parties, Person, Vote, ineligible, seat


def counts(parties: Parties, stage: Stage, person: Person | None) -> bool:
    """Whether this person's agreement counts for the stage, today. None: no longer known."""
    return person is not None and ineligible(parties, person) is None and not person.groups.isdisjoint(stage.groups)


class Progress(msgspec.Struct, frozen=True):
    """How far the chain is. `stage` is the one that waits; `missing` 0 only when the whole chain agrees."""

    stage: int
    counted: tuple[Vote, ...]  # over all stages, each person once
    missing: int

    @property
    def satisfied(self) -> bool:
        return self.missing == 0


def progress(chain: Chain, parties: Parties, votes: Sequence[Vote], people: Mapping[str, Person]) -> Progress:
    """Counts the votes with people as they are now. A stage is looked at only when the ones before agree."""
    counted: list[Vote] = []
    seen: set[str] = set()
    for index, stage in enumerate(chain.stages):
        missing = stage.required
        for vote in (vote for vote in votes if vote.stage == index):
            if missing and seen.isdisjoint(vote.whose) and counts(parties, stage, seat(parties, vote, people)):
                seen |= vote.whose
                counted.append(vote)
                missing -= 1
        if missing:
            return Progress(index, tuple(counted), missing)
    last = len(chain.stages) - 1
    return Progress(last, tuple(counted), 0 if chain.stages else 1)


def unanswerable(chain: Chain, parties: Parties, people: Sequence[Person]) -> str | None:
    """Why nobody could ever satisfy the chain with these people. None: it can be satisfied."""
    if not chain.stages:
        return f"approval chain {chain.name!r} has no stage"
    for stage in chain.stages:
        able = sum(counts(parties, stage, person) for person in people)
        if able < stage.required:
            return f"approval chain {chain.name!r} needs {describe(stage)}, and {able} could approve this request"
    return None
