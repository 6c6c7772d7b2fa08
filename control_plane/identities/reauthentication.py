"""Proving again who one is: renews when this one sign-in was proven, and nothing else of it.

What asks for a fresh proof (a chain's `reauthenticate`, breaking glass) looks at `Principal.authenticated_at`. Ways of
proving are ports: passwords and security keys; an identity provider proves by a sign-in of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from control_plane.identities.errors import NotProvenError, UnknownProofError
from control_plane.identities.ports import NotProven, ProofAgain, Proven, Reason
from control_plane.identities.sign_ins import refusal
from control_plane.identities.tables import SignInRow
from control_plane.kit.access import Principal
from control_plane.kit.errors import UnauthenticatedError
from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import AuditEvent, Units


class Reauthentication:
    def __init__(self, units: Units, ways: Sequence[ProofAgain]) -> None:
        self._units = units
        self._ways = {way.method: way for way in ways}

    async def renew(self, principal: Principal, method: str, evidence: Secret) -> datetime:
        """When it is proven from now on. Its own transactions: proving may be slow. Raises a ProblemError."""
        way = self._ways.get(method)
        if way is None:
            raise UnknownProofError(f"use one of: {', '.join(sorted(self._ways))}")
        proven = await way.prove_again(principal, evidence)
        if isinstance(proven, NotProven):
            raise NotProvenError(method) if proven.reason is Reason.WRONG else refusal(proven)
        if proven.identity.id != principal.identity:
            raise NotProvenError(method)
        return await self._renew(principal, method, proven)

    async def _renew(self, principal: Principal, method: str, proven: Proven) -> datetime:
        """What it says of itself is what was proven now: a password makes no strong sign-in of this morning fresh."""
        async with self._units() as uow:
            row = await uow.session.get(SignInRow, principal.credential_id, with_for_update=True)
            if row is None or row.expires_at <= uow.now:
                raise UnauthenticatedError("this sign-in is over; sign in again")
            row.authenticated_at, row.acr, row.amr = uow.now, proven.acr, list(proven.amr)
            row.security_key_at = uow.now if proven.by_security_key else row.security_key_at
            uow.session.add(row)
            uow.audit(AuditEvent("sign-in.reauthenticated", principal.actor, row.id, {"method": method}))
            return uow.now
