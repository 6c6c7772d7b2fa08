"""Who may ever decide on a request, and what their word is. Pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

import msgspec


class Scope(msgspec.Struct, frozen=True):
    """Where somebody reviews. Empty fields cover everything; of labels, all that are given must be the target's."""

    environments: tuple[str, ...] = ()
    labels: dict[str, str] = {}

    def covers(self, environment: str, labels: Mapping[str, str]) -> bool:
        if self.environments and environment not in self.environments:
            return False
        return self.labels.items() <= labels.items()


EVERYWHERE: Final = Scope()


class Person(msgspec.Struct, frozen=True):
    """An identity as it is now, with what matters for deciding."""

    id: str
    name: str
    kind: str  # person, machine
    groups: frozenset[str]
    may_review: bool  # has the reviewer's permission now, somewhere
    enabled: bool
    may_break_glass: bool = False
    scopes: tuple[Scope, ...] = (EVERYWHERE,)  # where it is: in any of them
    on_call: frozenset[str] = frozenset()  # the schedules by which it is this person's turn


class Parties(msgspec.Struct, frozen=True):
    """Those who never decide: who asks, and all who answer for the credential that asks or could hold it. And on what
    it is asked, which not every reviewer reviews."""

    requester_id: str
    owner_ids: frozenset[str] = frozenset()
    environment: str = ""
    labels: dict[str, str] = {}  # of the target


class Choice(msgspec.Struct, frozen=True):
    """An agreement to more operations of the same shape, the one that was shown included."""

    until_ms: int
    uses: int


class Vote(msgspec.Struct, frozen=True):
    """One person's agreement, given for a stage and through a channel; in somebody else's place if by delegation."""

    identity_id: str
    name: str
    stage: int
    at_ms: int
    channel: str
    for_id: str = ""  # whose place it takes; empty: their own
    for_name: str = ""
    delegation_id: str = ""
    void: bool = False  # the delegation was revoked since
    window: Choice | None = None  # None: to this one operation
    on_call: tuple[str, ...] = ()  # by which schedules it was the turn of whoever has the place, when it was given

    @property
    def whose(self) -> frozenset[str]:
        """Everybody who has had their say with it."""
        return frozenset({self.identity_id, self.for_id} - {""})


class StandIn(msgspec.Struct, frozen=True):
    """A delegation that holds now and covers the request: the delegate may take the delegator's place, no other."""

    id: str
    delegator_id: str
    delegate_id: str


class Ineligible(enum.StrEnum):
    """Why somebody does not count. The text is for that person."""

    MACHINE = "only people decide; this is a machine credential"
    DISABLED = "this identity is disabled"
    NOT_REVIEWER = "this identity does not have the reviewer role"
    REQUESTER = "nobody decides on their own request"
    OWNER = "the owner of the requesting credential does not decide on its requests"
    ALREADY = "you have already decided; a person counts once"
    OUT_OF_SCOPE = "this identity does not review this environment or this target"
    NOT_IN_STAGE = "the stage that is waiting asks for other groups"
    NOT_NEEDED = "the places that you could take in the stage that is waiting are taken"


def ineligible(parties: Parties, person: Person) -> Ineligible | None:
    """Whether this person can ever count for this request, whatever the stage. None: yes."""
    if person.kind != "person":
        return Ineligible.MACHINE
    if not person.enabled:
        return Ineligible.DISABLED
    if person.id == parties.requester_id:
        return Ineligible.REQUESTER
    if person.id in parties.owner_ids:
        return Ineligible.OWNER
    if not person.may_review:
        return Ineligible.NOT_REVIEWER
    within = any(scope.covers(parties.environment, parties.labels) for scope in person.scopes)
    return None if within else Ineligible.OUT_OF_SCOPE


def seat(parties: Parties, vote: Vote, people: Mapping[str, Person]) -> Person | None:
    """Whose groups and turn count for this vote: of a delegate's the delegator's alone, but both must be allowed to
    review here. None: it does not count."""
    involved = [people.get(one) for one in sorted(vote.whose)]
    if vote.void or any(one is None or ineligible(parties, one) for one in involved):
        return None
    return people[vote.for_id or vote.identity_id]
