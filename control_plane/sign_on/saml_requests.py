"""What we send to a SAML provider: a signed AuthnRequest in an address, and our own metadata. Pure.

SAML 2.0 Bindings §3.4 (HTTP-Redirect with the DEFLATE encoding), Core §3.4, Metadata §2.4.4. Which NameID it answers
with is the provider's matter: a request that names a format is refused by some that do give a lasting one.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree  # type: ignore[import-untyped]

from control_plane.sign_on.saml_keys import SIGNATURE, KeyPair
from control_plane.sign_on.saml_xml import DS, MD, SAML, SAMLP, Element, name

POST: Final = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
_MD_PREFIXES: Final = {"md": MD, "ds": DS}
_PREFIXES: Final = {"samlp": SAMLP, "saml": SAML}


class Place(msgspec.Struct, frozen=True):
    """Where one provider finds us. Another provider finds another, so neither can stand in for it."""

    entity: str
    consumer: str


def place(public_url: str, provider: str) -> Place:
    base = f"{public_url.rstrip('/')}/sign-in/saml/{provider}"
    return Place(f"{base}/metadata", f"{base}/acs")


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


def redirect(address: str, message: bytes, pair: KeyPair, parameter: str = "SAMLRequest", relay: str = "") -> str:
    """The address that carries the message, signed over exactly these octets (Bindings §3.4.4.1)."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(message) + packer.flush()
    query = f"{parameter}={_escaped(packed)}"
    if relay:
        query += f"&RelayState={quote(relay, safe='')}"
    query += f"&SigAlg={quote(SIGNATURE, safe='')}"
    joined = "&" if urlsplit(address).query else "?"
    return f"{address}{joined}{query}&Signature={_escaped(pair.sign(query.encode()))}"


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


def _escaped(content: bytes) -> str:
    return quote(base64.b64encode(content).decode(), safe="")
