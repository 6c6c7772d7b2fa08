"""The provider's own device flow (RFC 8628), for whoever signs in on a machine without a browser.

The provider shows the page and asks for the code. Here there is nothing to approve: whoever proves it there is signed
in here, as by the browser's way. Only where the provider's document says `device: true`.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from control_plane.identities import throttle
from control_plane.kit.unit_of_work import NOBODY, AuditEvent, Units
from control_plane.sign_on.documents import IdentityProviderSpec
from control_plane.sign_on.domain import Told
from control_plane.sign_on.errors import SignInRefusedError
from control_plane.sign_on.oidc_client import ProviderSaysNoError
from control_plane.sign_on.oidc_errors import NoSuchProviderError
from control_plane.sign_on.oidc_telling import CAUSES, OidcTelling
from control_plane.sign_on.outside import allowed

# What the throttle counts by: longer than any name of somebody.
_COUNTED: Final = "device flows of identity providers that cannot begin, or that end badly, from {}"


class NotYetTold(enum.Enum):
    PENDING = "authorization_pending"
    SLOW_DOWN = "slow_down"  # five seconds more between two questions, from now on
    DENIED = "access_denied"
    EXPIRED = "expired_token"


class DeviceBegun(msgspec.Struct, frozen=True):
    user_code: str
    uri: str
    complete_uri: str  # empty: the code is to be typed
    handle: str  # the provider's device code: whoever has it may poll, so it is kept as a secret
    lifetime_seconds: int
    pause_seconds: int


class OidcDevice:
    def __init__(self, units: Units, telling: OidcTelling) -> None:
        self._units = units
        self._telling = telling

    async def begin(self, provider: str, network: str = "") -> DeviceBegun:
        """`network`: of whoever asks. Not inside a transaction. Raises NoSuchProviderError, SignInRefusedError."""
        await self._spec(provider)
        try:
            known = await self._telling.known(provider)
            begun = await known.client.device()
        except CAUSES as error:
            await self._refused(provider, str(error), network)
            raise SignInRefusedError(provider) from error
        complete = begun.verification_uri_complete
        if not allowed(begun.verification_uri) or (complete and not allowed(complete)):
            await self._refused(provider, "the provider sends people to what is no https address", network)
            raise SignInRefusedError(provider)
        return DeviceBegun(
            user_code=begun.user_code[:64],
            uri=begun.verification_uri,
            complete_uri=complete,
            handle=begun.device_code,
            lifetime_seconds=max(1, min(begun.expires_in, 1800)),
            pause_seconds=max(1, min(begun.interval, 60)),
        )

    async def poll(self, provider: str, handle: str, network: str = "") -> Told | NotYetTold:
        """Not inside a transaction; what is told goes to `SignOn`. Raises NoSuchProviderError, SignInRefusedError."""
        await self._spec(provider)
        try:
            known = await self._telling.known(provider)
            tokens = await known.client.device_tokens(handle)
            return await self._telling.tell(known, tokens, nonce=None, max_age=self._telling.lifetime)
        except CAUSES as error:
            code = error.code if isinstance(error, ProviderSaysNoError) else ""
            if code in {one.value for one in NotYetTold}:
                return NotYetTold(code)
            await self._refused(provider, str(error), network)
            raise SignInRefusedError(provider) from error

    async def spec(self, provider: str) -> IdentityProviderSpec:
        """For `SignOn.open`. Raises NoSuchProviderError."""
        return await self._spec(provider)

    async def _spec(self, provider: str) -> IdentityProviderSpec:
        spec = await self._telling.spec(provider)
        if spec is None or spec.oidc is None or not spec.oidc.device:
            raise NoSuchProviderError(provider)
        return spec

    async def _refused(self, provider: str, cause: str, network: str) -> None:
        """Audited while it is not a flood: it costs whoever asks nothing."""
        counted = _COUNTED.format(network)
        async with self._units() as uow:
            if await throttle.locked_for(uow, counted):
                return
            await throttle.failed(uow, counted)
            uow.audit(AuditEvent("sign-in.refused", NOBODY, provider, {"cause": cause[:500], "flow": "device"}))
