"""What is not exactly what the provider signed, for us, for this request, now: refused, each for its own cause."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import xmlsec
from lxml import etree

from control_plane.sign_on.saml_assertion import Assertion
from control_plane.sign_on.saml_responses import SamlRefusedError, WrongSignatureError, verified
from control_plane.sign_on.saml_xml import DS, SAML, SAMLP
from tests.control_plane.sign_on.saml import forging
from tests.control_plane.sign_on.saml.forging import EXPECTED, NOW, Said, at, changed, content, described, sign, signed

C = xmlsec.constants
OTHERS = "<saml:AudienceRestriction><saml:Audience>x</saml:Audience></saml:AudienceRestriction>"


def taken(document: bytes, *, keys: tuple[str, ...] = ("provider",), **changes: Any) -> Assertion:
    expected = msgspec.structs.replace(EXPECTED, **{key: one for key, one in changes.items() if key != "now"})
    ours = [forging.pair("service").private_pem(), forging.pair("older").private_pem()]
    return verified(document, described(*keys), expected, ours, changes.get("now", NOW))


def refused(document: bytes, **changes: Any) -> str:
    with pytest.raises(SamlRefusedError) as error:
        taken(document, **changes)
    return str(error.value)


# ---------------------------------------------------------------- what is taken


@pytest.mark.parametrize(
    "document",
    [
        content(signed()),
        content(sign(signed())),
        content(signed(algorithm=C.TransformRsaSha512, digest=C.TransformSha512)),
        content(forging.encrypted(signed())),
        content(forging.encrypted(signed(), key="older")),
        content(sign(forging.encrypted(signed(), cipher=C.TransformAes256Gcm))),
        content(signed()).replace(b"><", b">\n  <", 3),
    ],
    ids=["signed", "both-signed", "sha512", "encrypted", "encrypted-for-the-older-key", "gcm-and-signed", "spaced"],
)
def test_what_the_provider_signed_is_read(document: bytes):
    found = taken(document)
    assert (found.name.value, found.session, found.id) == ("ada", "_session", "_assertion")
    assert found.acr == "urn:oasis:names:tc:SAML:2.0:ac:classes:Password"
    assert found.authenticated_at == NOW - timedelta(minutes=2)


def test_any_of_the_keys_that_the_provider_announces_may_have_signed():
    for key in ("provider", "next"):
        assert taken(content(signed(key=key)), keys=("provider", "next")).name.value == "ada"


# ---------------------------------------------------------------- wrapping


@pytest.mark.parametrize("wrapped", forging.WRAPPED, ids=lambda one: one.__name__)
@pytest.mark.parametrize("later", [False, True], ids=["as-sent", "encrypted"])
def test_a_signature_is_not_wrapped_around_another_assertion(wrapped: Callable[[], Any], later: bool):
    root = wrapped()
    assert b"mallory" in content(root)
    if later:
        forging.encrypted(root)
    refused(content(root))


@pytest.mark.parametrize("strange", [f"{{{SAMLP}}}Extensions", f"{{{SAML}}}Advice", "{urn:x}y"])
def test_a_response_holds_nothing_but_what_is_read(strange: str):
    root = signed()
    root.insert(1, etree.Element(strange))
    assert "a response does not hold" in refused(content(root))


def test_two_elements_never_share_an_id():
    root = signed(replace(Said(), id="_response"))
    assert "two elements have the id" in refused(content(root))


def test_the_shape_is_refused_before_a_key_of_ours_is_used():
    document = content(forging.xsw3())
    with pytest.raises(SamlRefusedError, match="exactly one assertion"):
        verified(document, described(), EXPECTED, [], NOW)


@pytest.mark.parametrize(
    "document", [content(signed()), content(forging.encrypted(signed()))], ids=["plain", "encrypted"]
)
def test_whatever_bytes_are_changed_it_is_refused_or_means_the_same(document: bytes):
    chance, same = random.Random(20), taken(document)
    for _ in range(60):
        changed_ = bytearray(document)
        for _ in range(chance.choice((1, 1, 3))):
            place = chance.randrange(len(changed_))
            changed_[place : place + chance.choice((0, 1, 1, 4))] = bytes([chance.randrange(256)])
        with contextlib.suppress(SamlRefusedError):
            assert taken(bytes(changed_)) == same


# ---------------------------------------------------------------- signatures


def _tampered() -> bytes:
    return content(signed()).replace(b">ada<", b">eve<")


def _without(element: str) -> bytes:
    root = signed()
    found = root.find(f".//{{{DS}}}{element}")
    found.getparent().remove(found)
    return content(root)


def _hmac() -> bytes:
    """Signed with the certificate's own bytes as a shared secret: an algorithm of another kind than the key."""
    root = signed()
    document = content(root)
    return document.replace(b"xmldsig-more#rsa-sha256", b"xmldsig-more#hmac-sha256")


