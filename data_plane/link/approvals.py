"""Asks people through the control plane: the gate's `Approvals` port over the journal and the stream.

A request is journaled, then sent by the stream, again after a reconnect until it is acknowledged. While the control
plane is out of reach a new request is answered UNAVAILABLE at once; one that waits already goes on waiting until the
control plane is back or the lease ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from data_plane.gate.interface import Pending
from data_plane.gate.ports import Answer, Answered, ApprovalRequest, Clock, KeptTicket
from data_plane.identifiers import ApprovalId
from data_plane.link import messages
from data_plane.link.journal import Journal

log = structlog.get_logger(__name__)


class _Waiting(msgspec.Struct, eq=False):
    rules: tuple[str, ...]
    wait_seconds: float
    pending: Callable[[Pending], None]
    answered: Callable[[Answered], None]
    told: str | None = None  # who may approve, as `pending` was told last


class _Granted(msgspec.Struct, eq=False):
    """Approved and, as far as is known here, not over: only a window is more than a moment so."""

    over: Callable[[str], None] | None = None
    taken_back: str = ""  # why, before anybody watched


class LinkApprovals:
    """Used from the event loop only."""

    def __init__(self, journal: Journal, clock: Clock, reachable: Callable[[], bool]) -> None:
        self._journal = journal
        self._clock = clock
        self._reachable = reachable
        self._waiting: dict[ApprovalId, _Waiting] = {}
        self._granted: dict[ApprovalId, _Granted] = {}

    def request(
        self,
        request: ApprovalRequest,
        pending: Callable[[Pending], None],
        answered: Callable[[Answered], None],
    ) -> None:
        if not self._reachable() or self._journal.failure:
            unavailable = Answered(Answer.UNAVAILABLE, "the control plane is out of reach")
            asyncio.get_running_loop().call_soon(answered, unavailable)
            return
        rules = request.decision.rules
        self._waiting[request.id] = _Waiting(rules, request.wait_seconds, pending, answered)
        wait_until_ms = int((self._clock.now() + request.wait_seconds) * 1000)
        self._journal.append(messages.Requested(request, wait_until_ms))

    def resume(
        self, ticket: KeptTicket, pending: Callable[[Pending], None], answered: Callable[[Answered], None]
    ) -> None:
        """The control plane is asked about it at Hello."""
        left = ticket.expires_at - self._clock.now()
        self._waiting[ticket.approval] = _Waiting(ticket.rules, left, pending, answered)

    def forget(self, approval: ApprovalId) -> None:
        self._waiting.pop(approval, None)
        self._granted.pop(approval, None)
        self._journal.settled(approval)

    def cancel(self, approval: ApprovalId, reason: str) -> None:
        self._waiting.pop(approval, None)
        self._granted.pop(approval, None)
        self._journal.append(messages.Cancelled(approval, reason))

    def consumed(self, approval: ApprovalId, nonce: bytes, use: int = 0, digest: bytes = b"") -> None:
        if not use:
            self._granted.pop(approval, None)
        self._journal.append(messages.Consumed(approval, nonce, use, digest))

    def finished(self, approval: ApprovalId, outcome: str, detail: str, use: int = 0) -> None:
        self._journal.append(messages.Finished(approval, outcome, detail, use))

    def watch(self, approval: ApprovalId, over: Callable[[str], None]) -> None:
        granted = self._granted.setdefault(approval, _Granted())
        granted.over = over
        if granted.taken_back:
            over(granted.taken_back)

    @property
    def waiting(self) -> tuple[str, ...]:
        """What the control plane is asked about again after a reconnect, also what it has granted and may yet
        take back."""
        return (*self._waiting, *self._granted)

    # ------------------------------------------------------------ what the stream brings

    def is_pending(self, said: messages.ApprovalPending) -> None:
        waiting = self._waiting.get(said.approval_id)
        if waiting is None or waiting.told == said.reviewers:
            return
        waiting.told = said.reviewers
        told = Pending(
            approval_id=said.approval_id,
            short_code=said.short_code,
            url=said.url,
            reviewers=said.reviewers,
            rules=waiting.rules,
            wait_seconds=waiting.wait_seconds,
        )
        waiting.pending(told.within(said.left_seconds))

    def is_decided(self, decided: messages.ApprovalDecided) -> None:
        approval, answered = decided.approval_id, decided.answered
        if (granted := self._granted.get(approval)) is not None:
            if answered.answer is not Answer.APPROVED:
                self._taken_back(granted, answered.reason or answered.answer.value)
            return
        waiting = self._waiting.pop(approval, None)
        if answered.answer is not Answer.APPROVED:
            self._journal.settled(approval)
        elif waiting is not None:
            self._granted[approval] = _Granted()
        if waiting is not None:
            waiting.answered(answered)

    def _taken_back(self, granted: _Granted, reason: str) -> None:
        """What was granted ends; the journal hears of it from whoever uses it."""
        granted.taken_back = granted.taken_back or reason
        if granted.over is not None:
            granted.over(granted.taken_back)

    def give_up(self, reason: str) -> None:
        """The lease has ended or the control plane refused this agent: nobody can be asked any more."""
        waiting, self._waiting = self._waiting, {}
        for approval, one in waiting.items():
            self._journal.append(messages.Cancelled(approval, reason))
            one.answered(Answered(Answer.UNAVAILABLE, reason))
