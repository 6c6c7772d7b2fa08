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
    """One person's agreement, given for a stage and through a channel."""

    identity_id: str
    name: str
    stage: int
    at_ms: int
    channel: str


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
        for vote in votes:
            if missing and vote.stage == index and vote.identity_id not in seen:
                seen.add(vote.identity_id)
                if counts(parties, stage, people.get(vote.identity_id)):
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
    vote = Vote(person.id, person.name, now.stage, at_ms, channel)
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
    """Whether this person may decide now, at the stage that waits. None: yes."""
    never = ineligible(request.parties, person)
    if never:
        return never
    if any(vote.identity_id == person.id for vote in request.votes):
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
