"""Tokens as GitLab, SPIFFE and any OpenID provider shape them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.control_plane.conftest import ManualClock
from tests.control_plane.workloads.platforms import (
    AUDIENCE,
    Platform,
    applied,
    causes,
    document,
    ec,
    ed,
    exchanged,
    key_set,
    signed,
    trust,
)
from tests.support.oidc import OidcProvider

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def clock() -> ManualClock:
    """As the real provider has it."""
    made = ManualClock()
    made.instant = datetime.now(UTC)
    return made


async def test_a_gitlab_job_is_told_by_its_project_and_its_protected_branch(
    ground: httpx.AsyncClient, anonymous: httpx.AsyncClient, clock: ManualClock
):
    gitlab = Platform("https://gitlab.com", clock.now)
    wanted = {"project_id": "22", "ref_protected": "true"}
    await applied(ground, trust("gitlab", gitlab, platform="gitlab", issuer=None, claims=wanted, targets=["orders"]))

    def job(**changes: Any) -> str:
        told = {"project_path": "acme/shop", "project_id": "22", "namespace_id": "72", "ref": "main", "job_id": "302"}
        told |= {"ref_type": "branch", "ref_protected": "true", "pipeline_id": "574", "user_login": "ada", **changes}
        return gitlab.token("project_path:acme/shop:ref_type:branch:ref:main", **told)

    token = job()
    assert [(await exchanged(anonymous, token, "orders")).status_code for _ in range(2)] == [200, 200]
    assert (await exchanged(anonymous, job(project_id="23"), "orders")).status_code == 400
    assert (await exchanged(anonymous, job(ref_protected="false"), "orders")).status_code == 400
    listed = (await ground.get("/v1/workload-sign-ins")).json()["items"][0]
    assert (listed["claims"]["pipeline_id"], listed["claims"]["user_login"]) == ("574", "ada")


async def test_a_spiffe_id_is_told_by_its_trust_domain_and_its_path(
    ground: httpx.AsyncClient, anonymous: httpx.AsyncClient, clock: ManualClock
):
    mesh = Platform("", clock.now, ec())
    spec = {
        "platform": "spiffe",
        "issuer": None,
        "trust_domain": "example.org",
        "jwks": key_set(ec(), use="jwt-svid"),
        "subject_pattern": "spiffe://example.org/shop/.*",
        "targets": ["orders"],
    }
    await applied(ground, trust("mesh", mesh, **spec))

    def svid(subject: str, **changes: Any) -> str:
        return mesh.token(subject, **{"iss": None, "jti": None, **changes})

    good = svid("spiffe://example.org/shop/deployer")
    assert [(await exchanged(anonymous, good, "orders")).status_code for _ in range(2)] == [200, 200]
    bad = [
        svid("spiffe://example.org/other"),
        svid("spiffe://example.org.mallory.example/shop/deployer"),
        svid("spiffe://other.example/shop/deployer"),
        svid("spiffe://example.org/shop/deployer", aud=[AUDIENCE, "spiffe://example.org/other"]),
        signed(mesh.claims("spiffe://example.org/shop/deployer"), ed()),
        signed(mesh.claims("spiffe://example.org/shop/deployer"), ec(2)),
    ]
    assert [(await exchanged(anonymous, one, "orders")).status_code for one in bad] == [400] * len(bad)
    assert "of another kind" in (await causes(ground))[4]


async def test_a_key_of_a_bundle_that_is_for_certificates_verifies_no_token(
    ground: httpx.AsyncClient, anonymous: httpx.AsyncClient, clock: ManualClock
):
    mesh = Platform("", clock.now, ec(2))
    both = key_set(ec(), use="jwt-svid")[:-2] + ", " + key_set(ec(2), use="x509-svid")[len('{"keys": [') :]
    spec = {"platform": "spiffe", "issuer": None, "trust_domain": "example.org", "jwks": both}
    await applied(ground, trust("mesh", mesh, **spec, subject="spiffe://example.org/shop"))
    answer = await exchanged(anonymous, mesh.token("spiffe://example.org/shop", iss=None), "orders")
    assert answer.status_code == 400
    assert "announces no key" in (await causes(ground))[0]


async def test_a_real_openid_providers_machine_token_is_exchanged_by_discovery_and_survives_new_keys(
    ground: httpx.AsyncClient, anonymous: httpx.AsyncClient, clock: ManualClock, oidc_provider: OidcProvider
):
    spec = {"issuer": oidc_provider.issuer, "identity": "deploy-bot", "subject": "ci-k", "targets": ["orders"]}
    await applied(ground, document("WorkloadTrust", "corp-ci", **spec, claims={"repository": "acme/shop"}))

    def token(client: str = "ci-k", audience: str = AUDIENCE, repository: str = "acme/shop") -> str:
        return oidc_provider.machine_token(client, audience, repository=repository)

    good = token()
    assert [(await exchanged(anonymous, good, "orders")).status_code for _ in range(2)] == [200, 400]
    for bad in (token("ci-other"), token(audience="https://other.example"), token(repository="acme/other")):
        assert (await exchanged(anonymous, bad, "orders")).status_code == 400
    oidc_provider.new_keys(keep=True)
    clock.instant = datetime.now(UTC)
    clock.advance(seconds=31)  # not more often are unknown keys asked for
    assert (await exchanged(anonymous, token(), "orders")).status_code == 200
