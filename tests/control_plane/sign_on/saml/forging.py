"""An identity provider with a key of the test's own: whatever a real one would never send."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import xmlsec
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from control_plane.sign_on.saml_assertion import Expected
from control_plane.sign_on.saml_keys import KeyPair, made
from control_plane.sign_on.saml_metadata import ProviderMetadata
from control_plane.sign_on.saml_requests import said
from control_plane.sign_on.saml_xml import DS, NAMES, SAML, SAMLP

ENTITY = "https://id.example.com/saml"
EXPECTED = Expected(
    entity="https://assentry.example.org/sign-in/saml/corp/metadata",
    consumer="https://assentry.example.org/sign-in/saml/corp/acs",
    request_id="_request",
)
NOW = datetime.now(UTC).replace(microsecond=0)
PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
Element = Any


@cache
def pair(name: str) -> KeyPair:
    """One for each name, made once."""
    return made(NOW)


def certificate(name: str) -> str:
    return base64.b64encode(pair(name).certificate.public_bytes(Encoding.DER)).decode()


def described(*keys: str) -> ProviderMetadata:
    return ProviderMetadata(ENTITY, f"{ENTITY}/sso", "", tuple(certificate(one) for one in keys or ("provider",)))


def at(**length: float) -> str:
    return said(NOW + timedelta(**length))


@dataclass(frozen=True)
class Said:
    """The parts of a response; what a test changes is what is wrong. None: the attribute is not there."""

    name: str = "ada"
    name_attributes: str = f'Format="{PERSISTENT}"'
    issuer: str = ENTITY
    response_issuer: str = ENTITY
    status: str = SUCCESS
    destination: str | None = EXPECTED.consumer
    answers: str | None = EXPECTED.request_id
    recipient: str | None = EXPECTED.consumer
    confirmed_answers: str | None = EXPECTED.request_id
    method: str = BEARER
    confirmed_until: str | None = at(hours=12)  # python3-saml has a clock of its own
    issued_at: str = at()
    conditions_from: str | None = at(minutes=-1)
    conditions_until: str | None = at(hours=12)
    audiences: str = (
        f"<saml:AudienceRestriction><saml:Audience>{EXPECTED.entity}</saml:Audience></saml:AudienceRestriction>"
    )
    authenticated_at: str = at(minutes=-2)
    session: str = 'SessionIndex="_session"'
    statements: int = 1
    id: str = "_assertion"
    attributes: str = ""

    def assertion(self) -> str:
        statement = (
            f'<saml:AuthnStatement AuthnInstant="{self.authenticated_at}" {self.session}><saml:AuthnContext>'
            "<saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef>"
            "</saml:AuthnContext></saml:AuthnStatement>"
        )
        return (
            f'<saml:Assertion xmlns:saml="{SAML}" xmlns:xs="http://www.w3.org/2001/XMLSchema" ID="{self.id}" Version="2.0" '
            f'IssueInstant="{self.issued_at}"><saml:Issuer>{self.issuer}</saml:Issuer><saml:Subject>'
            f"<saml:NameID {self.name_attributes}>{self.name}</saml:NameID>"
            f'<saml:SubjectConfirmation Method="{self.method}"><saml:SubjectConfirmationData'
            f"{_attribute('NotOnOrAfter', self.confirmed_until)}{_attribute('Recipient', self.recipient)}"
            f"{_attribute('InResponseTo', self.confirmed_answers)}/></saml:SubjectConfirmation></saml:Subject>"
            f"<saml:Conditions{_attribute('NotBefore', self.conditions_from)}"
            f"{_attribute('NotOnOrAfter', self.conditions_until)}>{self.audiences}</saml:Conditions>"
            f"{statement * self.statements}{self.attributes}</saml:Assertion>"
        )

    def response(self) -> Element:
        return etree.fromstring(
            f'<samlp:Response xmlns:samlp="{SAMLP}" xmlns:saml="{SAML}" ID="_response" Version="2.0" '
            f'IssueInstant="{self.issued_at}"{_attribute("Destination", self.destination)}'
            f"{_attribute('InResponseTo', self.answers)}><saml:Issuer>{self.response_issuer}</saml:Issuer>"
            f'<samlp:Status><samlp:StatusCode Value="{self.status}"/></samlp:Status>{self.assertion()}</samlp:Response>'
        )


def _attribute(name: str, value: str | None) -> str:
    return "" if value is None else f' {name}="{value}"'


def assertion_of(root: Element) -> Element:
    return root.find(f".//{{{SAML}}}Assertion")


def sign(
    element: Element,
    key: str = "provider",
    algorithm: Any = xmlsec.constants.TransformRsaSha256,
    digest: Any = xmlsec.constants.TransformSha256,
    transforms: tuple[Any, ...] = (xmlsec.constants.TransformEnveloped, xmlsec.constants.TransformExclC14N),
    uri: str | None = None,
) -> Element:
    """The element itself is signed and returned; the signature stands behind its issuer, with the signer's certificate."""
    signature = xmlsec.template.create(element, xmlsec.constants.TransformExclC14N, algorithm, ns="ds")
    element.find(f"{{{SAML}}}Issuer").addnext(signature)
    reference = xmlsec.template.add_reference(signature, digest, uri=f"#{element.get('ID')}" if uri is None else uri)
    for transform in transforms:
        xmlsec.template.add_transform(reference, transform)
    xmlsec.template.add_x509_data(xmlsec.template.ensure_key_info(signature))
    xmlsec.tree.add_ids(element.getroottree().getroot(), ["ID"])
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_memory(pair(key).pem(), xmlsec.constants.KeyDataFormatPem, None)
    context.key.load_cert_from_memory(
        pair(key).certificate.public_bytes(Encoding.PEM), xmlsec.constants.KeyDataFormatPem
    )
    context.sign(signature)
    return element


