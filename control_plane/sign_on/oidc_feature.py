"""Everything of OpenID Connect, put together. `who` makes one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from control_plane.identities.ending import Ending
from control_plane.kit.clock import Clock
from control_plane.kit.unit_of_work import Units
from control_plane.secrets.own import OwnSecrets
from control_plane.sign_on.documents import ProviderKind
from control_plane.sign_on.linking import SignOn
from control_plane.sign_on.oidc_device import OidcDevice
from control_plane.sign_on.oidc_flow import OidcFlow
from control_plane.sign_on.oidc_logout import OidcLogout
from control_plane.sign_on.oidc_renewal import OidcRenewal
from control_plane.sign_on.oidc_telling import OidcTelling
from control_plane.sign_on.refusals import SIGN_INS, Refusals


class OidcFeature:
    """`flow`, `device` and `logout` are parts for endpoints and pages."""

    def __init__(
        self,
        *,
        units: Units,
        clock: Clock,
        kind: ProviderKind,
        secrets: OwnSecrets,
        sign_on: SignOn,
        ending: Ending,
        public_url: str,
        lifetime: timedelta,
        renew_every: timedelta,
    ) -> None:
        telling = OidcTelling(units, clock, kind, secrets, public_url, lifetime)
        refused = Refusals(units, "sign-in.refused", SIGN_INS)
        of_devices = Refusals(units, "sign-in.refused", "device flows of identity providers that begin or end badly")
        logout = Refusals(units, "logout.refused", "logout tokens of identity providers, whoever sent them")
        self.flow = OidcFlow(units, telling, sign_on, refused)
        self.device = OidcDevice(telling, of_devices)
        self.logout = OidcLogout(units, telling, ending, logout, public_url)
        self.renewal = OidcRenewal(units, telling, sign_on, ending, kind, renew_every)

    def parts(self) -> Sequence[object]:
        return (self.flow, self.device, self.logout)

    @property
    def loops(self) -> Sequence[tuple[str, Callable[[], Awaitable[None]]]]:
        return (("sign-on-refresh", self.renewal.run),)
