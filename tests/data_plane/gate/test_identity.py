"""Tokens and certificates: who stands behind them, and why not (DESIGN invariants 5, 7 and 12)."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from data_plane.gate.identity import Claims, Unaccepted, read_certificate, read_token, requester
from data_plane.identifiers import TargetName
from tests.data_plane.gate.worlds import IDENTITIES, KEY, KEYS, NOW, World

CLAIMS = {"iss": "dep", "sub": "idn_robot", "jti": "crd_1", "aud": ["orders"], "iat": NOW, "exp": NOW + 60}
HEADER = {"alg": "EdDSA", "kid": "k1", "typ": "assentry"}
BOUND = {"typ": "assentry-bound"}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(key: Ed25519PrivateKey = KEY, header: dict | None = None, **changed: Any) -> str:
    body = {name: value for name, value in {**CLAIMS, **changed}.items() if value is not None}
    text = f"{b64(json.dumps({**HEADER, **(header or {})}).encode())}.{b64(json.dumps(body).encode())}"
    return f"{text}.{b64(key.sign(text.encode()))}"


def read(text: str, now: float = NOW) -> Claims | Unaccepted:
    return read_token(text, keys=KEYS, deployment="dep", now=now)


@pytest.mark.parametrize("algorithm", ["EdDSA", "Ed25519"])
def test_a_good_token_gives_its_claims(algorithm: str) -> None:
    assert read(token(header={"alg": algorithm})) == Claims("idn_robot", "crd_1", NOW + 60, ("orders",))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (token(Ed25519PrivateKey.generate()), "cannot be verified"),
        (token(header={"kid": "k2"}), "not pinned"),
        (token(header={"alg": "none"}), "another kind"),
        (token(header={"alg": "HS256"}), "another kind"),
        (token(header={"typ": "JWT"}), "another kind"),
        (token(header={"crit": ["x"], "x": 1}), "cannot be verified"),
        (token(iss="other"), "another deployment"),
        (token(iat=NOW + 60), "clocks disagree"),
        (token(exp=NOW), "expired"),
        (token(exp=None), "cannot be verified"),
        (token(jti=None), "cannot be verified"),
        (token(aud="orders"), "cannot be verified"),
        (token(net=["10.0.0.0/8"]), "do not belong together"),
        (token(header=BOUND), "do not belong together"),
        (token(header=BOUND, net=[]), "do not belong together"),
        (token(header=BOUND, net="10.0.0.0/8"), "cannot be verified"),
        ("", "not a token"),
        ("a.b.c", "cannot be verified"),
        ("a" * 9000 + ".b.c", "not a token"),
    ],
)
def test_anything_else_is_no_token(text: str, reason: str) -> None:
    found = read(text)
    assert isinstance(found, Unaccepted)
    assert reason in found.reason


@given(st.data())
def test_a_token_with_any_changed_character_is_refused(data: st.DataObject) -> None:
    good = token()
    at = data.draw(st.integers(0, len(good) - 2))  # the last character of base64 has spare bits
    other = data.draw(st.sampled_from("ABCxyz019-_.!"))
    changed = good[:at] + other + good[at + 1 :]
    assert isinstance(read(changed), Claims) == (changed == good)


def certificate(*uris: str, starts: float = NOW - 60, ends: float = NOW + 60) -> bytes:
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "robot")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.fromtimestamp(starts, UTC))
        .not_valid_after(datetime.fromtimestamp(ends, UTC))
    )
    if uris:
        alternative = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        builder = builder.add_extension(alternative, critical=False)
    return builder.sign(key, None).public_bytes(Encoding.DER)


URN = "urn:assentry:identity:idn_robot:credential:crd_1"


def test_a_certificate_names_identity_and_credential() -> None:
    assert read_certificate(certificate(URN), now=NOW) == Claims("idn_robot", "crd_1", NOW + 60, ("*",))


@pytest.mark.parametrize(
    "der",
    [
        b"",
        certificate(),
        certificate("urn:assentry:agent:edge"),
        certificate(URN + "x y"),
        certificate(URN, "urn:assentry:identity:idn_ada:credential:crd_2"),
        certificate(URN, starts=NOW + 30),
        certificate(URN, ends=NOW),
        certificate(URN, "urn:assentry:target:"),
        certificate(URN, "urn:assentry:hour:12"),
        certificate(URN, "https://example.org"),
        certificate("urn:assentry:target:orders"),
    ],
)
def test_any_other_certificate_names_nobody(der: bytes) -> None:
    assert isinstance(read_certificate(der, now=NOW), Unaccepted)


def test_a_token_says_which_networks_it_is_for() -> None:
    found = read(token(header=BOUND, net=["10.0.0.0/8"]))
    assert found == Claims("idn_robot", "crd_1", NOW + 60, ("orders",), ("10.0.0.0/8",))


def test_a_certificate_says_which_targets_and_networks_it_is_for() -> None:
    der = certificate("urn:assentry:target:orders", "urn:assentry:network:2001:db8::/32", URN)
    expected = Claims("idn_robot", "crd_1", NOW + 60, ("orders",), ("2001:db8::/32",))
    assert read_certificate(der, now=NOW) == expected


@pytest.mark.parametrize(
    ("networks", "address", "let_in"),
    [
        ((), "local", True),
        (("10.0.0.0/8",), "10.200.0.1:40000", True),
        (("10.0.0.0/8",), "11.0.0.1:40000", False),
        (("192.0.2.0/24", "10.0.0.7/32"), "10.0.0.7:40000", True),
        (("10.0.0.0/8",), "::ffff:10.0.0.1:40000", True),  # an IPv4 client of a socket for both
        (("2001:db8::/32",), "2001:db8:1::9:40000", True),
        (("2001:db8::/32",), "2001:db9::1:40000", False),
        (("fe80::/10",), "fe80::1%eth0:40000", True),
        (("0.0.0.0/0",), "::1:40000", False),
        (("0.0.0.0/0", "::/0"), "local", False),  # a Unix socket has no address
        (("10.0.0.0/8",), "10.0.0.1", False),  # not how a connection tells its address
        (("10.0.0.0/8",), "", False),
        (("10.0.0.1/8",), "10.0.0.1:40000", False),  # no network
        (("everywhere",), "10.0.0.1:40000", False),
    ],
)
def test_a_bound_credential_is_good_in_its_networks_only(networks: tuple[str, ...], address: str, let_in: bool) -> None:
    snapshot = World().state.current
    assert snapshot is not None
    claims = Claims("idn_robot", "crd_1", NOW + 60, ("*",), networks)
    found = requester(claims, snapshot, TargetName("orders"), address)
    assert (not isinstance(found, Unaccepted)) == let_in
    if not let_in:
        assert found == Unaccepted("the credential is for other networks", "idn_robot")


def test_the_requester_is_who_the_snapshot_says_now() -> None:
    snapshot = World().state.current
    assert snapshot is not None
    claims = Claims("idn_robot", "crd_1", NOW + 60, ("orders",))
    found = requester(claims, snapshot, TargetName("orders"))
    assert not isinstance(found, Unaccepted)
    assert (found.name, found.kind, found.groups, found.owner_id) == (
        "robot",
        "machine",
        ("ci", "ai-agents"),
        "idn_owner",
    )
    for wrong in (
        msgspec.structs.replace(claims, targets=("payroll",)),
        msgspec.structs.replace(claims, targets=()),
        msgspec.structs.replace(claims, identity_id="idn_nobody"),
    ):
        assert isinstance(requester(wrong, snapshot, TargetName("orders")), Unaccepted)


@pytest.mark.parametrize(
    "changed",
    [
        {"revoked_credentials": ("crd_1",)},
        {"identities": (msgspec.structs.replace(IDENTITIES[0], disabled=True),)},
        {
            "identities": (
                msgspec.structs.replace(IDENTITIES[0], owner_id="idn_ada"),
                msgspec.structs.replace(IDENTITIES[1], disabled=True),
            )
        },
    ],
)
def test_whoever_is_revoked_or_disabled_is_not_let_in(changed: dict) -> None:
    world = World()
    world.apply(**changed)
    snapshot = world.state.current
    assert snapshot is not None
    claims = Claims("idn_robot", "crd_1", NOW + 60, ("*",))
    assert isinstance(requester(claims, snapshot, TargetName("orders")), Unaccepted)
