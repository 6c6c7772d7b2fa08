"""What a signed assertion says, checked against what was asked: who, for whom, until when. Pure.

It is given the signed bytes, parsed; so nothing that is read here can be unsigned. Everything that the Web Browser SSO
profile allows to be missing but that makes an assertion useful elsewhere is demanded: audience, recipient, the request
that it answers, and an end. SAML 2.0 Core §2, Profiles §4.1.4.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from control_plane.sign_on.saml_metadata import instant
from control_plane.sign_on.saml_xml import NAMES, SAML, Element, XmlRefusedError, name, text_of

TRANSIENT: Final = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
_ENTITY: Final = "urn:oasis:names:tc:SAML:2.0:nameid-format:entity"
_BEARER: Final = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
_LONGEST: Final = 255
_MOST_VALUES: Final = 2000


class Expected(msgspec.Struct, frozen=True):
    """What was asked, and by whom."""

    entity: str  # ours
    consumer: str  # the address that the answer comes to
    request_id: str
    encrypted: bool = False  # only an encrypted assertion will do
    patience: timedelta = timedelta(minutes=10)  # how old an answer may be


class NameId(msgspec.Struct, frozen=True):
    value: str
    format: str = ""
    qualifier: str = ""


class Assertion(msgspec.Struct, frozen=True):
    id: str
    name: NameId
    ends_at: datetime  # until then it could be shown once more
    authenticated_at: datetime
    session: str = ""
    session_ends_at: datetime | None = None
    acr: str = ""
    attributes: Mapping[str, Sequence[str]] = {}


def read(root: Element, issuer: str, expected: Expected, now: datetime, skew: timedelta) -> Assertion:
    """Raises XmlRefusedError."""
    if root.tag != name(SAML, "Assertion") or root.get("Version") != "2.0" or not root.get("ID"):
        raise XmlRefusedError("what is signed is no assertion of SAML 2.0")
    if len(root.get("ID")) > _LONGEST:
        raise XmlRefusedError("the assertion's id is too long")
    if instant(root.get("IssueInstant", "")) > now + skew:
        raise XmlRefusedError("the assertion is of the future")
    _check_issuer(root, issuer)
    _check_conditions(root, expected, now, skew)
    statement = _one(root, "saml:AuthnStatement")
    authenticated_at = instant(statement.get("AuthnInstant", ""))
    if authenticated_at > now + skew:
        raise XmlRefusedError("the person was authenticated in the future")
    session_ends_at = _session_end(statement, now)
    return Assertion(
        root.get("ID"),
        _name_id(root, expected),
        _confirmed_until(root, expected, now, skew),
        min(authenticated_at, now),
        _short(statement.get("SessionIndex", "")),
        session_ends_at,
        _short(_acr(statement)),
        _attributes(root),
    )


def _one(element: Element, path: str) -> Element:
    found = element.xpath(path, namespaces=NAMES)
    if len(found) != 1:
        raise XmlRefusedError(f"{path} stands there {len(found)} times; it must be exactly once")
    return found[0]


def _check_issuer(root: Element, issuer: str) -> None:
    told = _one(root, "saml:Issuer")
    if told.get("Format", _ENTITY) != _ENTITY or text_of(told) != issuer:
        raise XmlRefusedError(f"the assertion is issued by {text_of(told)[:200]!r}")


def _check_conditions(root: Element, expected: Expected, now: datetime, skew: timedelta) -> None:
    conditions = _one(root, "saml:Conditions")
    known = {name(SAML, one) for one in ("AudienceRestriction", "OneTimeUse", "ProxyRestriction")}
    if strange := [one.tag for one in conditions if one.tag not in known]:
        raise XmlRefusedError(f"the condition {strange[0]} is not understood")
    audiences = conditions.findall(name(SAML, "AudienceRestriction"))
    if not audiences:
        raise XmlRefusedError("the assertion does not say for whom it is")
    for audience in audiences:
        if expected.entity not in [text_of(one) for one in audience.findall(name(SAML, "Audience"))]:
            raise XmlRefusedError("the assertion is for somebody else")
    _check_times(conditions, "the assertion", now, skew)


def _check_times(element: Element, what: str, now: datetime, skew: timedelta) -> None:
    before, after = element.get("NotBefore"), element.get("NotOnOrAfter")
    if before is not None and instant(before) > now + skew:
        raise XmlRefusedError(f"{what} is not valid before {before}")
    if after is not None and instant(after) + skew <= now:
        raise XmlRefusedError(f"{what} was valid until {after}")


def _confirmed_until(root: Element, expected: Expected, now: datetime, skew: timedelta) -> datetime:
    """One confirmation that holds is enough; why the last one does not is told."""
    problem = "nothing says that its bearer is the person"
    for confirmation in root.xpath("saml:Subject/saml:SubjectConfirmation", namespaces=NAMES):
        if confirmation.get("Method") == _BEARER:
            try:
                return _confirmed(_one(confirmation, "saml:SubjectConfirmationData"), expected, now, skew)
            except XmlRefusedError as error:
                problem = str(error)
    raise XmlRefusedError(problem)


def _confirmed(data: Element, expected: Expected, now: datetime, skew: timedelta) -> datetime:
    if data.get("InResponseTo") != expected.request_id:
        raise XmlRefusedError("the assertion answers another request, or none")
    if data.get("Recipient") != expected.consumer:
        raise XmlRefusedError(f"the assertion is meant for {str(data.get('Recipient'))[:200]!r}")
    if data.get("NotOnOrAfter") is None:
        raise XmlRefusedError("the assertion's confirmation has no end")
    _check_times(data, "the assertion's confirmation", now, skew)
    return instant(data.get("NotOnOrAfter")) + skew


def _session_end(statement: Element, now: datetime) -> datetime | None:
    told = statement.get("SessionNotOnOrAfter")
    if told is None:
        return None
    if instant(told) <= now:
        raise XmlRefusedError(f"the provider's session ended at {told}")
    return instant(told)


def _acr(statement: Element) -> str:
    found = statement.xpath("saml:AuthnContext/saml:AuthnContextClassRef", namespaces=NAMES)
    return text_of(found[0]) if len(found) == 1 else ""


def _name_id(root: Element, expected: Expected) -> NameId:
    found = _one(root, "saml:Subject/saml:NameID")
    value = text_of(found)
    if not value:
        raise XmlRefusedError("the NameID is empty")
    if found.get("SPNameQualifier", expected.entity) != expected.entity:
        raise XmlRefusedError("the NameID is one of another service provider")
    return NameId(value, found.get("Format", ""), found.get("NameQualifier", ""))


def _attributes(root: Element) -> dict[str, tuple[str, ...]]:
    """Values that are text. Those of attributes that are named twice stand together."""
    told: dict[str, tuple[str, ...]] = {}
    values = root.xpath("saml:AttributeStatement/saml:Attribute/saml:AttributeValue", namespaces=NAMES)
    if len(values) > _MOST_VALUES:
        raise XmlRefusedError(f"it tells more than {_MOST_VALUES} values of attributes")
    for attribute in root.xpath("saml:AttributeStatement/saml:Attribute", namespaces=NAMES):
        texts = [text_of(one) for one in attribute.findall(name(SAML, "AttributeValue")) if not len(one)]
        called = str(attribute.get("Name"))
        told[called] = (*told.get(called, ()), *(one for one in texts if one))
    return told


def _short(text: str) -> str:
    if len(text) > _LONGEST:
        raise XmlRefusedError(f"{text[:32]!r}… has more than {_LONGEST} characters")
    return text
