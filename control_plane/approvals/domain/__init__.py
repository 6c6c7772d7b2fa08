"""The rules of approval: what a request may become, who may decide it, and when people have agreed. Pure.

A request's state follows one table; a pair that is not in it is refused. People decide against an ordered
chain of stages, each *k of* a set of groups. Who counts is asked again at every decision, of everybody who
has already agreed: a role that was lost since does not count. Nothing here reads a clock or a database.
"""

from __future__ import annotations

from control_plane.approvals.domain.chain import Chain, Stage, approve_by_ms, describe
from control_plane.approvals.domain.counting import Progress, counts, progress, unanswerable
from control_plane.approvals.domain.people import Ineligible, Parties, Person, StandIn, Vote, ineligible, seat
from control_plane.approvals.domain.ruling import (
    Agreed,
    Counted,
    Denied,
    Refusal,
    Refused,
    Request,
    Ruling,
    Verb,
    entitlement,
    place_of,
    rule,
)
from control_plane.approvals.domain.states import (
    OPEN,
    OUTCOMES,
    TRANSITIONS,
    UNDECIDED,
    Event,
    IllegalTransition,
    Outcome,
    State,
    after,
)

__all__ = [
    "OPEN",
    "OUTCOMES",
    "TRANSITIONS",
    "UNDECIDED",
    "Agreed",
    "Chain",
    "Counted",
    "Denied",
    "Event",
    "IllegalTransition",
    "Ineligible",
    "Outcome",
    "Parties",
    "Person",
    "Progress",
    "Refusal",
    "Refused",
    "Request",
    "Ruling",
    "Stage",
    "StandIn",
    "State",
    "Verb",
    "Vote",
    "after",
    "approve_by_ms",
    "counts",
    "describe",
    "entitlement",
    "ineligible",
    "place_of",
    "progress",
    "rule",
    "seat",
    "unanswerable",
]
