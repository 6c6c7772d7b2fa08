"""Tokens, certificates and service-account keys: for oneself, short, never more than what they were made with."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from control_plane.assembly import ControlPlane
from tests.control_plane.conftest import ManualClock


def verified(token: str, control_plane: ControlPlane) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims; raises when the signature is wrong."""
    signed, _, signature = token.rpartition(".")
    header, claims = (json.loads(_raw(part)) for part in signed.split("."))
    key = next(key.raw for key in control_plane.keys.public_keys() if key.key_id == header["kid"])
    Ed25519PublicKey.from_public_bytes(key).verify(_raw(signature), signed.encode())
    return header, claims


def _raw(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


async def revoked(control_plane: ControlPlane) -> tuple[str, ...]:
    async with control_plane.units.reading() as uow:
        return (await control_plane.identities.snapshot(uow)).revoked_credentials


async def test_a_token_is_for_oneself_and_says_so(requester: httpx.AsyncClient, control_plane: ControlPlane):
    made = await requester.post("/v1/tokens", json={})
    assert made.status_code == 201, made.text
    header, claims = verified(made.json()["token"], control_plane)
    me = (await requester.get("/v1/session")).json()["id"]
    assert (header["alg"], header["typ"]) == ("EdDSA", "assentry")
    assert claims["sub"] == me
    assert claims["iss"] == "test"
    assert claims["aud"] == ["*"]
    assert claims["jti"] == made.json()["credential_id"]
    assert claims["exp"] - claims["iat"] == 3600


async def test_a_token_lives_twelve_hours_at_most(requester: httpx.AsyncClient):
    assert (await requester.post("/v1/tokens", json={"ttl_seconds": 12 * 3600})).status_code == 201
    assert (await requester.post("/v1/tokens", json={"ttl_seconds": 12 * 3600 + 1})).status_code == 422


async def test_a_token_names_targets_that_are_there(requester: httpx.AsyncClient):
    answer = await requester.post("/v1/tokens", json={"targets": ["*", "nowhere"]})
    assert answer.status_code == 422
    assert [error["path"] for error in answer.json()["errors"]] == ["$.targets[1]"]


async def test_a_revoked_token_is_told_to_agents_until_it_expires(requester, control_plane, clock: ManualClock):
    credential = (await requester.post("/v1/tokens", json={})).json()["credential_id"]
    assert await revoked(control_plane) == ()
    async with control_plane.events.subscribe("snapshot") as told:
        assert (await requester.delete(f"/v1/credentials/{credential}")).status_code == 204
        assert (await told.get()).topic in {"snapshot", "resync"}
    assert await revoked(control_plane) == (credential,)
    clock.advance(hours=2)
    assert await revoked(control_plane) == ()


async def test_nobody_revokes_anothers_token_but_an_admin(requester, client_of, admin: httpx.AsyncClient, person, app):
    mine = (await requester.post("/v1/tokens", json={})).json()["credential_id"]
    admins = (await admin.post("/v1/tokens", json={})).json()["credential_id"]
    assert (await requester.delete(f"/v1/credentials/{admins}")).status_code == 404
    assert [item["id"] for item in (await requester.get("/v1/credentials")).json()["items"]] == [mine]
    assert (await admin.delete(f"/v1/credentials/{mine}")).status_code == 204


async def test_a_repeated_request_does_not_show_the_token_again(requester: httpx.AsyncClient):
    key = {"idempotency-key": "again"}
    first = (await requester.post("/v1/tokens", json={}, headers=key)).json()
    again = (await requester.post("/v1/tokens", json={}, headers=key)).json()
    assert first["token"]
    assert again == {**first, "token": None}


async def test_a_machine_trades_its_key_for_a_token(machine: httpx.AsyncClient, control_plane: ControlPlane):
    made = (await machine.post("/v1/tokens", json={"ttl_seconds": 60})).json()
    _, claims = verified(made["token"], control_plane)
    assert claims["sub"] == (await machine.get("/v1/session")).json()["id"]


async def test_a_token_never_outlives_the_key_it_was_made_with(admin, machine, clock: ManualClock):
    clock.advance(days=89, hours=23)
    made = (await machine.post("/v1/tokens", json={"ttl_seconds": 12 * 3600})).json()
    assert datetime.fromisoformat(made["expires_at"]) - clock.now() <= timedelta(hours=1)


async def test_an_expired_key_is_nobody(machine: httpx.AsyncClient, clock: ManualClock):
    assert (await machine.get("/v1/session")).status_code == 200
    clock.advance(days=90)
    assert (await machine.get("/v1/session")).status_code == 401


async def test_the_key_of_a_machine_whose_owner_is_disabled_is_nobodys(admin, machine, person):
    await person("root", "admin")
    assert (await machine.get("/v1/session")).status_code == 200
    await admin.patch("/v1/identities/admin", json={"disabled": True}, headers={"if-match": "*"})
    assert (await machine.get("/v1/session")).status_code == 401


async def test_revoking_a_key_revokes_what_was_made_with_it(admin, machine, control_plane: ControlPlane):
    credential = (await machine.post("/v1/tokens", json={})).json()["credential_id"]
    key = (await admin.get("/v1/service-account-keys")).json()["items"][0]
    assert key["identity"] == "bot"
    assert (await admin.delete(f"/v1/service-account-keys/{key['id']}")).status_code == 204
    assert (await machine.get("/v1/session")).status_code == 401
    assert await revoked(control_plane) == (credential,)


async def test_a_key_is_for_a_machine_and_shown_once(admin: httpx.AsyncClient, machine: httpx.AsyncClient):
    assert (await admin.post("/v1/service-account-keys", json={"identity": "admin"})).status_code == 422
    assert (await admin.post("/v1/service-account-keys", json={"identity": "nobody"})).status_code == 404
    listed = (await admin.get("/v1/service-account-keys")).text
    assert "assentry_k_" not in listed
    assert "hash" not in listed


async def test_other_features_see_who_made_the_key_behind_a_credential(admin, machine, control_plane: ControlPlane):
    credential = (await machine.post("/v1/tokens", json={})).json()["credential_id"]
    async with control_plane.units.reading() as uow:
        found = await control_plane.credentials.find(uow, credential)
    assert found is not None
    assert found.valid
    assert found.made_by == (await admin.get("/v1/session")).json()["id"]


async def test_a_certificate_names_the_identity_and_the_credential(requester: httpx.AsyncClient):
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    pem = request.public_bytes(serialization.Encoding.PEM).decode()
    made = await requester.post("/v1/client-certificates", json={"csr": pem})
    assert made.status_code == 201, made.text
    certificate = x509.load_pem_x509_certificate(made.json()["certificate"].encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    me = (await requester.get("/v1/session")).json()["id"]
    credential = made.json()["credential_id"]
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    assert uris == [f"urn:assentry:identity:{me}:credential:{credential}"]


async def test_a_request_that_is_none_is_refused(requester: httpx.AsyncClient):
    answer = await requester.post("/v1/client-certificates", json={"csr": "not a request"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == "$.csr"
    assert (await requester.get("/v1/credentials")).json()["items"] == []
