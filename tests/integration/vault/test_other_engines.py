"""Vault's AWS and Kubernetes engines give accounts of the same shape: against moto's AWS, and a double of Kubernetes."""

from __future__ import annotations

import asyncio
import base64
import json

import boto3
import pytest
from aiohttp import web
from moto.server import ThreadedMotoServer

from data_plane.credentials.ports import KeyCredential, TokenCredential
from data_plane.credentials.settings import VaultAuth, VaultServer
from data_plane.credentials.vault import Vault
from data_plane.credentials.vault_accounts import AWS, KUBERNETES, Dynamic, Engine, VaultAccounts
from data_plane.runtime.clock import SystemClock
from tests.integration.vault.test_accounts import MAY, lease, need
from tests.support import vault as support
from tests.support.sinks import Got, http_sink

POLICY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]})


def part(told: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip("=")


# Vault reads how long it lasts, not who signed it.
TOKEN = f"{part({'alg': 'RS256'})}.{part({'iat': 1_800_000_000, 'exp': 1_800_003_600})}.c2lnbmF0dXJl"


def accounts(vault: support.VaultServer, engine: Engine, values: dict[str, object] | None = None) -> VaultAccounts:
    token = vault.token("engines", {**MAY, "aws/creds/*": ["read"], "kubernetes/creds/*": ["update"]})
    server = VaultServer(address=vault.address, auth=VaultAuth(token_file=str(token)), ca_file=str(vault.ca))
    mount = engine.name.removeprefix("vault-")
    return VaultAccounts(Dynamic(Vault(server), engine, mount, "orders", values), SystemClock())


async def test_aws_keys_of_a_session_are_gone_afterwards(
    vault: support.VaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    for name, value in {"ENDPOINT_URL": url, "ACCESS_KEY_ID": "id", "SECRET_ACCESS_KEY": "key"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    iam = boto3.client("iam", region_name="us-east-1")
    try:
        root = {
            "access_key": "id",
            "secret_key": "key",
            "iam_endpoint": url,
            "sts_endpoint": url,
            "region": "us-east-1",
        }
        vault.root.adapter.post("/v1/aws/config/root", json=root)
        vault.root.secrets.aws.create_or_update_role("orders", "iam_user", policy_document=POLICY)
        provider = accounts(vault, AWS)
        made = await provider.create(lease(), need())
        assert isinstance(made.credential, KeyCredential)
        assert made.credential.secret_access_key
        assert not made.credential.session_token
        (user,) = iam.list_users()["Users"]
        keys = iam.list_access_keys(UserName=user["UserName"])["AccessKeyMetadata"]
        assert [key["AccessKeyId"] for key in keys] == [made.credential.access_key_id] == [made.principal.split()[0]]
        await provider.remove(lease(made.principal))
        assert iam.list_users()["Users"] == []
    finally:
        iam.close()
        server.stop()


async def test_a_kubernetes_token_is_asked_for_with_its_namespace(vault: support.VaultServer) -> None:
    def answering(got: Got) -> web.StreamResponse:
        assert got.headers["authorization"] == "Bearer jwt-of-vault"
        if got.path.endswith("/token"):
            return web.json_response({"kind": "TokenRequest", "status": {"token": TOKEN}}, status=201)
        return web.json_response({"kind": "ServiceAccount"})

    async with http_sink(answering) as cluster:
        told = {"kubernetes_host": cluster.url, "service_account_jwt": "jwt-of-vault", "disable_local_ca_jwt": True}
        await in_thread(vault, "/v1/kubernetes/config", told)
        role = {"service_account_name": "reader", "allowed_kubernetes_namespaces": ["shop"]}
        await in_thread(vault, "/v1/kubernetes/roles/orders", role)
        provider = accounts(vault, KUBERNETES, {"kubernetes_namespace": "shop"})
        made = await provider.create(lease(), need())
        assert made.credential == TokenCredential(made.credential.token)
        assert made.credential.token.reveal() == TOKEN
        assert made.principal.startswith("shop/reader kubernetes/creds/orders/")
        assert cluster.got[-1].path == "/api/v1/namespaces/shop/serviceaccounts/reader/token"
        await provider.remove(lease(made.principal))


async def in_thread(vault: support.VaultServer, path: str, body: dict[str, object]) -> None:
    await asyncio.to_thread(lambda: vault.root.adapter.post(path, json=body))
