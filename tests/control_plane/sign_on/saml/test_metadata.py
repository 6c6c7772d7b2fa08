"""A provider's metadata in, ours out: what is read of it, what is refused, and for how long it is kept."""

from __future__ import annotations

import asyncio
import base64
import zlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree
from onelogin.saml2.xml_utils import OneLogin_Saml2_XML

from control_plane.kit.outside import OutsideError
from control_plane.sign_on import saml_described
from control_plane.sign_on.documents import Saml
from control_plane.sign_on.saml_described import Described, NotDescribedError
from control_plane.sign_on.saml_metadata import read
from control_plane.sign_on.saml_redirects import redirect
from control_plane.sign_on.saml_requests import authn_request, place, service_metadata
from control_plane.sign_on.saml_xml import DS, MD, NAMES, SAML, SAMLP, XmlRefusedError
from tests.control_plane.conftest import ManualClock
from tests.control_plane.sign_on.saml import forging
from tests.control_plane.sign_on.saml.forging import ENTITY, NOW, at

REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"


def key(use: str = 'use="signing"', certificate: str = "") -> str:
    told = certificate or forging.certificate("provider")
    return (
        f"<md:KeyDescriptor {use}><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{told}</ds:X509Certificate>"
        "</ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
    )


def metadata(
    *,
    keys: str | None = None,
    attributes: str = "",
    sso: str = f"{ENTITY}/sso?a=1&amp;b=2",
    binding: str = REDIRECT,
    entity: str = ENTITY,
    protocol: str = SAMLP,
    role: str = "IDPSSODescriptor",
) -> str:
    return (
        f'<md:EntityDescriptor xmlns:md="{MD}" xmlns:ds="{DS}" entityID="{entity}" {attributes}>'
        f'<md:{role} protocolSupportEnumeration="{protocol}">{key() if keys is None else keys}'
        f'<md:SingleSignOnService Binding="{POST}" Location="https://id.example.com/post"/>'
        f'<md:SingleSignOnService Binding="{binding}" Location="{sso}"/>'
        f"</md:{role}></md:EntityDescriptor>"
    )


def refused(text: str, signer: str = "") -> str:
    with pytest.raises(XmlRefusedError) as error:
        read(text.encode(), NOW, signer)
    return str(error.value)


def weak() -> str:
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    template = forging.pair("provider").certificate

    made = (
        x509.CertificateBuilder()
        .subject_name(template.subject)
        .issuer_name(template.subject)
        .public_key(small.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .sign(small, hashes.SHA256())
    )
    return base64.b64encode(made.public_bytes(Encoding.DER)).decode()


# ---------------------------------------------------------------- in


def test_what_is_needed_is_read():
    found = read(metadata(attributes=f'validUntil="{at(days=1)}" cacheDuration="PT6H30M"').encode(), NOW)
    assert (found.entity, found.ask_at) == (ENTITY, f"{ENTITY}/sso?a=1&b=2")
    assert found.keys == (forging.certificate("provider"),)
    assert found.valid_until == NOW + timedelta(days=1)
    assert found.cache_for == timedelta(hours=6, minutes=30)


def test_every_key_that_may_sign_is_read_once_and_none_that_only_encrypts():
    keys = key() + key("", forging.certificate("next")) + key('use="encryption"', forging.certificate("older")) + key()
    assert read(metadata(keys=keys).encode(), NOW).keys == (
        forging.certificate("provider"),
        forging.certificate("next"),
    )


def test_a_federations_list_is_taken_when_one_provider_is_in_it():
    listed = f'<md:EntitiesDescriptor xmlns:md="{MD}" validUntil="{at(days=2)}">{{}}</md:EntitiesDescriptor>'
    service = metadata(role="SPSSODescriptor", entity="https://service.example.com")
    found = read(listed.format(service + metadata()).encode(), NOW)
    assert (found.entity, found.valid_until) == (ENTITY, NOW + timedelta(days=2))
    assert "2 times" in refused(listed.format(metadata() + metadata(entity="https://other.example.com")))


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (metadata(attributes=f'validUntil="{at(seconds=-1)}"'), "it was valid until"),
        (metadata(attributes='validUntil="soon"'), "no instant"),
        (metadata(attributes='cacheDuration="P1M"'), "no duration"),
        (metadata(keys=""), "0 certificates"),
        (metadata(keys=key('use="encryption"')), "0 certificates"),
        (metadata(keys=key(certificate="AAAA")), "cannot be read"),
        (metadata(keys=key(certificate=weak())), "too weak"),
        (metadata(sso="http://id.example.com/sso"), "https://"),
        (metadata(sso="https://id.example.com/sso#x"), "https://"),
        (metadata(sso="javascript:alert(1)"), "https://"),
        (metadata(binding="urn:oasis:names:tc:SAML:2.0:bindings:SOAP"), "HTTP-Redirect"),
        (metadata(protocol="urn:oasis:names:tc:SAML:1.1:protocol"), "does not speak SAML 2.0"),
        (metadata(role="SPSSODescriptor"), "0 times"),
        (metadata(entity=""), "entityID"),
        (metadata(entity="x" * 1025), "entityID"),
        ("<a/>", "no metadata"),
        ("<!DOCTYPE a><a/>", "DTD"),
        ("hello", "not well-formed"),
    ],
)
def test_metadata_that_cannot_be_relied_on_is_refused(text: str, cause: str):
    assert cause in refused(text)


