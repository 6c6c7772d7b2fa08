"""Logging out: there ends what is here (Back-Channel Logout 1.0), here leads to there (RP-Initiated Logout 1.0).

A logout token ends the sign-ins of one session at the provider, or of all that a subject has, with every credential
that was made with them: agents hear of it at once. It disables nobody.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from joserfc.jwk import KeySet

from control_plane.identities.ending import Ending
from control_plane.identities.tables import SignInRow
from control_plane.kit.access import Principal
from control_plane.kit.unit_of_work import Units
from control_plane.sign_on import oidc_rows, provider_sign_ins
from control_plane.sign_on.oidc_telling import CAUSES, OidcTelling
from control_plane.sign_on.oidc_tokens import Claims, TokenError, logout_token
from control_plane.sign_on.refusals import Refusals

_REMEMBERED: Final = timedelta(minutes=15)  # longer than a logout token is taken after it was made


class LogoutRefusedError(Exception):
    """Whoever sent it hears that, and no more."""


class OidcLogout:
    def __init__(self, units: Units, telling: OidcTelling, ending: Ending, refusals: Refusals, public_url: str) -> None:
        self._units = units
        self._telling = telling
        self._ending = ending
        self._refusals = refusals
        self._back = f"{public_url}/sign-in"

    async def back_channel(self, provider: str, token: str, address: str) -> None:
        """Raises LogoutRefusedError."""
        try:
            claims = await self._verified(provider, token)
            async with self._units() as uow:
                until = uow.now + _REMEMBERED
                if not await oidc_rows.first_time(uow, provider, claims.jti, until):
                    raise TokenError("it was taken before")
                rows = await provider_sign_ins.named(uow, provider, {claims.sid} - {""}, claims.sub)
                await provider_sign_ins.end(uow, self._ending, rows, f"signed out at {provider}")
        except CAUSES as error:
            await self._refusals.audit(provider, str(error), address, free=True)  # anybody may send one
            raise LogoutRefusedError from error

    async def _verified(self, provider: str, token: str) -> Claims:
        known = await self._telling.known(provider)
        expected = self._telling.expected(known)

        def verify(keys: KeySet) -> Claims:
            return logout_token(token, keys, expected)

        return await self._telling.providers.verified(known.oidc.issuer, verify)

    async def url_at_provider(self, principal: Principal) -> str:
        """Where the browser of somebody who signs out here goes to sign out there. Empty: nowhere. Before the sign-in
        here is gone."""
        if not principal.provider:
            return ""
        async with self._units.reading() as uow:
            row = await uow.session.get(SignInRow, principal.credential_id)
            sealed = "" if row is None else row.refresh
        try:
            known = await self._telling.known(principal.provider)
            kept = await self._telling.kept(principal.provider, sealed)
        except CAUSES:  # signing out here does not wait for anybody
            return ""
        return known.client.end_session_url(kept.id_token, self._back)
