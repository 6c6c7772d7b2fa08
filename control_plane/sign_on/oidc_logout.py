"""Logging out: there ends what is here (Back-Channel Logout 1.0), here leads to there (RP-Initiated Logout 1.0).

A logout token ends the sign-ins of one session at the provider, or of all that a subject has, with every credential
that was made with them: agents hear of it at once. It disables nobody.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from joserfc.jwk import KeySet

from control_plane.identities import throttle
from control_plane.identities.ending import Ending
from control_plane.identities.tables import SignInRow
from control_plane.kit.access import Principal
from control_plane.kit.unit_of_work import NOBODY, SYSTEM, AuditEvent, UnitOfWork, Units
from control_plane.sign_on import oidc_rows
from control_plane.sign_on.oidc_telling import CAUSES, OidcTelling
from control_plane.sign_on.oidc_tokens import Claims, TokenError, logout_token

_REMEMBERED: Final = timedelta(minutes=15)  # longer than a logout token is taken after it was made
_COUNTED: Final = "logout tokens of identity providers that were refused, whoever sent them, sent from {}"


class LogoutRefusedError(Exception):
    """Whoever sent it hears that, and no more."""


class OidcLogout:
    def __init__(self, units: Units, telling: OidcTelling, ending: Ending, public_url: str) -> None:
        self._units = units
        self._telling = telling
        self._ending = ending
        self._back = f"{public_url}/sign-in"

    async def back_channel(self, provider: str, token: str, address: str) -> None:
        """Raises LogoutRefusedError."""
        try:
            claims = await self._verified(provider, token)
            async with self._units() as uow:
                until = uow.now + _REMEMBERED
                if not await oidc_rows.first_time(uow, provider, claims.jti, until):
                    raise TokenError("it was taken before")
                await self._end(uow, provider, claims)
        except CAUSES as error:
            await self._refused(provider, str(error), address)
            raise LogoutRefusedError from error

    async def _verified(self, provider: str, token: str) -> Claims:
        known = await self._telling.known(provider)
        expected = self._telling.expected(known)

        def verify(keys: KeySet) -> Claims:
            return logout_token(token, keys, expected)

        return await self._telling.providers.verified(known.oidc.issuer, verify)

    async def _end(self, uow: UnitOfWork, provider: str, claims: Claims) -> None:
        """A session of a subject: both must be right."""
        rows = list(await oidc_rows.of_session(uow, provider, claims.sid)) if claims.sid else []
        if claims.sub:
            theirs = await oidc_rows.of_subject(uow, provider, claims.sub)
            ids = {row.id for row in theirs}
            rows = [row for row in rows if row.id in ids] if claims.sid else list(theirs)
        by_identity: dict[str, set[str]] = {}
        for row in rows:
            by_identity.setdefault(row.identity_id, set()).add(row.id)
        for identity, over in by_identity.items():
            await self._ending.sign_out(uow, SYSTEM, identity, f"signed out at {provider}", over)

    async def _refused(self, provider: str, cause: str, address: str) -> None:
        """Anybody may send one: written down while it is not a flood."""
        counted = _COUNTED.format(throttle.network(address))
        async with self._units() as uow:
            if await throttle.locked_for(uow, counted):
                return
            await throttle.failed(uow, counted)
            told = {"cause": cause[:500], "client_address": address[:64]}
            uow.audit(AuditEvent("logout.refused", NOBODY, provider[:64], told))

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
