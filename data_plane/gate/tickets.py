"""Requests for approval that outlive a client's wait: the identical operation, sent again, finds its request.

A ticket is for one requester, credential, target and digest, and is used once. Kept in memory: after a restart of
the agent the operation asks anew. Whoever waits is attached; an answer that finds nobody is kept until the client
comes back or the ticket's time is over.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol, final

from data_plane.gate.interface import Pending, SessionFacts
from data_plane.gate.ports import Answer, Answered, ApprovalRequest, Approvals

_MOST: Final = 10_000

_Key = tuple[str, str, str, bytes]


class Attached(Protocol):
    """The hold of a client that waits."""

    def pending(self, pending: Pending) -> None: ...

    def answered(self, answered: Answered) -> None: ...


@final
class Ticket:
    def __init__(self, request: ApprovalRequest, digest: bytes) -> None:
        self.request = request
        self.digest = digest
        self.attached: Attached | None = None
        self.issued = False  # a client was told to come back
        self.short_code = ""
        self.timer: asyncio.TimerHandle | None = None
        self._pending: Pending | None = None
        self._answered: Answered | None = None

    def attach(self, hold: Attached) -> None:
        self.attached = hold
        if self._pending is not None:
            hold.pending(self._pending)
        if self._answered is not None:
            hold.answered(self._answered)

    def pending(self, pending: Pending) -> None:
        self._pending, self.short_code = pending, pending.short_code
        if self.attached is not None:
            self.attached.pending(pending)

    def answered(self, answered: Answered) -> None:
        self._answered = answered
        if self.attached is not None:
            self.attached.answered(answered)


@final
class Tickets:
    """All open tickets of the process; used from its event loop."""

    def __init__(self, approvals: Approvals) -> None:
        self._approvals = approvals
        self._open: dict[_Key, Ticket] = {}

    def find(self, session: SessionFacts, digest: bytes) -> Ticket | None:
        return self._open.get(_key(session, digest))

    def open(self, request: ApprovalRequest, digest: bytes, seconds: float) -> Ticket:
        """Asks; the ticket is void after `seconds`. At the limit the oldest is given up."""
        if len(self._open) >= _MOST:
            self._give_up(next(iter(self._open.values())), "too-many-tickets")
        ticket = Ticket(request, digest)
        self._open[_key(request.session, digest)] = ticket
        ticket.timer = asyncio.get_running_loop().call_later(seconds, self._give_up, ticket, "wait-ended")
        self._approvals.request(request, ticket.pending, ticket.answered)
        return ticket

    def remove(self, ticket: Ticket) -> None:
        """It was used, denied or withdrawn."""
        if ticket.timer is not None:
            ticket.timer.cancel()
        key = _key(ticket.request.session, ticket.digest)
        if self._open.get(key) is ticket:
            del self._open[key]

    def _give_up(self, ticket: Ticket, reason: str) -> None:
        self.remove(ticket)
        self._approvals.cancel(ticket.request.id, reason)
        ticket.answered(Answered(Answer.EXPIRED))


def _key(session: SessionFacts, digest: bytes) -> _Key:
    return (session.requester.id, session.credential_id, session.target.name, digest)
