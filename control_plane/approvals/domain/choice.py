"""The window that a reviewer may choose in place of one operation: what is offered, what all have agreed to. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from control_plane.approvals.domain.chain import Chain, Window
from control_plane.approvals.domain.people import Choice, Vote


class Wish(msgspec.Struct, frozen=True):
    """As a reviewer says it: so many minutes from now, or until then."""

    uses: int
    minutes: int | None = None
    until_ms: int | None = None

    def at(self, now_ms: int) -> Choice:
        """Neither minutes nor an end is no time at all."""
        until_ms = self.until_ms if self.until_ms is not None else now_ms + (self.minutes or 0) * 60_000
        return Choice(until_ms, self.uses)


def offered(chain: Chain, *, shape: str, ticket: bool) -> Window | None:
    """`shape`: of the operation, empty when it has none. A ticket outlives its session, a window does not."""
    return chain.window if shape and not ticket else None


def objection(offer: Window | None, choice: Choice, at_ms: int) -> str:
    """Why this choice cannot be made. Empty: it can."""
    if offer is None:
        return "this request can be approved for this one operation only"
    if not 1 <= choice.uses <= offer.most:
        return f"the chain allows from 1 to {offer.most} operations in a window"
    if choice.until_ms <= at_ms:
        return "the end of the window has passed"
    if choice.until_ms > at_ms + int(offer.longest_seconds * 1000):
        return f"the chain allows windows of {offer.longest_seconds:g} seconds at most"
    return ""


def agreed(votes: Iterable[Vote], at_ms: int) -> Choice | None:
    """What everybody who counts has agreed to: the shortest time and the fewest uses that anybody chose. None: one
    operation, because somebody chose no window, or because the time that somebody chose is over."""
    choices = [vote.window for vote in votes]
    chosen = [choice for choice in choices if choice is not None]
    if not choices or len(chosen) < len(choices):
        return None
    smallest = Choice(min(one.until_ms for one in chosen), min(one.uses for one in chosen))
    return smallest if smallest.uses > 1 and smallest.until_ms > at_ms else None


def bounded(choice: Choice, offer: Window, at_ms: int) -> Choice:
    """As the chain bounds it from this moment on."""
    longest = at_ms + int(offer.longest_seconds * 1000)
    return msgspec.structs.replace(choice, until_ms=min(choice.until_ms, longest), uses=min(choice.uses, offer.most))
