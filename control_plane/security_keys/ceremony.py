"""The two ceremonies of WebAuthn (Level 2, sections 7.1 and 7.2), by the library that keeps to them. No database.

A key must verify who holds it: what it proves is that it was there, and its PIN or biometry. No attestation is asked
for: which make a key is decides nothing here. The counter is left to the service, which knows what to do about it.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self
from urllib.parse import urlsplit

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import decode_credential_public_key, decoded_public_key_to_cryptography
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    CredentialDeviceType,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from control_plane.security_keys.signed import Signed, decoded, encoded, problem
from control_plane.security_keys.statement import challenge_of
from control_plane.security_keys.tables import SecurityKeyRow

PATIENCE_MS: Final = 120_000
ALGORITHMS: Final = [
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
]
_NO_MODEL: Final = "00000000-0000-0000-0000-000000000000"
_TRANSPORTS: Final = {one.value: one for one in AuthenticatorTransport}
_PORTS: Final = {"https": 443, "http": 80}  # which origins leave out
_UNREADABLE: Final = "it cannot be read"


class CeremonyError(Exception):
    """`args[0]` says what is wrong: for the audit log, not for whoever sent it."""


class Site(msgspec.Struct, frozen=True):
    """What keys are bound to."""

    rp_id: str
    origin: str

    @classmethod
    def of(cls, url: str) -> Self | None:
        """None: browsers use no keys there."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        trusted = parts.scheme == "https" or (parts.scheme == "http" and host == "localhost")
        if not trusted or not host or _is_address(host):
            return None
        port = "" if parts.port in {None, _PORTS[parts.scheme]} else f":{parts.port}"
        return cls(host, f"{parts.scheme}://{host}{port}")


class NewKey(msgspec.Struct, frozen=True):
    credential_id: str
    public_key: bytes
    public_der: bytes
    sign_count: int
    model: str
    synced: bool
    transports: tuple[str, ...]


class Asserted(msgspec.Struct, frozen=True):
    signed: Signed
    sign_count: int


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


# ------------------------------------------------------------------ registering


def registration_options(
    site: Site, person_id: str, person: str, statement: str, present: Sequence[SecurityKeyRow]
) -> dict[str, Any]:
    """For `navigator.credentials.create`, bytes as base64url."""
    options = generate_registration_options(
        rp_id=site.rp_id,
        rp_name="Assentry",
        user_name=person,
        user_id=person_id.encode(),
        challenge=challenge_of(statement),
        timeout=PATIENCE_MS,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.DISCOURAGED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=[_descriptor(row) for row in present],
        supported_pub_key_algs=ALGORITHMS,
    )
    return _json(options_to_json(options))


def registered(site: Site, statement: str, credential: Mapping[str, Any]) -> NewKey:
    """Raises CeremonyError."""
    try:
        found = verify_registration_response(
            credential=dict(credential),
            expected_challenge=challenge_of(statement),
            expected_rp_id=site.rp_id,
            expected_origin=site.origin,
            require_user_verification=True,
            supported_pub_key_algs=ALGORITHMS,
        )
        _same_page(credential)
        return NewKey(
            credential_id=encoded(found.credential_id),
            public_key=found.credential_public_key,
            public_der=_der(found.credential_public_key),
            sign_count=found.sign_count,
            model="" if found.aaguid == _NO_MODEL else found.aaguid,
            synced=found.credential_device_type is CredentialDeviceType.MULTI_DEVICE,
            transports=_transports(credential),
        )
    except CeremonyError:
        raise
    except Exception as error:  # whatever goes wrong on the way is a refusal
        raise CeremonyError(str(error) or _UNREADABLE) from error


def _der(public_key: bytes) -> bytes:
    key = decoded_public_key_to_cryptography(decode_credential_public_key(public_key))
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _transports(credential: Mapping[str, Any]) -> tuple[str, ...]:
    """Hints for the browser, told by the browser: what is not known is left out."""
    told = credential.get("response", {}).get("transports") or ()
    return tuple(sorted({one for one in told if isinstance(one, str) and one in _TRANSPORTS}))


# ------------------------------------------------------------------ signing


def assertion_options(site: Site, statement: str, keys: Sequence[SecurityKeyRow]) -> dict[str, Any]:
    """For `navigator.credentials.get`, bytes as base64url."""
    options = generate_authentication_options(
        rp_id=site.rp_id,
        challenge=challenge_of(statement),
        timeout=PATIENCE_MS,
        allow_credentials=[_descriptor(row) for row in keys],
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return _json(options_to_json(options))


def asserted(site: Site, statement: str, key: SecurityKeyRow, credential: Mapping[str, Any]) -> Asserted:
    """Whether the counter went on is not looked at. Raises CeremonyError."""
    try:
        found = verify_authentication_response(
            credential=dict(credential),
            expected_challenge=challenge_of(statement),
            expected_rp_id=site.rp_id,
            expected_origin=site.origin,
            credential_public_key=key.public_key,
            credential_current_sign_count=0,
            require_user_verification=True,
        )
        _same_page(credential)
        _same_person(key, credential)
        signed = _signed(site, statement, key, credential["response"])
    except CeremonyError:
        raise
    except Exception as error:  # whatever goes wrong on the way is a refusal
        raise CeremonyError(str(error) or _UNREADABLE) from error
    if why := problem(signed):
        raise CeremonyError(why)
    return Asserted(signed, found.new_sign_count)


def _signed(site: Site, statement: str, key: SecurityKeyRow, response: Mapping[str, str]) -> Signed:
    """Written anew, so that what is kept is in one form however it came."""
    return Signed(
        key_id=key.id,
        public_key=encoded(key.public_der),
        rp_id=site.rp_id,
        origin=site.origin,
        statement=statement,
        client_data=encoded(decoded(response["clientDataJSON"])),
        authenticator_data=encoded(decoded(response["authenticatorData"])),
        signature=encoded(decoded(response["signature"])),
    )


def _same_page(credential: Mapping[str, Any]) -> None:
    client = json.loads(decoded(credential["response"]["clientDataJSON"]))
    if client.get("crossOrigin") or client.get("topOrigin"):
        raise CeremonyError("it was made inside another site's page")


def _same_person(key: SecurityKeyRow, credential: Mapping[str, Any]) -> None:
    handle = credential["response"].get("userHandle")
    if handle and decoded(handle) != key.identity_id.encode():
        raise CeremonyError("the key says that it belongs to somebody else")


def _descriptor(row: SecurityKeyRow) -> PublicKeyCredentialDescriptor:
    transports = [_TRANSPORTS[one] for one in row.transports if one in _TRANSPORTS]
    return PublicKeyCredentialDescriptor(id=decoded(row.credential_id), transports=transports or None)


def _json(text: str) -> dict[str, Any]:
    return dict(json.loads(text))
