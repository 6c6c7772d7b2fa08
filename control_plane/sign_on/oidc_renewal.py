"""Renews the sign-ins of people at their providers: who was disabled there loses the sign-in here, and what it made.

Every so many minutes the refresh token is exchanged, and the groups are told anew. A provider that says no ends the
sign-in. One that cannot be asked does not, for a while: an outage there is not to lock out who is at work here; after
four turns without an answer it ends too. A provider that was disabled or taken away ends the sign-ins made by it.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import structlog

from control_plane.identities.ending import Ending
from control_plane.identities.tables import ExternalAccountRow, SignInRow
from control_plane.kit.unit_of_work import SYSTEM, UnitOfWork, Units
from control_plane.sign_on import oidc_rows, provider_sign_ins
from control_plane.sign_on.documents import IdentityProviderSpec, ProviderKind, parse
from control_plane.sign_on.domain import Told
from control_plane.sign_on.errors import NotKnownHereError
from control_plane.sign_on.linking import SignOn, is_linked
from control_plane.sign_on.oidc_client import ProviderSaysNoError
from control_plane.sign_on.oidc_telling import CAUSES, HalfRenewedError, OidcTelling
from control_plane.sign_on.oidc_tokens import TokenError

_log = structlog.get_logger(__name__)

_PAUSE_SECONDS: Final = 20.0
_BUSY: Final = timedelta(minutes=2)  # longer than any one renewal takes
_AT_ONCE: Final = 8
_TURNS: Final = 4
# The provider has judged the person, not us or the weather (RFC 6749 §5.2).
_FINAL: Final = frozenset({"invalid_grant", "access_denied", "interaction_required", "login_required"})


class OidcRenewal:
    def __init__(
        self,
        units: Units,
        telling: OidcTelling,
        sign_on: SignOn,
        ending: Ending,
        kind: ProviderKind,
        every: timedelta,
    ) -> None:
        self._units = units
        self._telling = telling
        self._sign_on = sign_on
        self._ending = ending
        self._kind = kind
        self._every = every

    async def run(self) -> None:
        """For ever, in every replica; `assembly` spawns it."""
        while True:
            try:
                await self.once()
            except Exception:  # noqa: BLE001 - outlives every failure
                _log.exception("sign-ins could not be renewed; trying again")
            await asyncio.sleep(_PAUSE_SECONDS)

    async def once(self) -> None:
        await self._end_orphans()
        while due := await self._due():
            await asyncio.gather(*(self._renew(row) for row in due))

    async def _due(self) -> list[SignInRow]:
        async with self._units() as uow:
            rows = list(await oidc_rows.take_due(uow, self._every, _BUSY, _AT_ONCE))
            await uow.session.flush()
            uow.session.expunge_all()
        return rows

    async def _renew(self, row: SignInRow) -> None:
        try:
            told = await self._asked(row)
        except (ProviderSaysNoError, TokenError) as error:
            if isinstance(error, ProviderSaysNoError) and error.code not in _FINAL:
                await self._later(row, str(error))
            else:
                await self._end(row, f"{row.provider} does not renew it: {error}")
        except HalfRenewedError as error:
            await self._later(row, str(error), error.refresh)
        except CAUSES as error:
            await self._later(row, str(error))
        else:
            await self._renewed(row, told)

    async def _asked(self, row: SignInRow) -> Told:
        known = await self._telling.known(row.provider)
        return await self._telling.renewed(known, await self._telling.kept(row.provider, row.refresh))

    async def _renewed(self, row: SignInRow, told: Told) -> None:
        async with self._units() as uow:
            found = await uow.session.get(SignInRow, row.id, with_for_update=True, populate_existing=True)
            if found is None:
                return
            if kept := await self._still_linked(uow, row, told):
                if found.refresh == row.refresh:  # else it was proven again meanwhile, and has newer ones
                    found.refresh = told.refresh
                renewal = await oidc_rows.renewal_of(uow, found)
                renewal.renewed_at, renewal.renew_at = uow.now, uow.now + self._every
        if not kept:
            await self._end(row, f"{row.provider} does not renew it: its account is not linked any more")

    async def _still_linked(self, uow: UnitOfWork, row: SignInRow, told: Told) -> bool:
        """Tells the groups anew. A renewal never links, nor makes anybody."""
        spec = await self._spec(uow, row.provider)
        account = await uow.session.get(ExternalAccountRow, (told.provider, told.subject))
        if spec is None or not is_linked(account, told, row.identity_id):
            return False
        try:
            await self._sign_on.identity(uow, spec, told)
        except NotKnownHereError:
            return False
        return True

    async def _spec(self, uow: UnitOfWork, provider: str) -> IdentityProviderSpec | None:
        found = await self._kind.row(uow, provider)
        return None if found is None else parse(found.json_text).spec

    async def _later(self, row: SignInRow, why: str, refresh: str = "") -> None:
        """`refresh`: what is kept from now on, sealed."""
        async with self._units() as uow:
            found = await uow.session.get(SignInRow, row.id, with_for_update=True, populate_existing=True)
            if found is None:
                return
            renewal = await oidc_rows.renewal_of(uow, found)
            if refresh and found.refresh == row.refresh:
                found.refresh = refresh
            over = uow.now - renewal.renewed_at >= self._every * _TURNS
            renewal.renew_at = uow.now + _BUSY
        _log.warning("a sign-in could not be renewed", provider=row.provider, sign_in=row.id, why=why, ends=over)
        if over:
            await self._end(row, f"{row.provider} could not be asked for too long: {why}")

    async def _end(self, row: SignInRow, reason: str) -> None:
        """With what rests on it."""
        async with self._units() as uow:
            await self._ending.sign_out(uow, SYSTEM, row.identity_id, reason[:500], {row.id})

    async def _end_orphans(self) -> None:
        """Sign-ins by providers that are not there any more, or disabled."""
        async with self._units.reading() as uow:
            used = await oidc_rows.providers_in_use(uow)
            specs = {name: await self._spec(uow, name) for name in used}
        for name, spec in specs.items():
            if spec is None or spec.disabled:
                async with self._units() as uow:
                    rows = await provider_sign_ins.of_provider(uow, name)
                    await provider_sign_ins.end(uow, self._ending, rows, f"{name} is not trusted any more")