def _signed(key_name: str, change: Callable[[str], str] = str) -> str:
    root = etree.fromstring(metadata(attributes='ID="_metadata"'))
    signature = xmlsec.template.create(
        root, xmlsec.constants.TransformExclC14N, xmlsec.constants.TransformRsaSha256, ns="ds"
    )
    root.insert(0, signature)
    reference = xmlsec.template.add_reference(signature, xmlsec.constants.TransformSha256, uri="#_metadata")
    xmlsec.template.add_transform(reference, xmlsec.constants.TransformEnveloped)
    xmlsec.template.add_transform(reference, xmlsec.constants.TransformExclC14N)
    xmlsec.tree.add_ids(root, ["ID"])
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_memory(forging.pair(key_name).pem(), xmlsec.constants.KeyDataFormatPem, None)
    context.sign(signature)
    return change(etree.tostring(root).decode())


def test_metadata_is_taken_only_from_its_signer_where_the_document_names_one():
    signer = forging.pair("signer").certificate.public_bytes(Encoding.PEM).decode()
    assert read(_signed("signer").encode(), NOW, signer).entity == ENTITY
    assert "is not signed" in refused(metadata(), signer)
    assert "not by the certificate" in refused(_signed("mallory"), signer)
    tampered = _signed("signer", lambda text: text.replace("/sso?", "/sso2?"))
    assert "not by the certificate" in refused(tampered, signer)
    wrapped = f'<md:EntitiesDescriptor xmlns:md="{MD}">{_signed("signer")}</md:EntitiesDescriptor>'
    assert "stands where none may stand" in refused(wrapped, signer)


# ---------------------------------------------------------------- kept


class Answers:
    """What stands at the address, and how often it was asked for."""

    def __init__(self) -> None:
        self.text = metadata()
        self.asked = 0
        self.gone = False

    async def fetch(self, url: str, _headers: dict[str, str] | None = None) -> httpx.Response:
        self.asked += 1
        if self.gone:
            raise OutsideError(f"{url} cannot be asked")
        return httpx.Response(200, content=self.text.encode())


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    made = Answers()
    monkeypatch.setattr(saml_described, "fetch", made.fetch)
    return made


@pytest.fixture
def described(clock: ManualClock, answers: Answers) -> Described:
    return Described(clock)


SAML_AT = Saml(metadata="https://id.example.com/metadata")


async def test_metadata_is_kept_for_an_hour_or_as_long_as_it_says(
    described: Described, answers: Answers, clock: ManualClock
):
    for minutes, asked in ((0, 1), (59, 1), (1, 2)):
        clock.advance(minutes=minutes)
        await described.of(SAML_AT)
        assert answers.asked == asked
    answers.text = metadata(attributes='cacheDuration="PT3H"')
    clock.advance(minutes=60)
    for minutes, asked in ((0, 3), (179, 3), (1, 4)):
        clock.advance(minutes=minutes)
        await described.of(SAML_AT)
        assert answers.asked == asked


async def test_a_provider_whose_metadata_is_gone_goes_on_for_a_day_and_not_past_its_end(
    described: Described, answers: Answers, clock: ManualClock
):
    await described.of(SAML_AT)
    answers.gone = True
    clock.advance(hours=23)
    assert (await described.of(SAML_AT)).entity == ENTITY
    clock.advance(hours=1)
    with pytest.raises(NotDescribedError, match="cannot be asked"):
        await described.of(SAML_AT)
    answers.gone, answers.text = False, metadata(attributes=f'validUntil="{at(hours=26)}"')
    clock.advance(seconds=30)
    await described.of(SAML_AT)
    answers.gone = True
    clock.advance(hours=2)
    with pytest.raises(NotDescribedError):
        await described.of(SAML_AT)


