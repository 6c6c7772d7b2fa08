"""How a decision may be given: through which channel, and by how fresh a sign-in. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from control_plane.approvals.domain.chain import Chain
from control_plane.approvals.domain.ruling import Refusal, Refused

# The channels of people who have signed in here, so that it is known when they last proved who they are.
SIGNED_IN: Final = ("console", "cli")
HOW: Final = "sign in again, or prove again who you are with POST /v1/session/reauthenticate, and decide then"


class Manner(msgspec.Struct, frozen=True):
    """`authenticated_at_ms`: when whoever decides last proved who they are, to the control plane itself."""

    channel: str
    authenticated_at_ms: int


def unfit(chain: Chain, manner: Manner, at_ms: int) -> Refused | None:
    """Why the chain takes no decision given like this. None: it does."""
    if chain.channels and manner.channel not in chain.channels:
        return _elsewhere(chain, manner, chain.channels)
    if not chain.reauthenticate_seconds:
        return None
    if manner.channel not in SIGNED_IN:
        return _elsewhere(chain, manner, SIGNED_IN)
    return too_old(manner, chain.reauthenticate_seconds, at_ms)


def too_old(manner: Manner, most_seconds: float, at_ms: int) -> Refused | None:
    if 0 <= at_ms - manner.authenticated_at_ms <= most_seconds * 1000:
        return None
    most = f"{most_seconds:g} seconds" if most_seconds < 60 else f"{most_seconds / 60:g} minutes"
    return Refused(Refusal.REAUTHENTICATE, f"this needs a sign-in that is not older than {most}: {HOW}")


def _elsewhere(chain: Chain, manner: Manner, allowed: tuple[str, ...]) -> Refused:
    where = " or ".join(allowed)
    return Refused(
        Refusal.CHANNEL,
        f"approval chain {chain.name!r} takes decisions through {where} only, not through {manner.channel}",
    )