def signed(said_: Said = Said(), key: str = "provider", **how: Any) -> Element:
    """A response whose assertion is signed, as most providers do."""
    root = said_.response()
    sign(assertion_of(root), key, **how)
    return read_anew(root)


def read_anew(root: Element) -> Element:
    """lxml finds by name only what it has read itself, not what xmlsec has put in."""
    return etree.fromstring(etree.tostring(root))


def content(root: Element) -> bytes:
    return bytes(etree.tostring(root))


def changed(**parts: Any) -> bytes:
    return content(signed(replace(Said(), **parts)))


def encrypted(
    root: Element,
    key: str = "service",
    cipher: Any = xmlsec.constants.TransformAes128Cbc,
    transport: Any = xmlsec.constants.TransformRsaOaep,
) -> Element:
    """The same response with its assertion encrypted for this key."""
    assertion = assertion_of(root)
    holder = etree.Element(f"{{{SAML}}}EncryptedAssertion")
    assertion.getparent().replace(assertion, holder)
    holder.append(assertion)
    template = xmlsec.template.encrypted_data_create(root, cipher, type=xmlsec.constants.TypeEncElement, ns="xenc")
    xmlsec.template.encrypted_data_ensure_cipher_value(template)
    info = xmlsec.template.encrypted_data_ensure_key_info(template, ns="ds")
    carried = xmlsec.template.add_encrypted_key(info, transport)
    xmlsec.template.encrypted_data_ensure_cipher_value(carried)
    manager = xmlsec.KeysManager()
    pem = pair(key).certificate.public_bytes(Encoding.PEM)
    manager.add_key(xmlsec.Key.from_memory(pem, xmlsec.constants.KeyDataFormatCertPem, None))
    context = xmlsec.EncryptionContext(manager)
    bits = 256 if "256" in str(cipher) else 128
    context.key = xmlsec.Key.generate(xmlsec.constants.KeyDataAes, bits, xmlsec.constants.KeyDataTypeSession)
    context.encrypt_xml(template, assertion)
    return root


