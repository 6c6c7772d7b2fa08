"""Requests for approval that outlive a client's wait: the identical operation, sent again, finds its request.

A ticket is for one requester, credential, target, digest and meaning of what has that digest, inside a transaction or
outside, and is used once. It is kept on disk, shared by the workers of one agent, so that a client may come back to any
of them and after a restart. The worker that asked (its owner) hears the answer and writes it down; whoever waits
elsewhere is told of it and reads it there. That it runs once is not decided here but by its grant's nonce, which all
workers spend in one place.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine, Iterable
from functools import partial
from typing import Any, Protocol, final

import msgspec

from data_plane.gate.impact import looked_up
from data_plane.gate.interface import Operation, Pending, Preview, SessionFacts
from data_plane.gate.meaning import meaning
from data_plane.gate.ports import (
    Answer,
    Answered,
    ApprovalRequest,
    Approvals,
    Clock,
    KeptTicket,
    TicketKey,
    TicketStore,
)
from data_plane.identifiers import ApprovalId
from data_plane.runtime.tasks import spawn


class Attached(Protocol):
    """The hold of a client that waits."""

    def pending(self, pending: Pending) -> None: ...

    def answered(self, answered: Answered) -> None: ...


@final
class Ticket:
    """One that this process asked for, or whose client waits here."""

    def __init__(self, kept: KeptTicket) -> None:
        self.kept = kept
        self.attached: Attached | None = None
        self.timer: asyncio.TimerHandle | None = None

    @property
    def short_code(self) -> str:
        return self.kept.pending.short_code if self.kept.pending is not None else ""

    def attach(self, hold: Attached) -> None:
        self.attached = hold
        if self.kept.pending is not None:
            hold.pending(self.kept.pending)
        if self.kept.answered is not None:
            hold.answered(self.kept.answered)

    def pending(self, pending: Pending) -> None:
        known, self.kept = self.kept.pending, msgspec.structs.replace(self.kept, pending=pending)
        if self.attached is not None and (known is None or known.reviewers != pending.reviewers):
            self.attached.pending(pending)

    def answered(self, answered: Answered) -> None:
        known, self.kept = self.kept.answered, msgspec.structs.replace(self.kept, answered=answered)
        if self.attached is not None and known is None:
            self.attached.answered(answered)


@final
class Tickets:
    """Those of this process; used from its event loop. `instance` is this agent instance."""

    def __init__(self, approvals: Approvals, store: TicketStore, clock: Clock, instance: str) -> None:
        self._approvals = approvals
        self._store = store
        self._clock = clock
        self._instance = instance
        self._known: dict[ApprovalId, Ticket] = {}

    def resume(self, tickets: Iterable[KeptTicket]) -> None:
        """At the start: what this instance had asked for and nobody has used yet."""
        for kept in tickets:
            ticket = self._own(kept, kept.expires_at - self._clock.now())
            if kept.answered is None:
                self._approvals.resume(kept, partial(self._pending, ticket), partial(self._answered, ticket))

    async def take(
        self, request: ApprovalRequest, digest: bytes, seconds: float, preview: Preview | None = None
    ) -> Ticket | None:
        """The ticket of the operation; when there is none it is asked for, and void after `seconds`. None: a client
        waits with it already. Raises what the store does."""
        expires_at = self._clock.now() + seconds
        fresh = KeptTicket(request.id, self._instance, request.policy_version, request.decision.rules, expires_at)
        kept = await self._store.take(key(request.session, digest, request.operation), fresh)
        if kept is None:
            return None
        if kept.approval == fresh.approval:
            ticket = self._own(kept, seconds)
            request = msgspec.structs.replace(request, impact=await looked_up(preview))
            self._approvals.request(request, partial(self._pending, ticket), partial(self._answered, ticket))
            return ticket
        ticket = self._known.setdefault(kept.approval, Ticket(kept))
        ticket.kept = msgspec.structs.replace(ticket.kept, issued=kept.issued)
        if kept.owner != self._instance:
            self.changed(kept.approval)  # it may have been answered since it was read
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Its client will come back, or another that is the same requester."""
        ticket.attached = None
        ticket.kept = msgspec.structs.replace(ticket.kept, issued=True)
        if ticket.kept.owner != self._instance:
            self._known.pop(ticket.kept.approval, None)
        self._write(self._store.leave(ticket.kept.approval))

    def remove(self, ticket: Ticket) -> None:
        """It was used, denied or withdrawn."""
        self._drop(ticket)
        self._write(self._store.remove(ticket.kept.approval))

    def changed(self, approval: ApprovalId) -> None:
        """Another worker has written something about it."""
        if approval in self._known:
            self._write(self._look(self._known[approval]))

    # ------------------------------------------------------------ its own

    def _own(self, kept: KeptTicket, seconds: float) -> Ticket:
        ticket = self._known[kept.approval] = Ticket(kept)
        ticket.timer = asyncio.get_running_loop().call_later(seconds, self._too_late, ticket)
        return ticket

    def _pending(self, ticket: Ticket, pending: Pending) -> None:
        ticket.pending(pending)
        self._write(self._store.tell(ticket.kept.approval, pending, None))

    def _answered(self, ticket: Ticket, answered: Answered) -> None:
        """Written down first, so that it is not forgotten while it is being used; the client waits no longer for it."""
        self._write(self._store.tell(ticket.kept.approval, None, answered))
        ticket.answered(answered)

    def _too_late(self, ticket: Ticket) -> None:
        self._write(self._give_up(ticket))

    async def _give_up(self, ticket: Ticket) -> None:
        self._drop(ticket)
        if await self._store.remove(ticket.kept.approval):
            self._approvals.cancel(ticket.kept.approval, "wait-ended")
            ticket.answered(Answered(Answer.EXPIRED))
        else:
            self._approvals.forget(ticket.kept.approval)

    # ------------------------------------------------------------ those of others, and what others did to its own

    async def _look(self, ticket: Ticket) -> None:
        kept = await self._store.read(ticket.kept.approval)
        if kept is None:
            self._gone(ticket)
            return
        if kept.pending is not None:
            ticket.pending(kept.pending)
        if kept.answered is not None:
            ticket.answered(kept.answered)

    def _gone(self, ticket: Ticket) -> None:
        if self._known.get(ticket.kept.approval) is not ticket:
            return  # used here
        self._drop(ticket)
        if ticket.kept.owner == self._instance:
            self._approvals.forget(ticket.kept.approval)
        else:
            ticket.answered(Answered(Answer.EXPIRED))

    def _drop(self, ticket: Ticket) -> None:
        if ticket.timer is not None:
            ticket.timer.cancel()
        self._known.pop(ticket.kept.approval, None)

    def _write(self, work: Coroutine[Any, Any, object]) -> None:
        spawn(work, "ticket")


def key(session: SessionFacts, digest: bytes, operation: Operation) -> TicketKey:
    """What the same bytes mean may have changed since people were shown it, and whether they commit by themselves."""
    what = hashlib.sha256(digest + meaning(operation.subjects) + bytes([operation.in_transaction])).digest()
    return (session.requester.id, session.credential_id, session.target.name, what)
