"""How an agent gets its identity: once with a join token, then by renewal before the certificates end.

Keys are made here and stay here; the control plane sees certificate requests (PKCS#10). Before enrolment the server
is trusted through the CA file that the operator gave, and through nothing else; from then on CA and signing keys
are those of the answer. Refuses an answer that does not belong to the keys or names that were asked for.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import grpc
import msgspec
import structlog
from assentry.v1 import link_pb2_grpc as stubs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from data_plane.link import channel, wire
from data_plane.link.identity import Identity
from data_plane.link.messages import Enrolled, Renewed
from data_plane.runtime.secret import Secret

log = structlog.get_logger(__name__)

_TIMEOUT_SECONDS = 30.0


class EnrolmentError(Exception):
    """The agent has no identity; `args[0]` says what to do."""


async def enrol(
    *, address: str, ca: bytes, token: Secret, agent_name: str, listener_names: Sequence[str], version: str
) -> Identity:
    """Trades the join token. Raises EnrolmentError; the token may be used up then."""
    client_key, listener_key = _new_key(), _new_key()
    request = wire.enrol_request(
        token.reveal(), agent_name, _request(client_key, agent_name, ()),
        _request(listener_key, agent_name, listener_names), version,
    )  # fmt: skip
    async with channel.enrolment(address, ca) as connection:
        try:
            answer = await stubs.EnrolmentStub(connection).Enrol(request, timeout=_TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise EnrolmentError(_explained(error, address)) from error
    enrolled = wire.enrolled(answer)
    _must_be_complete(enrolled)
    return Identity(
        agent_name=agent_name,
        agent_id=enrolled.agent_id,
        deployment=enrolled.deployment,
        client_key=_pem(client_key),
        client_certificate=_belongs(enrolled.client_certificate, client_key),
        listener_key=_pem(listener_key),
        listener_certificate=_belongs(enrolled.listener_certificate, listener_key),
        ca_certificates=enrolled.ca_certificates,
        signing_keys=enrolled.signing_keys,
    )


async def renew(identity: Identity, *, address: str, listener_names: Sequence[str]) -> Identity:
    """New keys and certificates; the old ones stay valid to their end. Raises EnrolmentError."""
    client_key, listener_key = _new_key(), _new_key()
    request = wire.renew_request(
        _request(client_key, identity.agent_name, ()), _request(listener_key, identity.agent_name, listener_names)
    )
    async with channel.link(address, identity) as connection:
        try:
            answer = await stubs.LinkStub(connection).Renew(request, timeout=_TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise EnrolmentError(f"the certificates were not renewed: {error.details()}") from error
    renewed: Renewed = wire.renewed(answer)
    return msgspec.structs.replace(
        identity,
        client_key=_pem(client_key),
        client_certificate=_belongs(renewed.client_certificate, client_key),
        listener_key=_pem(listener_key),
        listener_certificate=_belongs(renewed.listener_certificate, listener_key),
        ca_certificates=renewed.ca_certificates,
    )


def _explained(error: grpc.aio.AioRpcError, address: str) -> str:
    if error.code() is grpc.StatusCode.UNAUTHENTICATED:
        return "the join token is not valid: used, expired or unknown; make a new one in the control plane"
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return f"no control plane at {address} that control_plane_ca vouches for: {error.details()}"
    return f"the control plane refused to enrol this agent: {error.details()}"


def _must_be_complete(enrolled: Enrolled) -> None:
    if not enrolled.signing_keys or not enrolled.deployment or not enrolled.agent_id:
        raise EnrolmentError("the control plane's answer is incomplete; are both of the same version?")


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _request(key: ec.EllipticCurvePrivateKey, agent_name: str, names: Sequence[str]) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, agent_name)])
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
        )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _belongs(certificate: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The certificate, when it is for our key."""
    try:
        theirs = x509.load_pem_x509_certificate(certificate).public_key()
    except ValueError as error:
        raise EnrolmentError("the control plane answered with something that is no certificate") from error
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if theirs.public_bytes(*form) != key.public_key().public_bytes(*form):
        raise EnrolmentError("the control plane answered with a certificate for another key")
    return certificate
