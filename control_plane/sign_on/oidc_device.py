"""The provider's own device flow (RFC 8628), for whoever signs in on a machine without a browser.

The provider shows the page and asks for the code. Here there is nothing to approve: whoever proves it there is signed
in here, as by the browser's way. Only where the provider's document says `device: true`.
"""

from __future__ import annotations

import enum

import msgspec

from control_plane.kit.outside import allowed
from control_plane.sign_on.documents import IdentityProviderSpec
from control_plane.sign_on.domain import Told
from control_plane.sign_on.errors import SignInRefusedError
from control_plane.sign_on.oidc_client import ProviderSaysNoError
from control_plane.sign_on.oidc_errors import NoDeviceFlowError, NoSuchProviderError
from control_plane.sign_on.oidc_telling import CAUSES, OidcTelling
from control_plane.sign_on.refusals import Refusals


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
    def __init__(self, telling: OidcTelling, refusals: Refusals) -> None:
        self._telling = telling
        self._refusals = refusals

    async def begin(self, provider: str, address: str = "") -> DeviceBegun:
        """`address`: of whoever asks. Not inside a transaction. Raises NoSuchProviderError, NoDeviceFlowError,
        SignInRefusedError."""
        await self._spec(provider)
        try:
            known = await self._telling.known(provider)
            begun = await known.client.device()
        except CAUSES as error:
            await self._refusals.audit(provider, str(error), address, free=True)
            raise SignInRefusedError(provider) from error
        complete = begun.verification_uri_complete
        if not allowed(begun.verification_uri) or (complete and not allowed(complete)):
            cause = "the provider sends people to what is no https address"
            await self._refusals.audit(provider, cause, address, free=True)
            raise SignInRefusedError(provider)
        return DeviceBegun(
            user_code=begun.user_code[:64],
            uri=begun.verification_uri,
            complete_uri=complete,
            handle=begun.device_code,
            lifetime_seconds=max(1, min(begun.expires_in, 1800)),
            pause_seconds=max(1, min(begun.interval, 60)),
        )

    async def poll(self, provider: str, handle: str, address: str = "") -> Told | NotYetTold:
        """Not inside a transaction; what is told goes to `SignOn`. Raises NoSuchProviderError,
        NoDeviceFlowError, SignInRefusedError."""
        await self._spec(provider)
        try:
            known = await self._telling.known(provider)
            tokens = await known.client.device_tokens(handle)
            return await self._telling.tell(known, tokens, nonce=None, max_age=self._telling.lifetime)
        except CAUSES as error:
            code = error.code if isinstance(error, ProviderSaysNoError) else ""
            if code in {one.value for one in NotYetTold}:
                return NotYetTold(code)
            await self._refusals.audit(provider, str(error), address, free=True)
            raise SignInRefusedError(provider) from error

    async def spec(self, provider: str) -> IdentityProviderSpec:
        """For `SignOn.open`. Raises NoSuchProviderError, NoDeviceFlowError."""
        return await self._spec(provider)

    async def _spec(self, provider: str) -> IdentityProviderSpec:
        spec = await self._telling.listed(provider)
        if spec is None:
            raise NoSuchProviderError(provider)
        if spec.oidc is None or not spec.oidc.device:
            raise NoDeviceFlowError(provider, "`oidc: {device: true}`" if spec.oidc else "SAML knows none")
        return spec
