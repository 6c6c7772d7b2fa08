"""Who stands behind a credential. Pure: token or certificate become claims, claims become a requester, or a reason.

A credential is bound to targets and, if it says so, to the networks that its client may be in: the address is the one
that the agent sees. The reasons are for the audit log; a client is told only that its credential was not accepted.
"""

from __future__ import annotations

import base64
import ipaddress
import re
import warnings
from collections.abc import Mapping, Sequence

import msgspec
from cryptography import x509
from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import OKPKey

from data_plane.gate.interface import Requester
from data_plane.identifiers import CredentialId, IdentityId, TargetName
from data_plane.policy.snapshot import Snapshot

_CERTIFICATE_NAME = re.compile(r"urn:assentry:identity:([A-Za-z0-9_-]+):credential:([A-Za-z0-9_-]+)")
_TARGET = "urn:assentry:target:"
_NETWORK = "urn:assentry:network:"
_ALGORITHMS = ("Ed25519", "EdDSA")
# A token that is bound to networks is of a type of its own: an agent that knows nothing of them refuses it.
_TYPES = {"assentry": False, "assentry-bound": True}
_LONGEST_TOKEN = 8192
CLOCK_SKEW_SECONDS = 10.0


class Claims(msgspec.Struct, frozen=True):
    identity_id: IdentityId
    credential_id: CredentialId
    expires_at: float  # Unix seconds
    targets: tuple[str, ...]  # or ("*",)
    networks: tuple[str, ...] = ()  # where the client may be, as CIDR; empty: anywhere


class Unaccepted(msgspec.Struct, frozen=True):
    reason: str
    identity_id: str = ""  # only when the credential is genuine


class _Header(msgspec.Struct, frozen=True):
    alg: str
    kid: str
    typ: str


class _Payload(msgspec.Struct, frozen=True):
    iss: str
    sub: str
    jti: str
    aud: tuple[str, ...]
    iat: int | float
    exp: int | float
    net: tuple[str, ...] = ()


def read_token(token: str, *, keys: Mapping[str, bytes], deployment: str, now: float) -> Claims | Unaccepted:
    """A compact JWT, EdDSA, signed with a pinned key. Nothing in it is believed before the signature."""
    if len(token) > _LONGEST_TOKEN or token.count(".") != 2:
        return Unaccepted("not a token")
    try:
        header = msgspec.json.decode(_unpadded(token.partition(".")[0]), type=_Header)
        key = keys.get(header.kid)
        if header.alg not in _ALGORITHMS or header.typ not in _TYPES or key is None:
            return Unaccepted("a token of another kind, or signed with a key that is not pinned")
        payload = msgspec.json.decode(_verified(token, key, header.alg), type=_Payload)
    except (JoseError, msgspec.DecodeError, ValueError, TypeError) as error:
        return Unaccepted(f"the token cannot be verified ({type(error).__name__})")
    claims = Claims(IdentityId(payload.sub), CredentialId(payload.jti), float(payload.exp), payload.aud, payload.net)
    if bool(payload.net) != _TYPES[header.typ]:
        return Unaccepted("the token's type and its networks do not belong together")
    if payload.iss != deployment:
        return Unaccepted("a token of another deployment")
    return _in_time(claims, now, begins_at=payload.iat)


def read_certificate(der: bytes, *, now: float) -> Claims | Unaccepted:
    """A client certificate whose chain the handshake has verified. An agent's own certificate names no identity."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (ValueError, x509.ExtensionNotFound):
        return Unaccepted("the certificate names no identity")
    found = [match for match in map(_CERTIFICATE_NAME.fullmatch, uris) if match is not None]
    targets, networks = _named(uris, _TARGET), _named(uris, _NETWORK)
    if len(found) != 1 or len(uris) != 1 + len(targets) + len(networks):
        return Unaccepted("the certificate names no identity, more than one, or what this agent does not know")
    begins_at, expires_at = (
        at.timestamp() for at in (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    )
    who = IdentityId(found[0][1]), CredentialId(found[0][2])
    return _in_time(Claims(*who, expires_at, targets or ("*",), networks), now, begins_at)


def requester(
    claims: Claims, snapshot: Snapshot, target: TargetName, client_address: str = ""
) -> Requester | Unaccepted:
    """The identity as the snapshot knows it now. `client_address`: host and port, as the connection has them."""
    if "*" not in claims.targets and target not in claims.targets:
        return Unaccepted("the credential is for other targets", claims.identity_id)
    if claims.networks and not _within(client_address, claims.networks):
        return Unaccepted("the credential is for other networks", claims.identity_id)
    wrong = objection(claims.identity_id, claims.credential_id, snapshot)
    if wrong:
        return Unaccepted(wrong, claims.identity_id)
    identity = snapshot.identities[claims.identity_id]
    return Requester(
        id=identity.id, name=identity.name, kind=identity.kind, groups=identity.groups, owner_id=identity.owner_id
    )


def objection(identity_id: IdentityId, credential_id: CredentialId, snapshot: Snapshot) -> str:
    """Why an identity and its credential do not stand in this snapshot; empty when they do."""
    identity = snapshot.identities.get(identity_id)
    if identity is None:
        return "the identity is unknown or was removed"
    if identity.disabled:
        return "the identity is disabled"
    if credential_id in snapshot.revoked:
        return "the credential is revoked"
    owner = snapshot.identities.get(identity.owner_id) if identity.owner_id else None
    if owner is not None and owner.disabled:
        return "the owner of the identity is disabled"
    return ""


def _named(uris: Sequence[str], prefix: str) -> tuple[str, ...]:
    return tuple(uri.removeprefix(prefix) for uri in uris if uri.startswith(prefix) and uri != prefix)


def _within(client_address: str, networks: Sequence[str]) -> bool:
    """False as well for what is no address and no network, such as a Unix socket's."""
    try:
        address = ipaddress.ip_address(client_address.rpartition(":")[0].partition("%")[0])
        found = [ipaddress.ip_network(network) for network in networks]
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped  # an IPv4 client of a socket for both
    return any(address in network for network in found)


def _in_time(claims: Claims, now: float, begins_at: float) -> Claims | Unaccepted:
    if begins_at - CLOCK_SKEW_SECONDS > now:
        return Unaccepted("the credential is not valid yet: clocks disagree", claims.identity_id)
    if claims.expires_at <= now:
        return Unaccepted("the credential has expired", claims.identity_id)
    return claims


def _unpadded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _verified(token: str, key: bytes, algorithm: str) -> bytes:
    """The payload. Raises JoseError. The pinned key is Ed25519, so the old name can mean nothing else here."""
    x = base64.urlsafe_b64encode(key).rstrip(b"=").decode()
    public = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": x})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # of the name EdDSA, which RFC 9864 calls Ed25519
        return jws.deserialize_compact(token, public, algorithms=[algorithm]).payload
