"""What a SAML identity provider says of itself: its metadata, read. Pure.

Takes one entity with one IDPSSODescriptor that can be asked by HTTP-Redirect. `validUntil` is kept to; the certificates
in it are but holders of keys, as SAML means them (Metadata for the OASIS SAML V2.0, §2.3-2.4, and its interoperability
profile): their own dates and issuers say nothing. Several may sign, so that a key is changed without a gap.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from control_plane.kit.outside import allowed
from control_plane.sign_on.saml_shape import DIGESTS, check_signatures
from control_plane.sign_on.saml_xml import (
    DS,
    EXCLUSIVE,
    MD,
    NAMES,
    SAMLP,
    Element,
    XmlRefusedError,
    covered,
    ids_once,
    name,
    parse,
    text_of,
)

LARGEST: Final = 1024 * 1024
REDIRECT: Final = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
_SMALLEST_RSA: Final = 2048
_MOST_KEYS: Final = 16
_LONGEST: Final = 1024  # SAML Metadata §2.2.1, and what an address may have
_INSTANT: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,12})?Z", re.ASCII)
_DURATION: Final = re.compile(
    r"P(?:(\d{1,4})D)?(?:T(?:(\d{1,5})H)?(?:(\d{1,6})M)?(?:(\d{1,8})(?:\.\d+)?S)?)?", re.ASCII
)


class ProviderMetadata(msgspec.Struct, frozen=True):
    entity: str
    ask_at: str  # single sign-on by HTTP-Redirect
    leave_at: str  # single logout by HTTP-Redirect; empty: it has none
    keys: tuple[str, ...]  # certificates, base64 of DER, one of which signs
    valid_until: datetime | None = None
    cache_for: timedelta | None = None


def read(content: bytes, now: datetime, signer: str = "") -> ProviderMetadata:
    """`signer`: the certificate, PEM, that must have signed it; empty: who brought it is trusted for it. Raises
    XmlRefusedError."""
    root = parse(content, LARGEST)
    ids_once(root)
    if signer:
        root = _signed(root, signer)
    entity = _entity(root)
    descriptor = _one(entity, "md:IDPSSODescriptor", "an IDPSSODescriptor")
    if SAMLP not in descriptor.get("protocolSupportEnumeration", "").split():
        raise XmlRefusedError("the provider does not speak SAML 2.0")
    valid_until = _valid_until(root, entity, descriptor)
    if valid_until is not None and valid_until <= now:
        raise XmlRefusedError(f"it was valid until {valid_until.isoformat()}; get the provider's present metadata")
    return ProviderMetadata(
        _entity_id(entity),
        _address(descriptor, "SingleSignOnService", required=True),
        _address(descriptor, "SingleLogoutService", required=False),
        _keys(descriptor),
        valid_until,
        _cache_for(root, entity),
    )


def entity_of(metadata: str) -> str:
    """Which provider is meant, as far as is known unasked: its entity id, or the address of its metadata. Of XML that
    is none: the XML."""
    if not metadata.lstrip().startswith("<"):
        return metadata
    try:
        return _entity_id(_entity(parse(metadata.encode(), LARGEST)))
    except XmlRefusedError:
        return metadata


def instant(text: str) -> datetime:
    """xs:dateTime as SAML Core §1.3.3 has it: UTC, said with a Z. Raises XmlRefusedError."""
    found = _INSTANT.fullmatch(text)
    try:
        return datetime.fromisoformat(found.group(1)).replace(tzinfo=UTC) if found else _no_instant(text)
    except ValueError:
        return _no_instant(text)


def _no_instant(text: str) -> datetime:
    raise XmlRefusedError(f"{text[:64]!r} is no instant in UTC")


def _entity(root: Element) -> Element:
    if root.tag == name(MD, "EntityDescriptor"):
        return root
    if root.tag != name(MD, "EntitiesDescriptor"):
        raise XmlRefusedError("it is no metadata: its root is neither EntityDescriptor nor EntitiesDescriptor")
    return _one(root, ".//md:EntityDescriptor[md:IDPSSODescriptor]", "an identity provider")


def _one(element: Element, path: str, what: str) -> Element:
    found = element.xpath(path, namespaces=NAMES)
    if len(found) != 1:
        raise XmlRefusedError(f"it holds {what} {len(found)} times; it must be exactly once")
    return found[0]


def _entity_id(entity: Element) -> str:
    found = str(entity.get("entityID", ""))
    if not found or len(found) > _LONGEST:
        raise XmlRefusedError("its entityID is missing or too long")
    return found


def _address(descriptor: Element, service: str, *, required: bool) -> str:
    found = descriptor.xpath(f"md:{service}[@Binding=$binding]/@Location", namespaces=NAMES, binding=REDIRECT)
    if not found and not required:
        return ""
    if not found:
        raise XmlRefusedError("the provider cannot be asked by the binding HTTP-Redirect")
    if not allowed(str(found[0])) or "#" in found[0] or len(found[0]) > _LONGEST:
        raise XmlRefusedError(f"its {service} is no address that begins with https://")
    return str(found[0])


def _keys(descriptor: Element) -> tuple[str, ...]:
    path = "md:KeyDescriptor[not(@use) or @use='signing']/ds:KeyInfo/ds:X509Data/ds:X509Certificate"
    found = tuple(
        dict.fromkeys(_key("".join(text_of(one).split())) for one in descriptor.xpath(path, namespaces=NAMES))
    )
    if not 0 < len(found) <= _MOST_KEYS:
        raise XmlRefusedError(f"it holds {len(found)} certificates that sign; between 1 and {_MOST_KEYS} can be used")
    return found


def _key(text: str) -> str:
    try:
        certificate = x509.load_der_x509_certificate(base64.b64decode(text, validate=True))
        key = certificate.public_key()
    except (binascii.Error, ValueError, TypeError) as error:
        raise XmlRefusedError("a certificate in it cannot be read") from error
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _SMALLEST_RSA:
        return text
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in {"secp256r1", "secp384r1", "secp521r1"}:
        return text
    raise XmlRefusedError("a certificate in it has a key that is too weak: RSA needs 2048 bits")


def _valid_until(*elements: Element) -> datetime | None:
    told = [instant(one.get("validUntil")) for one in elements if one.get("validUntil") is not None]
    return min(told, default=None)


def _cache_for(*elements: Element) -> timedelta | None:
    told = [_duration(one.get("cacheDuration")) for one in elements if one.get("cacheDuration") is not None]
    return min(told, default=None)


def _duration(text: str) -> timedelta:
    """xs:duration without years and months, which have no length."""
    found = _DURATION.fullmatch(text)
    if found is None or not any(found.groups()):
        raise XmlRefusedError(f"{text[:64]!r} is no duration in days, hours, minutes and seconds")
    days, hours, minutes, seconds = (int(one or 0) for one in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _signed(root: Element, signer: str) -> Element:
    """The root as the signature covers it."""
    check_signatures(root)
    signature = root.find(name(DS, "Signature"))
    if signature is None:
        raise XmlRefusedError("it is not signed, and the document names who signs it")
    signed = covered(root, inclusive_prefixes(signature))
    verify(root, signature, certificate_of(signer), signed)
    return parse(signed, LARGEST)


def inclusive_prefixes(signature: Element) -> list[str]:
    """Namespaces that the signature covers though nothing in the names of elements uses them."""
    path = "ds:SignedInfo/ds:Reference/ds:Transforms/ds:Transform[@Algorithm=$how]/ec:InclusiveNamespaces/@PrefixList"
    return [prefix for one in signature.xpath(path, namespaces=NAMES, how=EXCLUSIVE) for prefix in one.split()]


def digest_is(signature: Element, signed: bytes) -> bool:
    """Whether the signature's digest is that of these very bytes."""
    method = signature.find(f".//{name(DS, 'DigestMethod')}").get("Algorithm")
    told = "".join(text_of(signature.find(f".//{name(DS, 'DigestValue')}")).split())
    return base64.b64encode(hashlib.new(DIGESTS[method], signed).digest()).decode() == told


def verify(root: Element, signature: Element, certificate: x509.Certificate, signed: bytes) -> None:
    """Raises XmlRefusedError."""
    xmlsec.tree.add_ids(root, ["ID"])
    context = xmlsec.SignatureContext()
    pem = certificate.public_bytes(Encoding.PEM)
    context.key = xmlsec.Key.from_memory(pem, xmlsec.constants.KeyDataFormatCertPem, None)
    try:
        context.verify(signature)
    except xmlsec.Error as error:
        raise XmlRefusedError("its signature is wrong, or not by the certificate that is named for it") from error
    if not digest_is(signature, signed):
        raise XmlRefusedError("its signature does not cover what is read")


def certificate_of(pem: str) -> x509.Certificate:
    """Raises XmlRefusedError."""
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise XmlRefusedError("who signs it is not told by a certificate, PEM") from error
