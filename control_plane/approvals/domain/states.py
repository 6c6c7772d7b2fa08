"""What a request may become: one table, and a pair that is not in it is refused."""

from __future__ import annotations

import enum
from collections.abc import Mapping
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
    WINDOW = "window"  # granted for a window, which is open and has been used
    ENDED = "ended"  # a window is over; an approved plan is used up; approved access is over


class Event(enum.StrEnum):
    ADMITTED = "admitted"
    REFUSED = "refused"
    SATISFIED = "satisfied"
    DENIED = "denied"
    TIMED_OUT = "timed-out"
    CANCELLED = "cancelled"
    VOIDED = "voided"
    CONSUMED = "consumed"
    USED = "used"  # the first use of a window
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"
    ENDED = "ended"


# A late report of use corrects LAPSED: the agent had the grant before it heard that it no longer stands.
TRANSITIONS: Final[Mapping[tuple[State, Event], State]] = {
    (State.REQUESTED, Event.ADMITTED): State.PENDING,
    (State.REQUESTED, Event.REFUSED): State.REFUSED,
    (State.REQUESTED, Event.SATISFIED): State.APPROVED,  # beforehand, in a plan
    (State.PENDING, Event.SATISFIED): State.APPROVED,
    (State.PENDING, Event.DENIED): State.DENIED,
    (State.PENDING, Event.TIMED_OUT): State.EXPIRED,
    (State.PENDING, Event.CANCELLED): State.CANCELLED,
    (State.PENDING, Event.VOIDED): State.VOIDED,
    (State.APPROVED, Event.CANCELLED): State.LAPSED,
    (State.APPROVED, Event.VOIDED): State.LAPSED,
    (State.APPROVED, Event.TIMED_OUT): State.LAPSED,
    (State.APPROVED, Event.ENDED): State.ENDED,
    (State.APPROVED, Event.CONSUMED): State.EXECUTING,
    (State.LAPSED, Event.CONSUMED): State.EXECUTING,
    (State.APPROVED, Event.USED): State.WINDOW,
    (State.LAPSED, Event.USED): State.ENDED,
    (State.WINDOW, Event.CANCELLED): State.ENDED,
    (State.WINDOW, Event.VOIDED): State.ENDED,
    (State.WINDOW, Event.TIMED_OUT): State.ENDED,
    (State.WINDOW, Event.ENDED): State.ENDED,
    (State.EXECUTING, Event.SUCCEEDED): State.EXECUTED,
    (State.EXECUTING, Event.FAILED): State.FAILED,
    (State.EXECUTING, Event.LOST): State.OUTCOME_UNKNOWN,
    (State.OUTCOME_UNKNOWN, Event.SUCCEEDED): State.EXECUTED,
    (State.OUTCOME_UNKNOWN, Event.FAILED): State.FAILED,
}

UNDECIDED: Final = frozenset({State.REQUESTED, State.PENDING})
OPEN: Final = frozenset({State.PENDING, State.APPROVED, State.WINDOW})  # something may still end them from outside


class IllegalTransition(msgspec.Struct, frozen=True):
    """Why nothing changed: the request had already gone another way."""

    state: State
    event: Event


def after(state: State, event: Event) -> State | IllegalTransition:
    return TRANSITIONS.get((state, event)) or IllegalTransition(state, event)


class Outcome(enum.StrEnum):
    """The answer to a request. Decided once; only an approval is taken back, which ends a window."""

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
    State.WINDOW: Outcome.APPROVED,
    State.ENDED: Outcome.CANCELLED,
}
