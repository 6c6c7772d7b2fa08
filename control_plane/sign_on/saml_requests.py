"""What we say to a SAML provider: an AuthnRequest, a LogoutResponse, and our own metadata. Pure.

SAML 2.0 Core §3.4 and §3.7, Metadata §2.4.4. Which NameID it answers
with is the provider's matter: a request that names a format is refused by some that do give a lasting one.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree  # type: ignore[import-untyped]

from control_plane.sign_on.saml_keys import KeyPair
from control_plane.sign_on.saml_metadata import REDIRECT
from control_plane.sign_on.saml_xml import DS, MD, SAML, SAMLP, Element, name

SUCCESS: Final = "urn:oasis:names:tc:SAML:2.0:status:Success"
POST: Final = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
_MD_PREFIXES: Final = {"md": MD, "ds": DS}
_PREFIXES: Final = {"samlp": SAMLP, "saml": SAML}


class Place(msgspec.Struct, frozen=True):
    """Where one provider finds us. Another provider finds another, so neither can stand in for it."""

    entity: str
    consumer: str
    leaving: str  # single logout


def place(public_url: str, provider: str) -> Place:
    base = f"{public_url.rstrip('/')}/sign-in/saml/{provider}"
    return Place(f"{base}/metadata", f"{base}/acs", f"{base}/slo")


def authn_request(
    request_id: str, place: Place, ask_at: str, now: datetime, *, again: bool = False, contexts: Sequence[str] = ()
) -> bytes:
    """`again`: the person is to prove anew who they are. `contexts`: one of which the provider is to use."""
    root = etree.Element(name(SAMLP, "AuthnRequest"), nsmap=_PREFIXES)
    told = {
        "ID": request_id,
        "Version": "2.0",
        "IssueInstant": said(now),
        "Destination": ask_at,
        "AssertionConsumerServiceURL": place.consumer,
        "ProtocolBinding": POST,
    }
    for key, value in (told | ({"ForceAuthn": "true"} if again else {})).items():
        root.set(key, value)
    etree.SubElement(root, name(SAML, "Issuer")).text = place.entity
    if contexts:
        requested = etree.SubElement(root, name(SAMLP, "RequestedAuthnContext"), Comparison="exact")
        for one in contexts:
            etree.SubElement(requested, name(SAML, "AuthnContextClassRef")).text = one
    return bytes(etree.tostring(root))


def logout_response(response_id: str, answers: str, place: Place, leave_at: str, now: datetime) -> bytes:
    """Whoever it was is signed out here."""
    root = etree.Element(name(SAMLP, "LogoutResponse"), nsmap=_PREFIXES)
    told = {"ID": response_id, "Version": "2.0", "IssueInstant": said(now), "Destination": leave_at}
    for key, value in {**told, "InResponseTo": answers}.items():
        root.set(key, value)
    etree.SubElement(root, name(SAML, "Issuer")).text = place.entity
    status = etree.SubElement(root, name(SAMLP, "Status"))
    etree.SubElement(status, name(SAMLP, "StatusCode"), Value=SUCCESS)
    return bytes(etree.tostring(root))


def service_metadata(place: Place, pairs: Sequence[KeyPair]) -> bytes:
    """`pairs`: the newest first, which providers should encrypt for."""
    root = etree.Element(name(MD, "EntityDescriptor"), nsmap=_MD_PREFIXES, entityID=place.entity)
    service = etree.SubElement(root, name(MD, "SPSSODescriptor"))
    service.set("AuthnRequestsSigned", "true")
    service.set("WantAssertionsSigned", "true")
    service.set("protocolSupportEnumeration", SAMLP)
    for use, shown in (("signing", pairs), ("encryption", pairs[:1])):
        for pair in shown:
            _describe_key(service, use, pair)
    etree.SubElement(service, name(MD, "SingleLogoutService"), Binding=REDIRECT, Location=place.leaving)
    consumer = etree.SubElement(service, name(MD, "AssertionConsumerService"))
    for key, value in {"Binding": POST, "Location": place.consumer, "index": "0", "isDefault": "true"}.items():
        consumer.set(key, value)
    return bytes(etree.tostring(root, encoding="utf-8", xml_declaration=True, pretty_print=True))


def said(instant: datetime) -> str:
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"


def _describe_key(service: Element, use: str, pair: KeyPair) -> None:
    descriptor = etree.SubElement(service, name(MD, "KeyDescriptor"), use=use)
    data = etree.SubElement(etree.SubElement(descriptor, name(DS, "KeyInfo")), name(DS, "X509Data"))
    certificate = etree.SubElement(data, name(DS, "X509Certificate"))
    certificate.text = base64.b64encode(pair.certificate.public_bytes(Encoding.DER)).decode()