async def test_a_provider_that_could_not_be_asked_just_now_is_left_alone_for_half_a_minute(
    described: Described, answers: Answers, clock: ManualClock
):
    answers.gone = True
    for _ in range(3):
        with pytest.raises(NotDescribedError, match="cannot be asked"):
            await described.of(SAML_AT)
    assert answers.asked == 1
    answers.gone = False
    clock.advance(seconds=30)
    assert (await described.of(SAML_AT)).entity == ENTITY


async def test_nobody_waits_for_another_provider_to_answer(
    described: Described, answers: Answers, monkeypatch: pytest.MonkeyPatch
):
    never = asyncio.Event()

    async def fetch(url: str, headers: dict[str, str]) -> httpx.Response:
        if "slow" in url:
            await never.wait()
        return await answers.fetch(url, headers)

    monkeypatch.setattr(saml_described, "fetch", fetch)
    slow = asyncio.ensure_future(described.of(Saml(metadata="https://slow.example.com/metadata")))
    async with asyncio.timeout(20):
        assert (await described.of(SAML_AT)).entity == ENTITY
    assert not slow.done()
    never.set()
    await slow


async def test_a_key_that_is_not_known_makes_us_ask_at_most_twice_a_minute(
    described: Described, answers: Answers, clock: ManualClock
):
    known = await described.of(SAML_AT)
    for _ in range(5):
        assert await described.anew(SAML_AT, known) is None
    assert answers.asked == 1
    clock.advance(seconds=30)
    answers.text = metadata(keys=key(certificate=forging.certificate("next")))
    newer = await described.anew(SAML_AT, known)
    assert newer is not None
    assert newer.keys == (forging.certificate("next"),)
    assert await described.anew(SAML_AT, newer) is None
    assert answers.asked == 2


# ---------------------------------------------------------------- out


def test_our_metadata_is_valid_and_tells_all_keys_of_which_the_newest_encrypts():
    where = place("https://assentry.example.org/", "corp")
    text = service_metadata(where, [forging.pair("service"), forging.pair("older")])
    assert not isinstance(OneLogin_Saml2_XML.validate_xml(text, "saml-schema-metadata-2.0.xsd"), str)
    root = etree.fromstring(text)
    assert root.get("entityID") == "https://assentry.example.org/sign-in/saml/corp/metadata"
    service = root.find(f"{{{MD}}}SPSSODescriptor")
    assert (service.get("AuthnRequestsSigned"), service.get("WantAssertionsSigned")) == ("true", "true")
    shown = {
        use: service.xpath(f"md:KeyDescriptor[@use='{use}']//ds:X509Certificate/text()", namespaces=NAMES)
        for use in ("signing", "encryption")
    }
    service_certificate, older = forging.certificate("service"), forging.certificate("older")
    assert shown == {"signing": [service_certificate, older], "encryption": [service_certificate]}


def test_a_request_says_who_asks_and_is_signed_over_what_is_sent():
    where = place("https://assentry.example.org", "corp")
    message = authn_request("_id", where, f"{ENTITY}/sso?a=1&b=2", NOW, again=True, contexts=["urn:x"])
    url = redirect(f"{ENTITY}/sso?a=1&b=2", message, forging.pair("service"), relay="abc")
    sent, _, signature = urlsplit(url).query.partition("&Signature=")
    assert sent.startswith("a=1&b=2&SAMLRequest=")
    query = parse_qs(f"{sent}&Signature={signature}")
    public: Any = forging.pair("service").certificate.public_key()
    octets = sent.removeprefix("a=1&b=2&").encode()
    public.verify(base64.b64decode(query["Signature"][0]), octets, padding.PKCS1v15(), hashes.SHA256())

    root = etree.fromstring(zlib.decompress(base64.b64decode(query["SAMLRequest"][0]), -15))
    assert not isinstance(OneLogin_Saml2_XML.validate_xml(root, "saml-schema-protocol-2.0.xsd"), str)
    assert (root.get("ID"), root.get("Destination"), root.get("ForceAuthn")) == ("_id", f"{ENTITY}/sso?a=1&b=2", "true")
    assert root.find(f"{{{SAML}}}Issuer").text == where.entity
    assert root.xpath("//saml:AuthnContextClassRef/text()", namespaces=NAMES) == ["urn:x"]
