"""Identical requests of one requester that wait are one card: shown once with their number, decided by one word.

Each keeps its own request, its own digest of what was shown, its own votes and its own grant, which is bound to its own
session. So a word says which of them it is for: it carries the digest of every one that stood on the card, and one that
came later is not decided by it. All of a card have the same votes: who decides on some parts them from the rest.

`card_id` is the id of the request that people are told of, the oldest of the card.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping

import msgspec

from control_plane.approvals import repository
from control_plane.approvals.domain import Refusal, Refused, Ruling, State
from control_plane.approvals.review import ReviewService, Word
from control_plane.approvals.tables import ApprovalRow
from control_plane.approvals.transitions import audited
from control_plane.kit.access import Principal
from control_plane.kit.unit_of_work import Json, UnitOfWork

_NOT_ON_THE_CARD = "it is no longer on this card: look at it again before deciding"


class Cards:
    def __init__(self, review: ReviewService) -> None:
        self._review = review

    async def decide(self, uow: UnitOfWork, principal: Principal, approval_id: str, word: Word) -> Ruling | None:
        """One word for several of one card. Its outcome for the first is the answer; what it is refused for changes
        nothing of the others, and one of them that is over already stays as it is."""
        rows = await _locked(uow, [approval_id, *(member.approval_id for member in word.also)])
        first = rows.get(approval_id)
        if first is None:
            return None
        refused = _refused(first, word, rows) if word.also else None
        if refused:
            told: dict[str, Json] = {"verb": word.verb, "why": refused.why, "detail": refused.detail}
            uow.audit(audited(first, "decision-refused", principal.actor, told))
            return refused
        ruling = await self._review.decide_on(uow, principal, first, word)
        if isinstance(ruling, Refused):
            return ruling
        for member in word.also:
            row = rows[member.approval_id]
            if row is not first and row.state == State.PENDING:
                same = msgspec.structs.replace(word, shown=member.shown)
                await self._review.decide_on(uow, principal, row, same)
        return ruling


def _refused(first: ApprovalRow, word: Word, rows: Mapping[str, ApprovalRow]) -> Refused | None:
    if word.window is not None:
        return Refused(Refusal.WINDOW, "a window is for one session: decide on this request by itself")
    for member in word.also:
        row = rows.get(member.approval_id)
        if row is None or row.card_id != first.card_id or not hmac.compare_digest(row.shown_digest, member.shown):
            return Refused(Refusal.STALE, _NOT_ON_THE_CARD)
    return None


async def _locked(uow: UnitOfWork, approval_ids: Iterable[str]) -> dict[str, ApprovalRow]:
    """In one order: of two people at one card, one waits for the other."""
    rows = [await repository.locked(uow.session, one) for one in sorted(set(approval_ids))]
    return {row.id: row for row in rows if row is not None}
