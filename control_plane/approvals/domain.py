"""The rules of approval: what a request may become, who may decide it, and when people have agreed. Pure.

A request's state follows one table; a pair that is not in it is refused. People decide against an ordered
chain of stages, each *k of* a set of groups. Who counts is asked again at every decision, of everybody who
has already agreed: a role that was lost since does not count. Nothing here reads a clock or a database.
"""

from __future__ import annotations

import enum
import hmac
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec


class State(enum.StrEnum):
    REQUESTED = "requested"  # arrived; not yet known whether anybody can decide it
    REFUSED = "refused"  # could not become a request: unknown chain, nobody may approve
    PENDING = "pending"
    APPROVED = "approved"  # a grant is signed; not known to be used
    DENIED = "denied"  # a person said no
    EXPIRED = "expired"  # nobody decided in time
    CANCELLED = "cancelled"  # the client gave up or went away before a decision
    VOIDED = "voided"  # what it stood on changed before a decision: policy, identity, session
    LAPSED = "lapsed"  # approved, but not used: too late, the client gone, or voided since
    EXECUTING = "executing"  # the agent has spent the grant
    EXECUTED = "executed"
    FAILED = "failed"  # the target refused it
    OUTCOME_UNKNOWN = "outcome-unknown"  # the grant is spent and nobody can tell what became of it


class Event(enum.StrEnum):
    ADMITTED = "admitted"
    REFUSED = "refused"
    SATISFIED = "satisfied"
    DENIED = "denied"
    TIMED_OUT = "timed-out"
    CANCELLED = "cancelled"
    VOIDED = "voided"
    CONSUMED = "consumed"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"


# A late report of use corrects LAPSED: the agent had the grant before it heard that it no longer stands.
TRANSITIONS: Final[Mapping[tuple[State, Event], State]] = {
    (State.REQUESTED, Event.ADMITTED): State.PENDING,
    (State.REQUESTED, Event.REFUSED): State.REFUSED,
    (State.PENDING, Event.SATISFIED): State.APPROVED,
    (State.PENDING, Event.DENIED): State.DENIED,
    (State.PENDING, Event.TIMED_OUT): State.EXPIRED,
    (State.PENDING, Event.CANCELLED): State.CANCELLED,
    (State.PENDING, Event.VOIDED): State.VOIDED,
    (State.APPROVED, Event.CANCELLED): State.LAPSED,
    (State.APPROVED, Event.VOIDED): State.LAPSED,
    (State.APPROVED, Event.TIMED_OUT): State.LAPSED,
    (State.APPROVED, Event.CONSUMED): State.EXECUTING,
    (State.LAPSED, Event.CONSUMED): State.EXECUTING,
    (State.EXECUTING, Event.SUCCEEDED): State.EXECUTED,
    (State.EXECUTING, Event.FAILED): State.FAILED,
    (State.EXECUTING, Event.LOST): State.OUTCOME_UNKNOWN,
    (State.OUTCOME_UNKNOWN, Event.SUCCEEDED): State.EXECUTED,
    (State.OUTCOME_UNKNOWN, Event.FAILED): State.FAILED,
}

UNDECIDED: Final = frozenset({State.REQUESTED, State.PENDING})
OPEN: Final = frozenset({State.PENDING, State.APPROVED})  # something may still end them from outside


class IllegalTransition(msgspec.Struct, frozen=True):
    """Why nothing changed: the request had already gone another way."""

    state: State
    event: Event


def after(state: State, event: Event) -> State | IllegalTransition:
    return TRANSITIONS.get((state, event)) or IllegalTransition(state, event)


# ------------------------------------------------------------------ what the waiting agent is told


class Outcome(enum.StrEnum):
    """The one answer to a request; decided once and never changed."""

    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    REFUSED = "refused"


