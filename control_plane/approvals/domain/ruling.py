"""What one person's word does to a request. Pure."""

from __future__ import annotations

import enum
import hmac
from collections.abc import Mapping

import msgspec

from control_plane.approvals.domain.chain import Chain
from control_plane.approvals.domain.counting import (
    Candidate,
    Place,
    Progress,
    Waiting,
    asks,
    counting,
    progress,
    useful_place,
)
from control_plane.approvals.domain.people import Choice, Ineligible, Parties, Person, StandIn, Vote, ineligible
from control_plane.approvals.domain.states import State


class Verb(enum.StrEnum):
    APPROVE = "approve"
    DENY = "deny"


class Request(msgspec.Struct, frozen=True):
    """What deciding needs to know of a request."""

    state: State
    chain: Chain
    parties: Parties
    shown_digest: bytes  # of what reviewers are shown
    approve_by_ms: int
    votes: tuple[Vote, ...] = ()
    stand_ins: tuple[StandIn, ...] = ()
    escalated: frozenset[int] = frozenset()  # the stages that ask more people now
    stage: int = 0  # the one that waits, as it was last counted
    stage_by_ms: int = 0  # the end of its time; 0: that of the whole chain

    @property
    def waits(self) -> bool:
        return self.state is State.PENDING and bool(self.chain.stages)

    def progress(self, people: Mapping[str, Person], *more: Vote) -> Progress:
        """`people`: those who have agreed, as they are now. `more`: votes that it does not have yet."""
        return progress(self.chain, self.parties, (*self.votes, *more), people, self.escalated)


class Refusal(enum.StrEnum):
    OVER = "over"  # it has been decided, withdrawn or has expired
    STALE = "stale"  # something else was shown than what is asked
    NOT_ENTITLED = "not-entitled"
    REASON_MISSING = "reason-missing"
    CHANNEL = "channel"  # the chain takes no decisions through this one
    REAUTHENTICATE = "reauthenticate"  # the sign-in is older than the chain allows
    SECURITY_KEY = "security-key"  # no key of theirs has signed exactly this
    WINDOW = "window"  # the chain offers no such window for this operation


class Refused(msgspec.Struct, frozen=True):
    why: Refusal
    detail: str


class Counted(msgspec.Struct, frozen=True):
    """The agreement counts and the chain needs more people."""

    vote: Vote
    progress: Progress


class Agreed(msgspec.Struct, frozen=True):
    """With this agreement the chain is satisfied."""

    vote: Vote
    progress: Progress


class Denied(msgspec.Struct, frozen=True):
    vote: Vote
    reason: str


Ruling = Counted | Agreed | Denied | Refused


def rule(
    request: Request,
    verb: Verb,
    person: Person,
    people: Mapping[str, Person],
    *,
    shown: bytes,
    at_ms: int,
    channel: str,
    reason: str = "",
    window: Choice | None = None,
) -> Ruling:
    """What this person's word does to the request. `people` are those who agreed before, as they are now."""
    refused = over(request, at_ms) or stale(request, shown) or _not_entitled(request, person, people)
    if refused:
        return refused
    vote = msgspec.structs.replace(_vote(request, person, people, at_ms, channel), window=window)
    if verb is Verb.DENY:
        if not reason.strip():
            return Refused(Refusal.REASON_MISSING, "say why: the requester is shown the reason")
        return Denied(vote, reason.strip())
    then = request.progress({**people, person.id: person}, vote)
    return Agreed(vote, then) if then.satisfied else Counted(vote, then)


def _vote(request: Request, person: Person, people: Mapping[str, Person], at_ms: int, channel: str) -> Vote:
    """As it is kept: with whose turn it is at this moment."""
    stand_in = place_of(request, person, people)
    vote = Vote(person.id, person.name, request.progress(people).stage, at_ms, channel)
    if not isinstance(stand_in, StandIn):
        return msgspec.structs.replace(vote, on_call=tuple(sorted(person.on_call)))
    holder = people[stand_in.delegator_id]
    on_call = tuple(sorted(holder.on_call))
    return msgspec.structs.replace(
        vote, for_id=holder.id, for_name=holder.name, delegation_id=stand_in.id, on_call=on_call
    )


def over(request: Request, at_ms: int) -> Refused | None:
    """Why nobody can decide it any more. None: it waits."""
    if request.state is not State.PENDING:
        return Refused(Refusal.OVER, f"it is {request.state.value}")
    if at_ms >= request.approve_by_ms or _stage_over(request, at_ms):
        return Refused(Refusal.OVER, "its time to decide has passed")
    return None


def _stage_over(request: Request, at_ms: int) -> bool:
    """A stage that will ask more people goes on: those whom it has asked may decide until then, and after."""
    if not request.stage_by_ms or at_ms < request.stage_by_ms:
        return False
    return request.stage in request.escalated or request.chain.stages[request.stage].escalation is None


def stale(request: Request, shown: bytes) -> Refused | None:
    """Whether the person looked at something else."""
    if hmac.compare_digest(shown, request.shown_digest):
        return None
    return Refused(Refusal.STALE, "the digest is not the one of this request: look at it again before deciding")


def _not_entitled(request: Request, person: Person, people: Mapping[str, Person]) -> Refused | None:
    why = entitlement(request, person, people)
    return Refused(Refusal.NOT_ENTITLED, why.value) if why else None


def entitlement(request: Request, person: Person, people: Mapping[str, Person]) -> Ineligible | None:
    """Whether this person may decide now, at the stage that waits, in whatever place. None: yes."""
    place = place_of(request, person, people)
    return place if isinstance(place, Ineligible) else None


def place_of(request: Request, person: Person, people: Mapping[str, Person]) -> StandIn | Ineligible | None:
    """In whose place this person would decide now. None: their own, which goes before any that they were handed."""
    own = _own_place(request, person, people)
    if own not in {Ineligible.NOT_IN_STAGE, Ineligible.NOT_NEEDED}:
        return own
    for stand_in in request.stand_ins:
        delegator = people.get(stand_in.delegator_id) if stand_in.delegate_id == person.id else None
        if delegator is not None and _own_place(request, delegator, people) is None:
            return stand_in
    return own


def _own_place(request: Request, person: Person, people: Mapping[str, Person]) -> Ineligible | None:
    place = place_for(request, person, people)
    return place if isinstance(place, Ineligible) else None


def place_for(request: Request, person: Person, people: Mapping[str, Person]) -> Place | Ineligible:
    """The place of the chain that this person would help to fill now by themselves, or why there is none."""
    never = ineligible(request.parties, person)
    if never:
        return never
    if any(person.id in vote.whose and not vote.void for vote in request.votes):
        return Ineligible.ALREADY
    if not request.chain.stages:
        return Ineligible.NOT_IN_STAGE
    given = [candidate for _, candidate in counting(request.parties, request.votes, people)]
    place = useful_place(Waiting(request.chain, request.escalated, given), person)
    if place is not None:
        return place
    waiting = request.progress(people).stage
    named = asks(
        request.chain.stages[waiting], Candidate(person, person.on_call), escalated=waiting in request.escalated
    )
    return Ineligible.NOT_NEEDED if named else Ineligible.NOT_IN_STAGE
