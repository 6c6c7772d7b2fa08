"""What was refused, in the audit log: the exact cause, and from where. Whoever is outside hears one sentence."""

from __future__ import annotations

from typing import Final

from control_plane.identities import throttle
from control_plane.kit.unit_of_work import NOBODY, Actor, AuditEvent, Units

# Counted so, of whichever protocol.
SIGN_INS: Final = "sign-ins at identity providers that nobody has begun here, or that cannot begin"
_LONGEST: Final = 1000


class Refusals:
    """Of one kind. `counted`: what the throttle counts them as; with the network behind it, it is longer than any name
    of somebody, so that no name locks it, nor it a name."""

    def __init__(self, units: Units, kind: str, counted: str) -> None:
        self._units = units
        self._kind = kind
        self._counted = counted

    async def audit(
        self, provider: str, cause: str, address: str, subject: str = "", by: Actor = NOBODY, *, free: bool = False
    ) -> None:
        """`free`: whoever asks has not proven who they are, so it costs nothing, also to begin each time; it is written
        down while it is not a flood."""
        told = {"cause": cause[:_LONGEST], "client_address": address[:64], **({"subject": subject} if subject else {})}
        async with self._units() as uow:
            if free:
                counted = f"{self._counted}, from {throttle.network(address)}"
                if await throttle.locked_for(uow, counted):
                    return
                await throttle.failed(uow, counted)
            uow.audit(AuditEvent(self._kind, by, provider, told))
