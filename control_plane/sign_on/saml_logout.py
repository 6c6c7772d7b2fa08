"""Somebody has signed out at a SAML provider: their sign-ins here end, with every credential that was made with them.

The provider's page leads the browser here with a signed LogoutRequest and wants it back with a LogoutResponse (SAML 2.0
Profiles §4.4, HTTP-Redirect both ways). What counts is the provider's signature, not whose browser it is. That somebody
signs out here is not told to the provider. A request counts once, and tells nobody whether there was anything to end.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec

from control_plane.identities.ending import Ending
from control_plane.kit.clock import Clock
from control_plane.kit.ids import random_text
from control_plane.kit.unit_of_work import UnitOfWork, Units
from control_plane.sign_on import provider_sign_ins, saml_rows
from control_plane.sign_on.documents import Saml
from control_plane.sign_on.errors import SignInRefusedError
from control_plane.sign_on.refusals import Refusals
from control_plane.sign_on.saml_flow import SamlFlow
from control_plane.sign_on.saml_metadata import ProviderMetadata, instant
from control_plane.sign_on.saml_redirects import LARGEST, Opened, opened, redirect
from control_plane.sign_on.saml_requests import logout_response
from control_plane.sign_on.saml_responses import SKEW
from control_plane.sign_on.saml_xml import NAMES, SAML, SAMLP, Element, XmlRefusedError, ids_once, name, parse, text_of

_OLDEST: Final = timedelta(minutes=5)
_LONGEST: Final = 255


class LogoutRequest(msgspec.Struct, frozen=True):
    id: str
    subject: str
    sessions: tuple[str, ...]  # empty: all that the subject has


class SamlLogout:
    def __init__(self, units: Units, clock: Clock, flow: SamlFlow, ending: Ending, refusals: Refusals) -> None:
        self._units = units
        self._clock = clock
        self._flow = flow
        self._ending = ending
        self._refusals = refusals

    async def leave(self, provider: str, query: str, address: str) -> str:
        """Where the browser goes then; empty: the provider does not say. `query`: of the address that the provider sent
        it to, as it came. Raises NotFoundError, UnavailableError, SignInRefusedError."""
        saml, metadata = await self._flow.described(provider, address)
        place = self._flow.place(provider)
        try:
            brought = opened(query, "SAMLRequest", metadata.keys)
            asked = read(brought, metadata, place.leaving, self._clock.now())
            async with self._units() as uow:
                await self._end(uow, provider, saml, asked)
                now = uow.now
        except XmlRefusedError as error:
            await self._refusals.audit(provider, str(error), address, free=True)  # anybody may send one
            raise SignInRefusedError(provider) from error
        if not metadata.leave_at:
            return ""
        answer = logout_response(f"_{random_text(52)}", asked.id, place, metadata.leave_at, now)
        return redirect(metadata.leave_at, answer, await self._flow.pair(), "SAMLResponse", brought.relay)

    async def _end(self, uow: UnitOfWork, provider: str, saml: Saml, asked: LogoutRequest) -> None:
        """Where an attribute names the person, the session alone counts."""
        if not await saml_rows.use(uow.session, provider, asked.id, uow.now + _OLDEST + 2 * SKEW):
            raise XmlRefusedError("this logout request has been used before")
        if saml.subject and not asked.sessions:
            raise XmlRefusedError("it names no session, and its NameID is not what names people here")
        subject = "" if saml.subject else asked.subject
        rows = await provider_sign_ins.named(uow, provider, asked.sessions, subject)
        await provider_sign_ins.end(uow, self._ending, rows, f"signed out at {provider}")


def read(brought: Opened, provider: ProviderMetadata, leaving: str, now: datetime) -> LogoutRequest:
    """Raises XmlRefusedError."""
    root = parse(brought.message, LARGEST)
    ids_once(root)
    if root.tag != name(SAMLP, "LogoutRequest") or root.get("Version") != "2.0":
        raise XmlRefusedError("it is no samlp:LogoutRequest")
    if not 0 < len(root.get("ID", "")) <= _LONGEST:
        raise XmlRefusedError("its id is missing or too long")
    if root.get("Destination") != leaving:
        raise XmlRefusedError(f"it is meant for {str(root.get('Destination'))[:200]!r}")
    if not now - _OLDEST - SKEW <= instant(root.get("IssueInstant", "")) <= now + SKEW:
        raise XmlRefusedError("it was not made just now")
    if root.get("NotOnOrAfter") is not None and instant(root.get("NotOnOrAfter")) + SKEW <= now:
        raise XmlRefusedError("its time is over")
    if [text_of(one) for one in root.findall(name(SAML, "Issuer"))] != [provider.entity]:
        raise XmlRefusedError("it is issued by somebody else")
    sessions = [text_of(one) for one in root.xpath("samlp:SessionIndex", namespaces=NAMES)]
    return LogoutRequest(root.get("ID"), _subject(root.findall(name(SAML, "NameID")), provider), tuple(sessions))


def _subject(named: list[Element], provider: ProviderMetadata) -> str:
    """As saml_told names it."""
    if len(named) != 1 or not text_of(named[0]):
        raise XmlRefusedError("it names nobody")
    qualifier = named[0].get("NameQualifier", "")
    value = text_of(named[0])
    return value if qualifier in {"", provider.entity} else f"{qualifier}!{value}"