@pytest.mark.parametrize(
    ("document", "cause"),
    [
        (lambda: content(Said().response()), "the assertion itself is not signed"),
        (lambda: content(sign(Said().response())), "the assertion itself is not signed"),
        (lambda: content(signed(key="mallory")), "Signature validation failed"),
        (lambda: content(sign(signed(), key="mallory")), "Signature validation failed"),
        (_tampered, "not what was signed"),
        (lambda: _without("SignatureValue"), "saml-schema"),
        (lambda: _without("Reference"), "does not cover the element"),
        (_hmac, "hmac-sha256 is not accepted"),
        (lambda: content(signed(algorithm=C.TransformRsaSha1)), "rsa-sha1 is not accepted"),
        (lambda: content(signed(digest=C.TransformSha1)), "sha1 is not accepted"),
        (lambda: content(signed(uri="")), "does not cover the element"),
        (
            lambda: content(signed(transforms=(C.TransformEnveloped, C.TransformExclC14NWithComments))),
            "transforms what it covers",
        ),
        (lambda: content(signed(transforms=(C.TransformEnveloped, C.TransformInclC14N))), "transforms what it covers"),
    ],
)
def test_only_a_strong_signature_of_the_provider_over_the_assertion_counts(document: Callable[[], bytes], cause: str):
    assert cause in refused(document())


def test_a_key_that_is_not_known_is_told_apart_from_all_else():
    """Then the provider's metadata is asked for once more."""
    with pytest.raises(WrongSignatureError):
        taken(content(signed(key="next")))
    with pytest.raises(SamlRefusedError) as error:
        taken(changed(answers="_other"))
    assert not isinstance(error.value, WrongSignatureError)


def test_a_transform_that_selects_is_refused():
    root = signed()
    transforms = root.find(f".//{{{DS}}}Transforms")
    selecting = etree.SubElement(
        transforms, f"{{{DS}}}Transform", Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"
    )
    etree.SubElement(selecting, f"{{{DS}}}XPath").text = "true()"
    assert "does not hold ds:XPath" in refused(content(root))


# ---------------------------------------------------------------- XML that acts


def _declared(declaration: str, name: str = "ada") -> bytes:
    document = content(signed()).decode()
    return f'<?xml version="1.0"?>{declaration}{document.replace(">ada<", f">{name}<")}'.encode()


LAUGHS = "<!DOCTYPE r [<!ENTITY a 'ha'>" + "".join(
    f"<!ENTITY {after} '{f'&{before};' * 10}'>" for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("document", "cause"),
    [
        (_declared("<!DOCTYPE r>"), "DTD"),
        (_declared('<!DOCTYPE r SYSTEM "http://127.0.0.1:9/x.dtd">'), "DTD"),
        (_declared('<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]>', "&x;"), "DTD"),
        (_declared(f"{LAUGHS}]>", "&i;"), "DTD"),
        (_declared("<!doctype r [<!entity x 'y'>]>"), "DTD"),
        (_declared("", "a<!-- -->da"), "a comment"),
        (_declared("", "ada<!-- -->.evil"), "a comment"),
        (_declared("<!-- before -->"), "a comment"),
        (_declared("", "a<?x y?>da"), "a processing instruction"),
        (_declared("", "&unknown;"), "not well-formed"),
        (content(signed()).decode().encode("utf-16"), "not UTF-8"),
        (content(signed())[:-1], "not well-formed"),
        (content(signed()) + b"<x/>", "not well-formed"),
        (b"", "not well-formed"),
        (b"\xff" * 100, "not UTF-8"),
        (b"<a>" * 100_000, "more than"),
        (b"<a>" * 2_000 + b"</a>" * 2_000, "not well-formed"),
        (b"<a/>", "no samlp:Response"),
    ],
)
def test_a_document_that_does_more_than_say_is_not_read(document: bytes, cause: str):
    assert cause in refused(document)


