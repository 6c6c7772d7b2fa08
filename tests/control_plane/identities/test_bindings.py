"""Credentials are bound to targets and networks, in the one form that agents compare; when they were used is known."""

from __future__ import annotations

import base64

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from control_plane.assembly import ControlPlane
from control_plane.identities.binding import Binding
from control_plane.kit.errors import InvalidError
from control_plane.kit.pagination import Paging
from control_plane.sessions.reports import OpenedReport, Reporter
from data_plane.gate.identity import Claims, read_certificate, read_token
from tests.control_plane.conftest import ManualClock
from tests.control_plane.identities.test_credentials import verified


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (["10.0.0.0/8"], ("10.0.0.0/8",)),
        (["192.0.2.7"], ("192.0.2.7/32",)),
        (["2001:DB8:0::/32", "2001:db8::/32"], ("2001:db8::/32",)),
        ([" 10.1.0.0/255.255.0.0 "], ("10.1.0.0/16",)),
        (["0.0.0.0/0", "::/0"], ("0.0.0.0/0", "::/0")),
    ],
)
def test_a_network_is_kept_in_one_form(written: list[str], kept: tuple[str, ...]) -> None:
    assert Binding.of(["*"], written).networks == kept


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("10.1.2.3/8", "write 10.0.0.0/8"),
        ("everywhere", "is no network"),
        ("10.0.0.0/33", "is no network"),
        ("", "is no network"),
        ("10.0.0.0/8,11.0.0.0/8", "is no network"),
        ("::ffff:10.0.0.0/104", "write it as one"),
    ],
)
def test_a_network_that_would_never_match_is_refused_with_what_to_write(written: str, told: str) -> None:
    with pytest.raises(InvalidError) as refused:
        Binding.of(["*"], ["10.0.0.0/8", written])
    (problem,) = refused.value.errors
    assert problem.path == "$.networks[1]"
    assert told in problem.message


async def test_a_token_says_its_networks_and_agents_read_them(
    requester: httpx.AsyncClient, control_plane: ControlPlane
):
    made = (await requester.post("/v1/tokens", json={"networks": ["10.0.0.0/8"]})).json()
    header, claims = verified(made["token"], control_plane)
    assert header["typ"] == "assentry-bound"
    assert claims["net"] == ["10.0.0.0/8"]
    keys = {key.key_id: key.raw for key in control_plane.keys.public_keys()}
    now = control_plane.clock.now().timestamp()
    read = read_token(made["token"], keys=keys, deployment="test", now=now)
    assert isinstance(read, Claims)
    assert read.networks == ("10.0.0.0/8",)
    (listed,) = (await requester.get("/v1/credentials")).json()["items"]
    assert (listed["networks"], listed["last_used_at"]) == (["10.0.0.0/8"], None)


async def test_a_network_that_is_none_makes_no_credential(requester: httpx.AsyncClient):
    answer = await requester.post("/v1/tokens", json={"networks": ["10.1.2.3/8"]})
    assert answer.status_code == 422
    assert [one["path"] for one in answer.json()["errors"]] == ["$.networks[0]"]
    assert (await requester.get("/v1/credentials")).json()["items"] == []


async def test_a_certificate_says_its_targets_and_networks_and_agents_read_them(
    requester: httpx.AsyncClient, admin: httpx.AsyncClient, control_plane: ControlPlane
):
    await target(admin, "orders")
    body = {"csr": request(), "targets": ["orders"], "networks": ["10.0.0.0/8", "2001:db8::/32"]}
    made = await requester.post("/v1/client-certificates", json=body)
    assert made.status_code == 201, made.text
    certificate = x509.load_pem_x509_certificate(made.json()["certificate"].encode())
    now = control_plane.clock.now().timestamp()
    read = read_certificate(certificate.public_bytes(serialization.Encoding.DER), now=now)
    assert isinstance(read, Claims)
    assert (read.targets, read.networks) == (("orders",), ("10.0.0.0/8", "2001:db8::/32"))
    assert read.credential_id == made.json()["credential_id"]


async def test_a_certificate_is_for_targets_that_are_there(requester: httpx.AsyncClient):
    answer = await requester.post("/v1/client-certificates", json={"csr": request(), "targets": ["nowhere"]})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == "$.targets[0]"


async def test_whoever_connects_can_get_what_verifies_agents(anonymous: httpx.AsyncClient, control_plane: ControlPlane):
    answer = (await anonymous.get("/v1/ca")).json()
    assert answer["pem"].encode() == control_plane.authority.certificates
    assert base64.b64decode(answer["base64"]) == control_plane.authority.certificates


async def test_a_token_that_no_agent_would_read_is_not_made(requester: httpx.AsyncClient, admin: httpx.AsyncClient):
    names = [f"{number:03}{'x' * 60}" for number in range(100)]
    await target(admin, *names)
    answer = await requester.post("/v1/tokens", json={"targets": names})
    assert (answer.status_code, "so many targets" in answer.text) == (422, True)
    assert (await requester.get("/v1/credentials")).json()["items"] == []


async def test_the_audit_log_tells_where_a_credential_is_good(requester, admin, control_plane: ControlPlane):
    made = (await requester.post("/v1/tokens", json={"networks": ["10.0.0.0/8"]})).json()
    query = {"kind": "credential.issued", "subject": made["credential_id"]}
    (entry,) = (await admin.get("/v1/audit", params=query)).json()["items"]
    assert entry["data"]["networks"] == ["10.0.0.0/8"]


async def test_a_session_that_opens_tells_when_its_credential_was_used_last(
    requester: httpx.AsyncClient, control_plane: ControlPlane, clock: ManualClock
):
    credential = (await requester.post("/v1/tokens", json={})).json()["credential_id"]
    who = (await requester.get("/v1/session")).json()["id"]
    clock.advance(minutes=5)
    opened = OpenedReport("ses_1", 1, "orders", "postgres", who, credential, "10.0.0.1:5", "psql", 1, "boot")
    async with control_plane.units() as uow:
        await control_plane.sessions.opened(uow, Reporter("edge", "ins_1", "boot"), opened)
    (listed,) = (await requester.get("/v1/credentials")).json()["items"]
    assert listed["last_used_at"] == "2026-03-01T12:05:00Z"


async def test_a_key_tells_when_it_was_traded_last(machine: httpx.AsyncClient, control_plane: ControlPlane):
    await machine.post("/v1/tokens", json={})
    async with control_plane.units.reading() as uow:
        keys, _ = await control_plane.credentials.keys_page(uow, Paging())
    assert [row.last_used_at for row, _ in keys] == [control_plane.clock.now()]


def request() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


async def target(admin: httpx.AsyncClient, *names: str) -> None:
    spec = {"protocol": "postgres", "environment": "test", "agent": "edge", "address": "db.example.org:5432"}
    fixed = {"apiVersion": "assentry.dev/v1", "kind": "Target", "spec": spec}
    documents = [{**fixed, "metadata": {"name": name}} for name in names]
    answer = await admin.post("/v1/documents/apply", json={"documents": documents, "prune": False})
    assert answer.is_success, answer.text
