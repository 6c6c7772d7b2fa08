"""What Jira and ServiceNow channels share: a ticket opens with a request, follows it, and closes with its outcome.

A ticket is found by the request's id before one is made, and what is written into it carries the delivery's id, so a
delivery that comes twice leaves one ticket and one comment. The system's own search may lag a moment behind what was
written to it: only a crash within that moment can leave two.
"""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from control_plane.approvals.domain import OPEN, State
from control_plane.notifications.kinds import CLOSING, headline
from control_plane.notifications.ports import Facts, Notice, Told
from control_plane.notifications.rendering import Message, message

_OPENING: Final = "approval.pending"
_QUIET: Final = frozenset({"approval.executing", "approval.regrouped"})  # what follows says more


class Ticket(msgspec.Struct, frozen=True):
    reference: str  # how its system finds it again
    label: str  # what people call it
    url: str


class Tickets(Protocol):
    """One ticketing system. All of it raises Later and Never."""

    @property
    def most_characters(self) -> int: ...

    async def find(self, approval_id: str) -> Ticket | None: ...

    async def open(self, approval_id: str, told: Message) -> Ticket: ...

    def known(self, reference: str) -> Ticket: ...

    async def comment(self, ticket: Ticket, told: Message, delivery_id: str, *, repeated: bool) -> None:
        """`repeated`: it may have been written before."""

    async def close(self, ticket: Ticket, state: State) -> str:
        """Whatever the system can do about a request that has ended so. What it did, for the delivery log."""


class TicketCourier:
    def __init__(self, tickets: Tickets) -> None:
        self._tickets = tickets

    async def deliver(self, notice: Notice, facts: Facts) -> Told | None:
        if facts.view is None:
            return Told("not about a request")
        if notice.kind in _QUIET:
            return Told("nothing to write")
        told = message(notice, facts, self._tickets.most_characters)
        ticket = self._tickets.known(facts.reference) if facts.reference else await self._tickets.find(notice.key)
        if ticket is None:
            if State(facts.view.row.state) not in OPEN:
                return Told("there is no ticket, and nothing is open any more")
            ticket = await self._tickets.open(notice.key, told)
            done = "opened"
        elif notice.kind == _OPENING:
            done = "was open already"
        else:
            await self._tickets.comment(ticket, told, facts.idempotency_key, repeated=facts.attempt > 1)
            done = headline(notice.kind)
        if notice.kind in CLOSING:
            done = await self._tickets.close(ticket, State(facts.view.row.state)) or done
        return Told(f"{ticket.label}: {done}", ticket.reference, ticket.label, ticket.url)
