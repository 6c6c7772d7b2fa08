"""Tokens that a real Kubernetes API server signs for service accounts (TokenRequest), as a kubelet projects them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.control_plane.conftest import ManualClock
from tests.control_plane.workloads.platforms import AUDIENCE, applied, causes, document, exchanged
from tests.support.kubernetes import KubernetesApi, kubernetes_api

__all__ = ["kubernetes_api"]
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def clock() -> ManualClock:
    """As the server has it."""
    made = ManualClock()
    made.instant = datetime.now(UTC)
    return made


@pytest.fixture
async def cluster(ground: httpx.AsyncClient, kubernetes_api: KubernetesApi) -> KubernetesApi:
    """`shop/deployer` is there."""
    kubernetes_api.service_account("shop", "deployer")
    kubernetes_api.service_account("shop", "other")
    kubernetes_api.service_account("elsewhere", "deployer")
    return kubernetes_api


def trusting(cluster: KubernetesApi, **spec: Any) -> dict[str, Any]:
    known = {"platform": "kubernetes", "identity": "deploy-bot", "issuer": cluster.issuer, "targets": ["orders"]}
    return document("WorkloadTrust", "cluster", **{**known, **spec})


async def test_a_projected_token_is_exchanged_by_the_clusters_own_discovery(
    cluster: KubernetesApi, admin: httpx.AsyncClient, anonymous: httpx.AsyncClient
):
    await applied(admin, trusting(cluster, ca=cluster.ca, subject="system:serviceaccount:shop:deployer"))
    answer = await exchanged(anonymous, cluster.token("shop", "deployer", AUDIENCE), "orders")
    assert answer.status_code == 200, answer.text
    (listed,) = (await admin.get("/v1/workload-sign-ins")).json()["items"]
    assert (listed["claims"]["namespace"], listed["claims"]["serviceaccount.name"]) == ("shop", "deployer")


async def test_a_cluster_that_nobody_reaches_is_trusted_by_keys_that_stand_in_the_trust(
    cluster: KubernetesApi, admin: httpx.AsyncClient, anonymous: httpx.AsyncClient
):
    claims = {"kubernetes.io.namespace": "shop", "kubernetes.io.serviceaccount.name": "deployer"}
    await applied(admin, trusting(cluster, jwks=cluster.keys(), claims=claims))
    assert (await exchanged(anonymous, cluster.token("shop", "deployer", AUDIENCE), "orders")).status_code == 200


async def test_another_account_another_namespace_and_another_audience_are_refused(
    cluster: KubernetesApi, admin: httpx.AsyncClient, anonymous: httpx.AsyncClient
):
    await applied(admin, trusting(cluster, ca=cluster.ca, subject="system:serviceaccount:shop:deployer"))
    tokens = [
        cluster.token("shop", "other", AUDIENCE),
        cluster.token("elsewhere", "deployer", AUDIENCE),
        cluster.token("shop", "deployer", cluster.issuer),
    ]
    for token in tokens:
        assert (await exchanged(anonymous, token, "orders")).json()["error"] == "invalid_grant"
    told = await causes(admin)
    assert ["shop:other" in told[0], "elsewhere:deployer" in told[1], "it is for" in told[2]] == [True] * 3


async def test_a_cluster_whose_certificate_nobody_vouches_for_is_not_asked(
    cluster: KubernetesApi, admin: httpx.AsyncClient, anonymous: httpx.AsyncClient
):
    await applied(admin, trusting(cluster, subject="system:serviceaccount:shop:deployer"))
    answer = await exchanged(anonymous, cluster.token("shop", "deployer", AUDIENCE), "orders")
    assert answer.status_code == 400
    assert "cannot be fetched" in (await causes(admin))[0]
