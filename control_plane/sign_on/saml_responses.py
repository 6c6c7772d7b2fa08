"""A provider's answer to one AuthnRequest: verified, and read from nothing but the bytes that are signed.

Three readers must agree. First the shape (saml_shape), before anything is decrypted. Then python3-saml, strict: schema,
decryption, signature, and most of the profile. Then this module, which hashes the assertion once more, reads only what
has the signed digest, and checks the whole of the Web Browser SSO profile by the control plane's own clock, exactly
where python3-saml compares beginnings or lets something be missing. SAML 2.0 Profiles §4.1.4, Core §2.5 and §5.4.
It does not remember assertions: `saml_flow` refuses one that comes again.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import xmlsec
from lxml import etree  # type: ignore[import-untyped]
from onelogin.saml2.errors import (  # type: ignore[import-untyped]
    OneLogin_Saml2_Error,
    OneLogin_Saml2_ValidationError,
)
from onelogin.saml2.response import OneLogin_Saml2_Response  # type: ignore[import-untyped]
from onelogin.saml2.settings import OneLogin_Saml2_Settings  # type: ignore[import-untyped]

from control_plane.kit.secret import Secret
from control_plane.sign_on.saml_assertion import Assertion, Expected, read
from control_plane.sign_on.saml_metadata import ProviderMetadata, digest_is, inclusive_prefixes, instant
from control_plane.sign_on.saml_shape import check_decrypted, check_response
from control_plane.sign_on.saml_xml import DS, NAMES, SAML, SAMLP, Element, XmlRefusedError, covered, name, parse

LARGEST: Final = 256 * 1024
SKEW: Final = timedelta(seconds=60)
_POST: Final = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
_SUCCESS: Final = "urn:oasis:names:tc:SAML:2.0:status:Success"


class SamlRefusedError(Exception):
    """`args[0]` is the exact cause, for the audit log only."""


class WrongSignatureError(SamlRefusedError):
    """Not by a key that is known. The provider may have a new one."""


def verified(
    content: bytes, provider: ProviderMetadata, expected: Expected, private_keys: Sequence[Secret], now: datetime
) -> Assertion:
    """`private_keys`: ours, PEM, the newest first. Raises SamlRefusedError."""
    try:
        root = parse(content, LARGEST)
        _check_status(root)
        check_response(root)
        _check_message(root, provider, expected, now)
        opened, document = _opened(root, provider, expected, private_keys)
        assertion = document.find(name(SAML, "Assertion"))
        signed = _signed_bytes(assertion)
        _check_strictly(opened, expected)
        return read(parse(signed, LARGEST), provider.entity, expected, now, SKEW)
    except SamlRefusedError:
        raise
    except XmlRefusedError as error:
        raise SamlRefusedError(str(error)) from error
    except Exception as error:
        raise SamlRefusedError(f"it cannot be read: {type(error).__name__}: {str(error)[:300]}") from error


def _check_status(root: Element) -> None:
    """A provider that refuses says so without an assertion."""
    codes = [str(one) for one in root.xpath("samlp:Status//samlp:StatusCode/@Value", namespaces=NAMES)]
    if root.tag == name(SAMLP, "Response") and codes[:1] != [_SUCCESS]:
        raise SamlRefusedError(f"the provider refused: {', '.join(codes)[:300] or 'no status'}")


def _check_message(root: Element, provider: ProviderMetadata, expected: Expected, now: datetime) -> None:
    """The envelope, which need not be signed: what counts is said again inside the assertion."""
    if root.get("InResponseTo") != expected.request_id:
        raise SamlRefusedError("the response answers another request, or none")
    if root.get("Destination") != expected.consumer:
        raise SamlRefusedError(f"the response is meant for {str(root.get('Destination'))[:200]!r}")
    if not now - expected.patience - SKEW <= instant(root.get("IssueInstant", "")) <= now + SKEW:
        raise SamlRefusedError("the response was not made just now")
    issuers = [one.text for one in root.findall(name(SAML, "Issuer"))]
    if issuers not in ([], [provider.entity]):
        raise SamlRefusedError("the response is issued by somebody else")
    if expected.encrypted and root.find(name(SAML, "Assertion")) is not None:
        raise SamlRefusedError("the assertion is not encrypted, and only encrypted ones are taken")


def _opened(
    root: Element, provider: ProviderMetadata, expected: Expected, private_keys: Sequence[Secret]
) -> tuple[Any, Element]:
    """python3-saml's reading of it, and ours of the same document with the assertion in clear."""
    encoded = base64.b64encode(etree.tostring(root, encoding="utf-8", xml_declaration=False))
    encrypted = root.find(name(SAML, "Assertion")) is None
    for key in private_keys if encrypted else private_keys[:1]:
        settings = _settings(provider, expected, key)
        try:
            opened = OneLogin_Saml2_Response(settings, encoded)
        except (xmlsec.Error, OneLogin_Saml2_Error, OneLogin_Saml2_ValidationError, etree.LxmlError, ValueError):
            continue
        document = parse(etree.tostring(opened.get_xml_document(), encoding="utf-8"), LARGEST)
        check_decrypted(document)
        return opened, document
    raise SamlRefusedError("the assertion cannot be decrypted with a key of ours")


def _signed_bytes(assertion: Element) -> bytes:
    signature = assertion.find(name(DS, "Signature"))
    if signature is None:
        raise SamlRefusedError("the assertion itself is not signed")
    signed = covered(assertion, inclusive_prefixes(signature))
    if not digest_is(signature, signed):
        raise WrongSignatureError("the assertion is not what was signed")
    return signed


def _check_strictly(opened: Any, expected: Expected) -> None:
    parts = urlsplit(expected.consumer)
    request = {
        "https": "on" if parts.scheme == "https" else "off",
        "http_host": parts.netloc,
        "script_name": parts.path,
        "request_uri": parts.path,
    }
    try:
        opened.is_valid(request, expected.request_id, raise_exceptions=True)
    except OneLogin_Saml2_ValidationError as error:
        kind = (
            WrongSignatureError if error.code == OneLogin_Saml2_ValidationError.INVALID_SIGNATURE else SamlRefusedError
        )
        raise kind(str(error)[:500]) from error
    except Exception as error:
        raise SamlRefusedError(f"{type(error).__name__}: {str(error)[:500]}") from error


def _settings(provider: ProviderMetadata, expected: Expected, private_key: Secret) -> Any:
    told: Mapping[str, Any] = {
        "strict": True,
        "debug": False,
        "sp": {
            "entityId": expected.entity,
            "assertionConsumerService": {"url": expected.consumer, "binding": _POST},
            "privateKey": private_key.reveal(),
        },
        "idp": {
            "entityId": provider.entity,
            "singleSignOnService": {"url": provider.ask_at},
            "x509certMulti": {"signing": list(provider.keys)},
        },
        "security": {
            "wantAssertionsSigned": True,
            "wantAttributeStatement": False,
            "rejectDeprecatedAlgorithm": True,
            "requestedAuthnContext": False,
            "allowRepeatAttributeName": True,
            "allowSingleLabelDomains": True,
        },
    }
    return OneLogin_Saml2_Settings(told)