# ---------------------------------------------------------------- signature wrapping (Somorovsky et al., XSW 1 to 8)


def _evil(element: Element, fresh: str) -> Element:
    """A copy without its signature in which somebody else is named."""
    copied = copy.deepcopy(element)
    for signature in copied.findall(f"{{{DS}}}Signature"):
        copied.remove(signature)
    copied.set("ID", fresh)
    for one in copied.iter(f"{{{SAML}}}NameID"):
        one.text = "mallory"
    return copied


def _whole() -> tuple[Element, Element, Element]:
    """A response that is signed itself, its evil twin, and its signature."""
    root = read_anew(sign(signed()))
    return root, _evil_response(root), root.find(f"{{{DS}}}Signature")


def _evil_response(root: Element) -> Element:
    twin = _evil(root, "_evil")
    assertion = assertion_of(twin)
    twin.replace(assertion, _evil(assertion, "_evil-assertion"))
    return twin


def _parts() -> tuple[Element, Element, Element, Element]:
    """A response, its signed assertion, that one's signature, and the assertion's evil twin."""
    root = signed()
    assertion = assertion_of(root)
    return root, assertion, assertion.find(f"{{{DS}}}Signature"), _evil(assertion, "_evil")


def xsw1() -> Element:
    """The signed response inside the signature of the evil one."""
    root, evil, signature = _whole()
    root.remove(signature)
    signature.append(root)
    evil.find(f"{{{SAML}}}Issuer").addnext(signature)
    return evil


def xsw2() -> Element:
    """The signed response before its detached signature, in the evil one."""
    root, evil, signature = _whole()
    root.remove(signature)
    evil.find(f"{{{SAML}}}Issuer").addnext(signature)
    signature.addprevious(root)
    return evil


def xsw3() -> Element:
    """The evil assertion before the signed one."""
    root, assertion, _, evil = _parts()
    assertion.addprevious(evil)
    return root


def xsw4() -> Element:
    """The signed assertion inside the evil one."""
    root, assertion, _, evil = _parts()
    root.replace(assertion, evil)
    evil.append(assertion)
    return root


def xsw5() -> Element:
    """The evil assertion has the signature, what it covers stands behind."""
    root, assertion, signature, evil = _parts()
    assertion.remove(signature)
    evil.find(f"{{{SAML}}}Issuer").addnext(signature)
    assertion.addprevious(evil)
    return root


def xsw6() -> Element:
    """The evil assertion has the signature, which has what it covers."""
    root, assertion, signature, evil = _parts()
    root.replace(assertion, evil)
    assertion.remove(signature)
    evil.find(f"{{{SAML}}}Issuer").addnext(signature)
    signature.append(assertion)
    return root


def xsw7() -> Element:
    """The evil assertion, under the same id, in Extensions, which may hold anything."""
    root, assertion, _, evil = _parts()
    evil.set("ID", assertion.get("ID"))
    extensions = etree.Element(f"{{{SAMLP}}}Extensions")
    extensions.append(evil)
    root.find(f"{{{SAML}}}Issuer").addnext(extensions)
    return root


def xsw8() -> Element:
    """The evil assertion has the signature, and what that covers stands in an Object of it."""
    root, assertion, signature, evil = _parts()
    root.replace(assertion, evil)
    assertion.remove(signature)
    evil.set("ID", assertion.get("ID"))
    evil.find(f"{{{SAML}}}Issuer").addnext(signature)
    etree.SubElement(signature, f"{{{DS}}}Object").append(assertion)
    return root


WRAPPED: tuple[Callable[[], Element], ...] = (xsw1, xsw2, xsw3, xsw4, xsw5, xsw6, xsw7, xsw8)


def signature_of(root: Element) -> Element:
    return root.xpath("//ds:Signature", namespaces=NAMES)[0]