OUTCOMES: Final[Mapping[State, Outcome]] = {
    State.REFUSED: Outcome.REFUSED,
    State.APPROVED: Outcome.APPROVED,
    State.DENIED: Outcome.DENIED,
    State.EXPIRED: Outcome.EXPIRED,
    State.CANCELLED: Outcome.CANCELLED,
    State.VOIDED: Outcome.CANCELLED,
    State.LAPSED: Outcome.CANCELLED,
    State.EXECUTING: Outcome.APPROVED,
    State.EXECUTED: Outcome.APPROVED,
    State.FAILED: Outcome.APPROVED,
    State.OUTCOME_UNKNOWN: Outcome.APPROVED,
}


# ------------------------------------------------------------------ chains and people


class Stage(msgspec.Struct, frozen=True):
    """`required` distinct people out of any of the groups."""

    groups: tuple[str, ...]
    required: int
    timeout_seconds: float


class Chain(msgspec.Struct, frozen=True):
    """Ordered stages. It is kept with the request as it was when the operation was held."""

    name: str
    stages: tuple[Stage, ...]
    execute_within_seconds: float
    break_glass: bool = False  # a person with that permission may override it
    channels: tuple[str, ...] = ()  # through which decisions count; empty: all
    reauthenticate_seconds: float = 0  # how old a deciding sign-in may be; 0: as old as it is


class Person(msgspec.Struct, frozen=True):
    """An identity as it is now, with what matters for deciding."""

    id: str
    name: str
    kind: str  # person, machine
    groups: frozenset[str]
    may_review: bool  # has the reviewer's permission now
    enabled: bool


class Parties(msgspec.Struct, frozen=True):
    """Those who never decide: who asks, and all who answer for the credential that asks or could hold it."""

    requester_id: str
    owner_ids: frozenset[str] = frozenset()


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
    NOT_IN_STAGE = "the stage that is waiting asks for other groups"


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
    return None if person.may_review else Ineligible.NOT_REVIEWER


def counts(parties: Parties, stage: Stage, person: Person | None) -> bool:
    """Whether this person's agreement counts for the stage, today. None: no longer known."""
    return person is not None and ineligible(parties, person) is None and not person.groups.isdisjoint(stage.groups)


def seat(parties: Parties, vote: Vote, people: Mapping[str, Person]) -> Person | None:
    """Whose groups and scope count for this vote: of a delegate's the delegator's alone. None: it does not count."""
    involved = [people.get(one) for one in sorted(vote.whose)]
    if vote.void or any(one is None or ineligible(parties, one) for one in involved):
        return None
    return people[vote.for_id or vote.identity_id]


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


# ------------------------------------------------------------------ one person's decision


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
    refused = _over(request, at_ms) or _stale(request, shown) or _not_entitled(request, person, people)
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


def _over(request: Request, at_ms: int) -> Refused | None:
    if request.state is not State.PENDING:
        return Refused(Refusal.OVER, f"it is {request.state.value}")
    if at_ms >= request.approve_by_ms:
        return Refused(Refusal.OVER, "its time to decide has passed")
    return None


def _stale(request: Request, shown: bytes) -> Refused | None:
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


# ------------------------------------------------------------------ becoming a request


def unanswerable(chain: Chain, parties: Parties, people: Sequence[Person]) -> str | None:
    """Why nobody could ever satisfy the chain with these people. None: it can be satisfied."""
    if not chain.stages:
        return f"approval chain {chain.name!r} has no stage"
    for stage in chain.stages:
        able = sum(counts(parties, stage, person) for person in people)
        if able < stage.required:
            return f"approval chain {chain.name!r} needs {describe(stage)}, and {able} could approve this request"
    return None


def describe(stage: Stage) -> str:
    """`1 of group dba`; `2 of groups dba, security`: for notices and cards."""
    word = "group" if len(stage.groups) == 1 else "groups"
    return f"{stage.required} of {word} {', '.join(stage.groups)}"


def approve_by_ms(chain: Chain, requested_at_ms: int, wait_until_ms: int) -> int:
    """The end of the first stage's time or of the client's wait, whichever is sooner."""
    return min(wait_until_ms, requested_at_ms + int(chain.stages[0].timeout_seconds * 1000))
