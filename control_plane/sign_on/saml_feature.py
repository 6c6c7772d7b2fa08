"""Everything of SAML, put together: what `who` gives to the endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from control_plane.identities.ending import Ending
from control_plane.kit.clock import Clock
from control_plane.kit.sealing import FileSeal
from control_plane.kit.unit_of_work import Units
from control_plane.sign_on.documents import ProviderKind
from control_plane.sign_on.linking import SignOn
from control_plane.sign_on.refusals import SIGN_INS, Refusals
from control_plane.sign_on.saml_browser import SamlCookie
from control_plane.sign_on.saml_described import Described
from control_plane.sign_on.saml_flow import SamlFlow
from control_plane.sign_on.saml_keys import ServiceKeys
from control_plane.sign_on.saml_logout import SamlLogout


class SamlFeature:
    def __init__(
        self,
        *,
        units: Units,
        clock: Clock,
        providers: ProviderKind,
        sign_on: SignOn,
        ending: Ending,
        public_url: str,
        state_dir: Path,
        seal: FileSeal,
    ) -> None:
        keys = ServiceKeys(state_dir / "saml", seal, clock)
        refused = Refusals(units, "sign-in.refused", SIGN_INS)
        logout = Refusals(units, "logout.refused", "logout requests of identity providers, whoever sent them")
        self.flow = SamlFlow(units, clock, providers, Described(clock), keys, sign_on, refused, public_url)
        self.logout = SamlLogout(units, clock, self.flow, ending, logout)
        self.cookie = SamlCookie(public_url)

    def parts(self) -> Sequence[object]:
        return (self.flow, self.logout, self.cookie)
