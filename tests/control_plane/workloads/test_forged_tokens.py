"""Every way in which a token is not what it should be: refused outside in one sentence, told exactly in the audit log."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import RSAKey

from tests.control_plane.workloads.platforms import (
    AUDIENCE,
    Platform,
    applied,
    causes,
    ec,
    ed,
    encoded,
    exchanged,
    key_set,
    mac,
    rsa,
    signed,
    trust,
)

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
SUBJECT = "job-1"
Claims = dict[str, Any]
Forge = Callable[[Claims], str]


@pytest.fixture
def platform(clock: Any) -> Platform:
    return Platform("https://issuer.example", clock.now)


@pytest.fixture
async def trusting(ground: httpx.AsyncClient, platform: Platform) -> httpx.AsyncClient:
    keys = key_set(rsa(), ec(), ed())
    await applied(ground, trust("jobs", platform, platform="oidc", jwks=keys, subject=SUBJECT))
    return ground


def public_pem(key: RSAKey) -> bytes:
    return key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def changed(**changes: Any) -> Forge:
    return lambda claims: signed({**claims, **changes}, rsa())


def without(name: str) -> Forge:
    return lambda claims: signed({key: value for key, value in claims.items() if key != name}, rsa())


def header(**told: Any) -> Forge:
    return lambda claims: signed(claims, rsa(), **told)


def later(name: str, seconds: int) -> Forge:
    return lambda claims: signed({**claims, name: claims["iat"] + seconds}, rsa())


def with_another_payload(claims: Claims) -> str:
    head, _, signature = signed(claims, rsa()).split(".")
    return f"{head}.{encoded({**claims, 'sub': 'somebody-else'})}.{signature}"


def unsigned(claims: Claims, name: str = "none") -> str:
    return f"{encoded({'alg': name, 'typ': 'JWT'})}.{encoded(claims)}."


FORGED: dict[str, tuple[Forge, str]] = {
    "alg none": (unsigned, "only asymmetric"),
    "alg None in another spelling": (lambda claims: unsigned(claims, "nOnE"), "only asymmetric"),
    "HS256 with the public key as the secret": (
        lambda claims: mac(claims, public_pem(rsa()), kid="rsa-1"),
        "only asymmetric",
    ),
    "HS256 under the name RS256": (lambda claims: mac(claims, public_pem(rsa()), alg="RS256", kid="rsa-1"), "wrong"),
    "another key under a known id": (lambda claims: signed(claims, rsa(2), kid="rsa-1"), "its signature is wrong"),
    "another key without an id": (lambda claims: signed(claims, rsa(2), kid=None), "its signature is wrong"),
    "an unknown key id": (header(kid="../../keys/1"), "announces no key"),
    "a key id that is no text": (header(kid=["rsa-1"]), "not well-formed"),
    "an algorithm of another kind of key": (header(alg="ES256"), "announces no key 'rsa-1' for ES256"),
    "a key of its own": (header(jwk=ec(2).as_dict(private=False)), "brings 'jwk'"),
    "the address of its own keys": (header(jku="https://mallory.example/keys"), "brings 'jku'"),
    "the address of its own certificate": (header(x5u="https://mallory.example/chain"), "brings 'x5u'"),
    "a certificate of its own": (header(x5c=["MIIB"]), "brings 'x5c'"),
    "something critical": (header(crit=["exp"], exp=1), "brings 'crit'"),
    "a payload that is not encoded": (header(b64=False), "no signed token"),
    "a token of another type": (header(typ="logout+jwt"), "of type 'logout+jwt'"),
    "our own token": (header(typ="assentry"), "of type 'assentry'"),
    "other claims than were signed": (with_another_payload, "its signature is wrong"),
    "a signature that is cut": (lambda claims: signed(claims, rsa())[:-4], "its signature is wrong"),
    "no signature": (lambda claims: signed(claims, rsa()).rpartition(".")[0] + ".", "its signature is wrong"),
    "expired": (later("exp", -61), "has expired"),
    "not valid yet": (later("nbf", 120), "not valid yet"),
    "issued in the future": (later("iat", 120), "issued in the future"),
    "no end": (without("exp"), "says not when it ends"),
    "an end that is a text": (changed(exp="2126-01-01"), "says not when it ends"),
    "an end beyond all time": (changed(exp=1e300), "says not when it ends"),
    "an end that is true": (changed(exp=True), "says not when it ends"),
    "a beginning that is a text": (changed(nbf="now"), "its nbf is no time"),
    "no audience": (without("aud"), "says not whom it is for"),
    "another audience": (changed(aud="https://other.example"), "it is for 'https://other.example'"),
    "a longer audience": (changed(aud=f"{AUDIENCE}.mallory.example"), "it is for"),
    "an audience beside ours": (changed(aud=[AUDIENCE, "https://other.example"]), "for others too"),
    "an audience that is no text": (changed(aud=[1]), "says not whom it is for"),
    "another issuer": (changed(iss="https://mallory.example"), "no trust"),
    "an issuer with a slash more": (changed(iss="https://issuer.example/"), "no trust"),
    "no issuer": (without("iss"), "no trust"),
    "another subject": (changed(sub="job-2"), "the subject is 'job-2'"),
    "a longer subject": (changed(sub=f"{SUBJECT}\n"), "the subject is"),
    "no subject": (without("sub"), "says not whose it is"),
    "a subject that is no text": (changed(sub=["job-1"]), "says not whose it is"),
    "somebody behind it": (changed(act={"sub": "agent"}), "for whom it acts"),
    "an act that is no object": (changed(act="agent"), "for whom it acts"),
    "no id": (without("jti"), "no id (jti)"),
    "an id that is no text": (changed(jti=7), "no id (jti)"),
    "an id that is endless": (changed(jti="x" * 600), "no id (jti)"),
    "oversized": (changed(more="x" * 20_000), "more than 16384 characters"),
    "not signed at all": (json.dumps, "no signed token"),
    "encrypted": (
        lambda claims: ".".join([encoded({"alg": "RSA-OAEP", "enc": "A256GCM"}), "a", "b", "c", "d"]),
        "no signed",
    ),
    "claims that are a list": (lambda claims: signed([1], rsa()), "no object"),  # type: ignore[arg-type]
    "claims that are too deep": (lambda claims: f"{encoded({'alg': 'RS256'})}.{encoded(b'[' * 9000)}.x", "no signed"),
    "other letters": (lambda claims: "\u212a.\u212a.\u212a", "no signed token"),
}


async def test_a_token_that_is_not_as_it_should_be_is_refused_and_its_cause_audited(
    trusting: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform
):
    one_sentence = {
        "error": "invalid_grant",
        "error_description": "the token is not accepted here; the audit log says why",
    }
    wrong = {}
    for name, (forge, cause) in FORGED.items():
        answer = await exchanged(anonymous, forge(platform.claims(SUBJECT)), "orders")
        told = (await causes(trusting))[-1]
        if (answer.status_code, answer.json()) != (400, one_sentence) or cause not in told:
            wrong[name] = (answer.status_code, answer.text, told)
    assert wrong == {}
    assert (await trusting.get("/v1/workload-sign-ins")).json()["items"] == []


async def test_every_kind_of_key_and_type_that_may_be_is_taken(
    trusting: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform
):
    for key in (rsa(), ec(), ed()):
        for typ in ("JWT", "jwt", "at+jwt", None):
            token = signed(platform.claims(SUBJECT), key, typ=typ)
            assert (await exchanged(anonymous, token, "orders")).status_code == 200, (key.kid, typ)


async def test_clocks_may_differ_by_a_minute(
    trusting: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform
):
    for name, seconds in {"exp": -59, "nbf": 59, "iat": 59}.items():
        token = later(name, seconds)(platform.claims(SUBJECT))
        assert (await exchanged(anonymous, token, "orders")).status_code == 200, name
        assert (await exchanged(anonymous, token, "orders")).status_code == 400, name


async def test_what_a_forger_writes_cannot_break_the_audit_log(
    trusting: httpx.AsyncClient, anonymous: httpx.AsyncClient, platform: Platform
):
    for subject in ("\0", "\ud800", "\u202egnp", "\x1b[2J", "x" * 5000):
        assert (await exchanged(anonymous, platform.token(subject), "orders")).status_code == 400
    assert all(text.isprintable() and len(text) <= 1000 for text in await causes(trusting))