def test_another_declared_encoding_does_not_make_a_second_reading():
    document = b'<?xml version="1.0" encoding="UTF-7"?>' + content(signed())
    assert taken(document).name.value == "ada"
    assert "not what was signed" in refused(document.replace(b">ada<", b">+AGU-ve<"))


# ---------------------------------------------------------------- encryption


def _referring() -> bytes:
    root = forging.encrypted(signed())
    value = root.find(".//{http://www.w3.org/2001/04/xmlenc#}CipherValue")
    value.getparent().replace(
        value, etree.Element("{http://www.w3.org/2001/04/xmlenc#}CipherReference", URI="http://127.0.0.1:9/")
    )
    return content(root)


@pytest.mark.parametrize(
    ("document", "cause"),
    [
        (lambda: content(forging.encrypted(signed(), key="mallory")), "cannot be decrypted"),
        (lambda: content(forging.encrypted(signed(), transport=C.TransformRsaPkcs1)), "rsa-1_5 is not accepted"),
        (lambda: content(forging.encrypted(Said().response())), "the assertion itself is not signed"),
        (lambda: content(sign(forging.encrypted(Said().response()))), "the assertion itself is not signed"),
        (lambda: content(forging.encrypted(signed(key="mallory"))), "Signature validation failed"),
        (_referring, "does not hold xenc:CipherReference"),
    ],
)
def test_what_is_encrypted_is_judged_as_strictly(document: Callable[[], bytes], cause: str):
    assert cause in refused(document())


def test_where_only_encrypted_assertions_are_taken_a_plain_one_is_not():
    assert taken(content(forging.encrypted(signed())), encrypted=True).name.value == "ada"
    assert "only encrypted ones" in refused(content(signed()), encrypted=True)


def test_a_comment_inside_the_encrypted_part_is_not_read():
    root = signed()
    name = root.find(f".//{{{SAML}}}NameID")
    name.text = "a"
    name.append(etree.Comment("x"))
    name[0].tail = "da"
    assert "a comment" in refused(content(forging.encrypted(root)))


# ---------------------------------------------------------------- what is said


