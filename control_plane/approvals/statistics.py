"""How reviewers decide: how fast, and how often they agree. Computed from the votes of a period; nothing is kept.

Time runs from the moment at which a person could decide: when it was asked, or when the stage before had agreed. Of
identical requests that one click decides together it is one decision. `rubber_stamping` is a question to ask, not a
finding: somebody who decides often, nearly always agrees, and takes no time to read.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from sqlmodel import col, select

from control_plane.approvals.domain import Verb
from control_plane.approvals.tables import ApprovalRow, VoteRow
from control_plane.kit.unit_of_work import UnitOfWork

STAMPS_AT_LEAST: Final = 10  # decisions
STAMPS_SHARE: Final = 0.95  # approved
STAMPS_SECONDS: Final = 10.0  # half of them faster than this


class Decision(msgspec.Struct, frozen=True):
    """One vote, with what is needed to say how long it took."""

    approval_id: str
    card_id: str
    identity_id: str
    name: str
    approved: bool
    stage: int
    at_ms: int
    requested_at_ms: int


class Reviewer(msgspec.Struct, frozen=True):
    identity_id: str
    name: str
    decisions: int
    approved: int
    median_seconds: float
    p90_seconds: float
    fastest_seconds: float

    @property
    def share_approved(self) -> float:
        return self.approved / self.decisions

    @property
    def rubber_stamping(self) -> bool:
        fast = self.median_seconds < STAMPS_SECONDS
        return fast and self.decisions >= STAMPS_AT_LEAST and self.share_approved >= STAMPS_SHARE


class _Taken(msgspec.Struct, frozen=True):
    decision: Decision
    seconds: float


async def of_period(uow: UnitOfWork, from_ms: int, until_ms: int) -> list[Reviewer]:
    """Of decisions in [from, until); whoever decided most often first."""
    at = col(VoteRow.at_ms)
    within = select(VoteRow.approval_id).where(at >= from_ms, at < until_ms)
    statement = (
        select(VoteRow, ApprovalRow.requested_at_ms, ApprovalRow.card_id)
        .join(ApprovalRow, col(ApprovalRow.id) == col(VoteRow.approval_id))
        .where(col(VoteRow.approval_id).in_(within))
        .order_by(col(VoteRow.approval_id), at)
    )
    rows = (await uow.session.exec(statement)).all()
    decisions = [_decision(vote, requested_at_ms, card_id) for vote, requested_at_ms, card_id in rows]
    return summarized(decisions, from_ms, until_ms)


def _decision(vote: VoteRow, requested_at_ms: int, card_id: str) -> Decision:
    return Decision(
        approval_id=vote.approval_id,
        card_id=card_id,
        identity_id=vote.identity_id,
        name=vote.name,
        approved=vote.verb == Verb.APPROVE,
        stage=vote.stage,
        at_ms=vote.at_ms,
        requested_at_ms=requested_at_ms,
    )


# ------------------------------------------------------------------ pure


def summarized(decisions: Sequence[Decision], from_ms: int, until_ms: int) -> list[Reviewer]:
    """`decisions`: all of every request that was decided on in the period, in the order in which they were given."""
    by_person: dict[str, list[_Taken]] = {}
    for taken in _once_a_card(_timed(decisions)):
        if from_ms <= taken.decision.at_ms < until_ms:
            by_person.setdefault(taken.decision.identity_id, []).append(taken)
    found = [_reviewer(taken) for taken in by_person.values()]
    return sorted(found, key=lambda one: (-one.decisions, one.name))


def _timed(decisions: Iterable[Decision]) -> Iterable[_Taken]:
    """A stage begins to wait with the last agreement of a stage before it."""
    for _, of_one in itertools.groupby(decisions, key=lambda one: one.approval_id):
        ends: dict[int, int] = {}
        for one in of_one:
            began = max((at for stage, at in ends.items() if stage < one.stage), default=one.requested_at_ms)
            yield _Taken(one, max(0, one.at_ms - began) / 1000)
            ends[one.stage] = one.at_ms


def _once_a_card(taken: Iterable[_Taken]) -> Iterable[_Taken]:
    """Of what one person decided at one moment on one card, the one that had waited longest."""
    longest: dict[tuple[str, str, int], _Taken] = {}
    for one in taken:
        key = (one.decision.identity_id, one.decision.card_id, one.decision.at_ms)
        if key not in longest or longest[key].seconds < one.seconds:
            longest[key] = one
    return longest.values()


def _reviewer(taken: Sequence[_Taken]) -> Reviewer:
    seconds = sorted(one.seconds for one in taken)
    newest = max(taken, key=lambda one: one.decision.at_ms).decision
    return Reviewer(
        identity_id=newest.identity_id,
        name=newest.name,
        decisions=len(taken),
        approved=sum(one.decision.approved for one in taken),
        median_seconds=statistics.median(seconds),
        p90_seconds=seconds[math.ceil(0.9 * len(seconds)) - 1],
        fastest_seconds=seconds[0],
    )
