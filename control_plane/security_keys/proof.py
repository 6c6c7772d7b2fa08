"""The port ProofAgain: a security key of the same person signs a challenge that is good once."""

from __future__ import annotations

from typing import Final

from control_plane.identities.ports import NotProven, Proven, Reason
from control_plane.identities.service import IdentityService
from control_plane.kit.access import Principal
from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import Units
from control_plane.security_keys.service import Answer, Rejected, SecurityKeys
from control_plane.security_keys.statement import Purpose

# What such a sign-in says of itself: OpenID's EAP 1.0 calls it phishing-resistant; RFC 8176 has the others.
ACR: Final = "phr"
AMR: Final = ("pop", "user", "mfa")


class SecurityKeyAgain:
    method = "security-key"

    def __init__(self, units: Units, keys: SecurityKeys, identities: IdentityService) -> None:
        self._units = units
        self._keys = keys
        self._identities = identities

    async def prove_again(self, principal: Principal, evidence: Secret) -> Proven | NotProven:
        """`evidence`: JSON of an Answer."""
        async with self._units() as uow:
            found = await self._keys.prove(uow, principal, Purpose.AUTHENTICATE, Answer.read(evidence.reveal()))
            if isinstance(found, Rejected):
                return NotProven(Reason.WRONG)
            identity = await self._identities.named(uow, principal.name)
        return Proven(identity, ACR, AMR, by_security_key=True)
