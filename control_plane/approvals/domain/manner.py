"""How a decision may be given: through which channel, by how fresh and how strong a sign-in, signed or not. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from control_plane.approvals.domain.chain import Chain
from control_plane.approvals.domain.ruling import Refusal, Refused

# The channels of people who have signed in here, so that it is known when they last proved who they are.
SIGNED_IN: Final = ("console", "cli")
HOW: Final = "sign in again, or prove again who you are with POST /v1/session/reauthenticate, and decide then"
NOT_SIGNED: Final = "this is approved with a security key: open it in the console, where your browser asks for the key"


class Manner(msgspec.Struct, frozen=True):
    """`authenticated_at_ms`: when whoever decides last proved who they are, to the control plane itself; `acr` and
    `amr`: how. `unsigned`: why no security key has signed this very decision; empty: one has."""

    channel: str
    authenticated_at_ms: int
    acr: str = ""
    amr: tuple[str, ...] = ()
    unsigned: str = NOT_SIGNED


def unfit(chain: Chain, manner: Manner, at_ms: int) -> Refused | None:
    """Why the chain takes no decision given like this. None: it does."""
    if chain.channels and manner.channel not in chain.channels:
        return _elsewhere(chain, manner, chain.channels)
    if chain.asks_for_proof and manner.channel not in SIGNED_IN:
        return _elsewhere(chain, manner, SIGNED_IN)
    if chain.reauthenticate_seconds and (old := too_old(manner, chain.reauthenticate_seconds, at_ms)):
        return old
    return too_weak(chain, manner)


def too_old(manner: Manner, most_seconds: float, at_ms: int) -> Refused | None:
    if 0 <= at_ms - manner.authenticated_at_ms <= most_seconds * 1000:
        return None
    most = f"{most_seconds:g} seconds" if most_seconds < 60 else f"{most_seconds / 60:g} minutes"
    return Refused(Refusal.REAUTHENTICATE, f"this needs a sign-in that is not older than {most}: {HOW}")


def too_weak(chain: Chain, manner: Manner) -> Refused | None:
    """Whatever its age. Asked of whoever breaks the glass too."""
    if chain.acr and manner.acr not in chain.acr:
        wanted = " or ".join(chain.acr)
        return Refused(Refusal.REAUTHENTICATE, f"this needs a sign-in of the context (acr) {wanted}: {HOW}")
    if lacking := [one for one in chain.amr if one not in manner.amr]:
        wanted = " and ".join(lacking)
        return Refused(Refusal.REAUTHENTICATE, f"this needs a sign-in by the method (amr) {wanted}: {HOW}")
    return Refused(Refusal.SECURITY_KEY, manner.unsigned) if chain.security_key and manner.unsigned else None


def _elsewhere(chain: Chain, manner: Manner, allowed: tuple[str, ...]) -> Refused:
    where = " or ".join(allowed)
    return Refused(
        Refusal.CHANNEL,
        f"approval chain {chain.name!r} takes decisions through {where} only, not through {manner.channel}",
    )
