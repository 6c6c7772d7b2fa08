"""What one person's word does to a request. Pure."""

from __future__ import annotations

import enum
import hmac
from collections.abc import Mapping

import msgspec

from control_plane.approvals.domain.chain import Chain
from control_plane.approvals.domain.counting import Progress, counts, progress
from control_plane.approvals.domain.people import Ineligible, Parties, Person, StandIn, Vote, ineligible
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


class Refusal(enum.StrEnum):
    OVER = "over"  # it has been decided, withdrawn or has expired
    STALE = "stale"  # something else was shown than what is asked
    NOT_ENTITLED = "not-entitled"
    REASON_MISSING = "reason-missing"
    CHANNEL = "channel"  # the chain takes no decisions through this one
    REAUTHENTICATE = "reauthenticate"  # the sign-in is older than the chain allows


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
) -> Ruling:
    """What this person's word does to the request. `people` are those who agreed before, as they are now."""
    refused = over(request, at_ms) or stale(request, shown) or _not_entitled(request, person, people)
    if refused:
        return refused
    now = progress(request.chain, request.parties, request.votes, people)
    place = place_of(request, person, people)
    vote = Vote(person.id, person.name, now.stage, at_ms, channel)
    if isinstance(place, StandIn):
        for_name = people[place.delegator_id].name
        vote = msgspec.structs.replace(vote, for_id=place.delegator_id, for_name=for_name, delegation_id=place.id)
    if verb is Verb.DENY:
        if not reason.strip():
            return Refused(Refusal.REASON_MISSING, "say why: the requester is shown the reason")
        return Denied(vote, reason.strip())
    then = progress(request.chain, request.parties, (*request.votes, vote), {**people, person.id: person})
    return Agreed(vote, then) if then.satisfied else Counted(vote, then)


def over(request: Request, at_ms: int) -> Refused | None:
    """Why nobody can decide it any more. None: it waits."""
    if request.state is not State.PENDING:
        return Refused(Refusal.OVER, f"it is {request.state.value}")
    if at_ms >= request.approve_by_ms:
        return Refused(Refusal.OVER, "its time to decide has passed")
    return None


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
    if own is not Ineligible.NOT_IN_STAGE:
        return own
    for stand_in in request.stand_ins:
        delegator = people.get(stand_in.delegator_id) if stand_in.delegate_id == person.id else None
        if delegator is not None and _own_place(request, delegator, people) is None:
            return stand_in
    return own


def _own_place(request: Request, person: Person, people: Mapping[str, Person]) -> Ineligible | None:
    never = ineligible(request.parties, person)
    if never:
        return never
    if any(person.id in vote.whose and not vote.void for vote in request.votes):
        return Ineligible.ALREADY
    stage = request.chain.stages[progress(request.chain, request.parties, request.votes, people).stage]
    return None if counts(request.parties, stage, person) else Ineligible.NOT_IN_STAGE
