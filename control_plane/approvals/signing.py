"""A reviewer's security key signs what the reviewer was shown: the requests by their digests, the verb, the window.

The key's challenge is the hash of that statement, so what was seen and what was signed cannot differ (DESIGN invariant
2); the signature is kept with the decision and stands in the audit log, where `assentry audit verify` checks it.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from control_plane.approvals import repository
from control_plane.approvals.domain.choice import Wish
from control_plane.approvals.errors import ApprovalNotFoundError, StaleDigestError
from control_plane.approvals.review import Member
from control_plane.approvals.seeing import may_see
from control_plane.approvals.signed_words import Signature, signed_request, signed_window
from control_plane.kit.access import Principal
from control_plane.kit.unit_of_work import UnitOfWork, Units
from control_plane.security_keys.service import Answer, Ceremony, SecurityKeys
from control_plane.security_keys.statement import Decision, Purpose, Request


class Signing:
    def __init__(self, units: Units, keys: SecurityKeys) -> None:
        self._units = units
        self._keys = keys

    async def ask(
        self, uow: UnitOfWork, principal: Principal, verb: str, looked_at: Sequence[Member], window: Wish | None = None
    ) -> Ceremony:
        """For one signature over all that was looked at. Whether they may decide is asked when they do. Raises a
        ProblemError."""
        requests = tuple([await self._request(uow, principal, one) for one in looked_at])
        return await self._keys.ask(uow, principal, Decision(verb, requests, signed_window(window)))

    async def _request(self, uow: UnitOfWork, principal: Principal, looked_at: Member) -> Request:
        row = await repository.one(uow.session, looked_at.approval_id)
        if row is None or not may_see(principal, row):
            raise ApprovalNotFoundError(looked_at.approval_id)
        if not hmac.compare_digest(row.shown_digest, looked_at.shown):
            raise StaleDigestError("the digest is not the one of this request: look at it again before deciding")
        return signed_request(row, looked_at.shown)

    async def given(self, principal: Principal, answer: Answer | str | None) -> Signature:
        """What came with a decision, checked and spent in a transaction of its own: it stays so, whatever becomes of
        the decision. None or an empty text: nothing came."""
        if not answer:
            return None
        read = Answer.read(answer) if isinstance(answer, str) else answer
        async with self._units() as uow:
            return await self._keys.prove(uow, principal, Purpose.DECIDE, read)
