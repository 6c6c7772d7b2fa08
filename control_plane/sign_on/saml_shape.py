"""How a SAML response must be built before anything in it is believed: one place for the assertion, one for each
signature, and only algorithms from a list. Signature wrapping lives from a second place. Pure.

SAML 2.0 Core (§5.4 for signatures), Bindings §3.5; McIntosh and Austel, and Somorovsky et al., on wrapping.
"""

from __future__ import annotations

from typing import Final

from control_plane.sign_on.saml_xml import (
    DS,
    EXCLUSIVE,
    NAMES,
    SAML,
    SAMLP,
    XENC,
    XENC11,
    Element,
    XmlRefusedError,
    ids_once,
    name,
)

_MORE: Final = "http://www.w3.org/2001/04/xmldsig-more#"
ENVELOPED: Final = f"{DS}enveloped-signature"
SIGNATURES: Final = frozenset(
    f"{_MORE}{key}-{digest}" for key in ("rsa", "ecdsa") for digest in ("sha256", "sha384", "sha512")
)
DIGESTS: Final = {f"{XENC}sha256": "sha256", f"{_MORE}sha384": "sha384", f"{XENC}sha512": "sha512"}
KEY_TRANSPORTS: Final = frozenset({f"{XENC}rsa-oaep-mgf1p", f"{XENC11}rsa-oaep"})
CIPHERS: Final = frozenset(
    [f"{XENC}aes{size}-cbc" for size in (128, 192, 256)] + [f"{XENC11}aes{size}-gcm" for size in (128, 192, 256)]
)

_SIGNATURE_PARTS: Final = frozenset(
    {"Signature", "SignedInfo", "CanonicalizationMethod", "SignatureMethod", "Reference", "Transforms", "Transform"}
    | {"DigestMethod", "DigestValue", "SignatureValue", "KeyInfo", "KeyName", "KeyValue", "RSAKeyValue", "Modulus"}
    | {"Exponent", "X509Data", "X509Certificate", "X509IssuerSerial", "X509IssuerName", "X509SerialNumber", "X509SKI"}
    | {"X509SubjectName", "RetrievalMethod"}
)
_ENCRYPTION_PARTS: Final = frozenset(
    {"EncryptedData", "EncryptedKey", "EncryptionMethod", "CipherData", "CipherValue", "ReferenceList", "DataReference"}
    | {"CarriedKeyName"}
)
_RESPONSE_PARTS: Final = frozenset(
    {name(SAML, "Issuer"), name(DS, "Signature"), name(SAMLP, "Status"), name(SAML, "Assertion")}
    | {name(SAML, "EncryptedAssertion")}
)


def check_response(root: Element) -> None:
    """As it came: nothing is decrypted or verified yet. Raises XmlRefusedError."""
    if root.tag != name(SAMLP, "Response"):
        raise XmlRefusedError("it is no samlp:Response")
    ids_once(root)
    strange = [one.tag for one in root if one.tag not in _RESPONSE_PARTS]
    if strange:
        raise XmlRefusedError(f"a response does not hold {strange[0]}")
    local = [str(one.tag).rpartition("}")[2] for one in root.iter()]
    if local.count("Response") != 1 or local.count("Assertion") + local.count("EncryptedAssertion") != 1:
        raise XmlRefusedError("it does not hold exactly one assertion in exactly one response")
    _check_parts(root)
    _check_encryption(root)
    check_signatures(root)


def check_decrypted(root: Element) -> None:
    """The response with its assertion in clear. Raises XmlRefusedError."""
    check_response(root)
    if root.find(name(SAML, "Assertion")) is None:
        raise XmlRefusedError("what was encrypted is no assertion")
    if any(str(one.tag).startswith((f"{{{XENC}}}", f"{{{XENC11}}}")) for one in root.iter()):
        raise XmlRefusedError("a part of the assertion is encrypted once more, which is not supported")


def check_signatures(root: Element) -> None:
    for signature in root.iter(name(DS, "Signature")):
        _check_signature(root, signature)


def _check_parts(root: Element) -> None:
    for one in root.iter():
        namespace, _, local = str(one.tag)[1:].partition("}")
        if namespace == DS and local not in _SIGNATURE_PARTS:
            raise XmlRefusedError(f"a signature does not hold ds:{local}")
        if namespace in {XENC, XENC11} and local not in _ENCRYPTION_PARTS | {"MGF"}:
            raise XmlRefusedError(f"what is encrypted does not hold xenc:{local}")
        if local in {"RetrievalMethod", "DataReference"} and (not one.get("URI", "").startswith("#") or len(one)):
            raise XmlRefusedError(f"{local} leads out of the document")


def _check_encryption(root: Element) -> None:
    for method in root.iter(name(XENC, "EncryptionMethod")):
        inside = str(method.getparent().tag).rpartition("}")[2]
        allowed = CIPHERS if inside == "EncryptedData" else KEY_TRANSPORTS
        if method.get("Algorithm") not in allowed:
            raise XmlRefusedError(f"the encryption {method.get('Algorithm')} is not accepted")
    for data in root.iter(name(XENC, "EncryptedData"), name(XENC, "EncryptedKey")):
        if data.find(name(XENC, "EncryptionMethod")) is None:
            raise XmlRefusedError("what is encrypted does not say how")


def _check_signature(root: Element, signature: Element) -> None:
    """Where it stands, what it covers, and how."""
    parent = signature.getparent()
    if parent is not root and (parent.getparent() is not root or parent.tag != name(SAML, "Assertion")):
        raise XmlRefusedError("a signature stands where none may stand")
    if len(parent.findall(name(DS, "Signature"))) != 1:
        raise XmlRefusedError("an element is signed twice")
    references = list(signature.iter(name(DS, "Reference")))
    if len(references) != 1 or not parent.get("ID") or references[0].get("URI") != f"#{parent.get('ID')}":
        raise XmlRefusedError("a signature does not cover the element that it stands in")
    for path, allowed in (
        ("ds:SignedInfo/ds:CanonicalizationMethod", {EXCLUSIVE}),
        ("ds:SignedInfo/ds:SignatureMethod", SIGNATURES),
        ("ds:SignedInfo/ds:Reference/ds:DigestMethod", frozenset(DIGESTS)),
    ):
        found = [one.get("Algorithm") for one in signature.xpath(path, namespaces=NAMES)]
        if len(found) != 1 or found[0] not in allowed:
            raise XmlRefusedError(f"{path.rpartition(':')[2]} {', '.join(map(str, found))} is not accepted")
    transforms = [one.get("Algorithm") for one in references[0].xpath("ds:Transforms/ds:Transform", namespaces=NAMES)]
    if transforms != [ENVELOPED, EXCLUSIVE]:
        raise XmlRefusedError("a signature transforms what it covers in a way that is not accepted")
