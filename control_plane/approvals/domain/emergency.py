"""Breaking glass: one person overrides the chain of a waiting request. Pure.

Only where the chain says `break_glass: true`, only a living human with that permission, who need not be a reviewer, and
never the requester or an owner of the requesting credential: even in an emergency nobody lets their own operation
through (DESIGN invariant 5). The emergency is the team's; a colleague answers for it, and a third person reviews it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from control_plane.approvals.domain.manner import Manner, too_old, too_weak
from control_plane.approvals.domain.people import Ineligible, Parties, Person, Vote, ineligible
from control_plane.approvals.domain.ruling import Refusal, Refused, Request, over, stale

CHANNEL: Final = "break-glass"
FRESH_SECONDS: Final = 300
NOT_OFFERED: Final = "its approval chain does not allow breaking glass"
_OF_REVIEWERS: Final = frozenset({Ineligible.NOT_REVIEWER, Ineligible.OUT_OF_SCOPE})
NOT_PERMITTED: Final = "this needs the permission break-glass; an admin gives it through a group's role"


class Broken(msgspec.Struct, frozen=True):
    vote: Vote
    reason: str


def break_glass(
    request: Request, person: Person, manner: Manner, *, shown: bytes, at_ms: int, reason: str
) -> Broken | Refused:
    refused = over(request, at_ms) or stale(request, shown)
    if refused:
        return refused
    if why := why_not(request, person):
        return Refused(Refusal.NOT_ENTITLED, why)
    if not reason.strip():
        return Refused(Refusal.REASON_MISSING, "say why: everybody who is skipped is told, and the review asks for it")
    vote = Vote(person.id, person.name, 0, at_ms, CHANNEL)
    fresh = min(FRESH_SECONDS, request.chain.reauthenticate_seconds or FRESH_SECONDS)
    return too_old(manner, fresh, at_ms) or too_weak(request.chain, manner) or Broken(vote, reason.strip())


def why_not(request: Request, person: Person | None) -> str:
    """Why this person may not break glass here. Empty: they may."""
    if not request.chain.break_glass:
        return NOT_OFFERED
    return unfit_to_break(request.parties, person)


def unfit_to_break(parties: Parties, person: Person | None) -> str:
    """Asked again while a grant that was made like this is not used."""
    if person is None:
        return Ineligible.DISABLED.value
    never = ineligible(parties, person)
    if never and never not in _OF_REVIEWERS:
        return never.value
    return "" if person.may_break_glass else NOT_PERMITTED