@pytest.mark.parametrize(
    ("parts", "cause"),
    [
        ({"status": "urn:oasis:names:tc:SAML:2.0:status:Responder"}, "the provider refused"),
        ({"answers": "_other"}, "answers another request"),
        ({"answers": None}, "answers another request"),
        ({"confirmed_answers": "_other"}, "SubjectConfirmation"),
        ({"confirmed_answers": None}, "answers another request"),
        ({"destination": "https://elsewhere.example.com/acs"}, "is meant for"),
        ({"destination": f"{EXPECTED.consumer}/more"}, "is meant for"),
        ({"destination": None}, "is meant for"),
        ({"recipient": "https://elsewhere.example.com/acs"}, "SubjectConfirmation"),
        ({"recipient": f"{EXPECTED.consumer}/more"}, "is meant for"),
        ({"recipient": None}, "is meant for"),
        ({"method": "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key"}, "SubjectConfirmation"),
        ({"confirmed_until": None}, "has no end"),
        ({"confirmed_until": at(minutes=-5)}, "SubjectConfirmation"),
        ({"conditions_until": at(minutes=-10)}, "expired"),
        ({"conditions_from": at(hours=10)}, "not yet valid"),
        ({"conditions_from": at(minutes=2)}, "is not valid before"),
        ({"issued_at": at(minutes=3)}, "not made just now"),
        ({"issued_at": at(minutes=-30)}, "not made just now"),
        ({"issued_at": "yesterday"}, "is no instant"),
        ({"authenticated_at": at(minutes=3)}, "in the future"),
        ({"authenticated_at": at().removesuffix("Z") + "+02:00"}, "is no instant"),
        ({"session": f'SessionNotOnOrAfter="{at(minutes=-1)}"'}, "expired"),
        ({"session": f'SessionIndex="{"s" * 256}"'}, "more than 255 characters"),
        ({"audiences": ""}, "for whom it is"),
        ({"audiences": OTHERS}, "not a valid audience"),
        ({"audiences": Said().audiences + OTHERS}, "for somebody else"),
        ({"issuer": "https://other.example.com"}, "Invalid issuer"),
        ({"response_issuer": "https://other.example.com"}, "issued by somebody else"),
        ({"statements": 0}, "AuthnStatement"),
        ({"statements": 2}, "AuthnStatement"),
        ({"name": ""}, "NameID is empty"),
        ({"name": "  "}, "NameID is empty"),
        ({"name": "<x/>ada"}, "saml-schema"),
        ({"name_attributes": 'SPNameQualifier="https://other.example.com"'}, "another service provider"),
    ],
)
def test_what_was_not_said_for_this_moment_and_this_request_is_refused(parts: dict[str, Any], cause: str):
    assert cause in refused(changed(**parts))


def test_an_unknown_condition_is_not_passed_over():
    strange = '<saml:Condition xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="saml:OneTimeUseType"/>'
    assert "is not understood" in refused(changed(audiences=Said().audiences + strange))


def test_times_are_judged_by_our_own_clock_with_a_minute_of_grace():
    document = content(signed())
    later = {"patience": timedelta(days=1)}
    assert taken(document, now=NOW + timedelta(hours=12, seconds=59), **later).name.value == "ada"
    assert "was valid until" in refused(document, now=NOW + timedelta(hours=12, seconds=60), **later)
    assert "not made just now" in refused(document, now=NOW + timedelta(minutes=12))
    assert "not made just now" in refused(document, now=NOW - timedelta(seconds=61))


def test_what_lies_between_tags_of_a_name_is_read_whole():
    """CDATA is text: a name is what all of its text says."""
    root = signed(replace(Said(), name="<![CDATA[a]]>da"))
    assert taken(content(root)).name.value == "ada"


def test_attributes_are_read_with_all_their_values():
    attributes = (
        '<saml:AttributeStatement><saml:Attribute Name="groups"><saml:AttributeValue>one</saml:AttributeValue>'
        "<saml:AttributeValue> two </saml:AttributeValue></saml:Attribute>"
        '<saml:Attribute Name="groups"><saml:AttributeValue>three</saml:AttributeValue></saml:Attribute>'
        "</saml:AttributeStatement>"
    )
    assert taken(changed(attributes=attributes)).attributes == {"groups": ("one", "two", "three")}


def test_an_encrypted_attribute_is_refused_and_not_left_out():
    attributes = (
        "<saml:AttributeStatement><saml:EncryptedAttribute>"
        '<xenc:EncryptedData xmlns:xenc="http://www.w3.org/2001/04/xmlenc#"><xenc:EncryptionMethod '
        'Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/><xenc:CipherData><xenc:CipherValue>AAAA'
        "</xenc:CipherValue></xenc:CipherData></xenc:EncryptedData></saml:EncryptedAttribute></saml:AttributeStatement>"
    )
    assert "encrypted once more" in refused(changed(attributes=attributes))


def test_a_response_without_an_assertion_tells_why_the_provider_refused():
    root = Said().response()
    root.remove(forging.assertion_of(root))
    code = root.find(f".//{{{SAMLP}}}StatusCode")
    code.set("Value", "urn:oasis:names:tc:SAML:2.0:status:Responder")
    etree.SubElement(code, f"{{{SAMLP}}}StatusCode", Value="urn:oasis:names:tc:SAML:2.0:status:AuthnFailed")
    assert "AuthnFailed" in refused(content(root))
