"""What the CA signs, and what it does not."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from control_plane.agents.authority import SERVER_NAME, CertificateAuthority
from control_plane.identities.ports import CertificateRequestError
from tests.support.sealing import files_of

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=3)


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority.open(tmp_path / "ca", NOW, files_of(tmp_path))


def request(*names: x509.GeneralName, key=None) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "anything")])
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.DER)


def read(pem: bytes) -> tuple[list[object], list[x509.ObjectIdentifier]]:
    certificate = x509.load_pem_x509_certificate(pem)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    return [str(name.value) for name in names], list(usage)


def test_the_key_is_kept_private_and_the_authority_stays_the_same(tmp_path: Path) -> None:
    first = CertificateAuthority.open(tmp_path / "ca", NOW, files_of(tmp_path))
    assert (tmp_path / "ca" / "ca.key").stat().st_mode & 0o777 == 0o600
    assert CertificateAuthority.open(tmp_path / "ca", LATER, files_of(tmp_path)).certificates == first.certificates
    assert "PRIVATE" not in repr(first)
    (tmp_path / "ca" / "ca.key").chmod(0o644)
    with pytest.raises(PermissionError, match="chmod 600"):
        CertificateAuthority.open(tmp_path / "ca", NOW, files_of(tmp_path))


def test_each_kind_has_its_own_usage_and_name(authority: CertificateAuthority) -> None:
    agent, _ = authority.agent(request(), "agt_1", "demo", NOW, LATER)
    listener, _ = authority.listener(request(x509.DNSName("db.example")), "demo", NOW, LATER)
    client = authority.issue(request(), "idn_1", "crd_1", NOW, LATER)
    _, server = authority.server(NOW, timedelta(days=1))
    assert read(agent) == (["urn:assentry:agent:agt_1"], [ExtendedKeyUsageOID.CLIENT_AUTH])
    assert read(listener) == (["db.example"], [ExtendedKeyUsageOID.SERVER_AUTH])
    assert read(client.chain_pem.encode()) == (
        ["urn:assentry:identity:idn_1:credential:crd_1"],
        [ExtendedKeyUsageOID.CLIENT_AUTH],
    )
    assert read(server) == ([SERVER_NAME], [ExtendedKeyUsageOID.SERVER_AUTH])


def test_what_a_request_says_of_itself_is_not_believed(authority: CertificateAuthority) -> None:
    """Only a listener's names are the requester's choice."""
    wish = request(x509.UniformResourceIdentifier("urn:assentry:agent:another"))
    agent, _ = authority.agent(wish, "agt_1", "demo", NOW, LATER)
    assert read(agent)[0] == ["urn:assentry:agent:agt_1"]
    assert x509.load_pem_x509_certificate(agent).subject.rfc4514_string() == "CN=demo"


@pytest.mark.parametrize(
    "name",
    [
        x509.DNSName(SERVER_NAME),
        x509.DNSName("x.assentry.internal"),
        x509.DNSName("*.example.com"),
        x509.DNSName("UPPER.example"),
        x509.DNSName("a..b"),
        x509.UniformResourceIdentifier("urn:assentry:agent:agt_1"),
        x509.RFC822Name("a@example.com"),
    ],
)
def test_a_listener_gets_no_name_that_is_not_its_to_have(
    authority: CertificateAuthority, name: x509.GeneralName
) -> None:
    with pytest.raises(CertificateRequestError):
        authority.listener(request(name), "demo", NOW, LATER)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"nonsense",
        b"-----BEGIN CERTIFICATE REQUEST-----\nnonsense\n-----END CERTIFICATE REQUEST-----\n",
        request()[:-1],
    ],
)
def test_what_is_no_request_is_refused(authority: CertificateAuthority, sent: bytes) -> None:
    with pytest.raises(CertificateRequestError):
        authority.agent(sent, "agt_1", "demo", NOW, LATER)


def test_a_request_that_its_key_did_not_sign_is_refused(authority: CertificateAuthority) -> None:
    forged = bytearray(request())
    forged[-6] ^= 1
    with pytest.raises(CertificateRequestError):
        authority.agent(bytes(forged), "agt_1", "demo", NOW, LATER)


@pytest.mark.parametrize("kind", ["short-rsa", "dsa"])
def test_a_weak_key_is_refused(authority: CertificateAuthority, kind: str) -> None:
    key = rsa.generate_private_key(65537, 1024) if kind == "short-rsa" else dsa.generate_private_key(1024)
    with pytest.raises(CertificateRequestError, match="use an elliptic-curve key"):
        authority.agent(request(key=key), "agt_1", "demo", NOW, LATER)


def test_nothing_outlives_the_authority(authority: CertificateAuthority) -> None:
    agent, _ = authority.agent(request(), "agt_1", "demo", NOW, NOW + timedelta(days=36_500))
    ca = x509.load_pem_x509_certificate(authority.certificates)
    assert x509.load_pem_x509_certificate(agent).not_valid_after_utc == ca.not_valid_after_utc


def test_openssl_accepts_the_chain(authority: CertificateAuthority, tmp_path: Path) -> None:
    key, certificate = authority.server(NOW, timedelta(days=1))
    (tmp_path / "server.pem").write_bytes(key + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    context.load_verify_locations(cadata=authority.certificates.decode())
    assert len(context.get_ca_certs()) == 1
