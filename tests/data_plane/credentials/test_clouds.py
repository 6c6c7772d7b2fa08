"""Accounts that AWS and Google keep or sign: Secrets Manager and IAM tokens.

AWS is played by moto's server, and RDS tokens are signed without it. Google's sign-in is a double after RFC 7523, which
is what its library speaks with a service account's key."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import boto3
import msgspec
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from moto.server import ThreadedMotoServer

from data_plane.credentials import threads
from data_plane.credentials.configured import Asking, open_provider, open_store
from data_plane.credentials.files import FileSecret, FixedSecret
from data_plane.credentials.ports import CredentialError, PasswordCredential
from data_plane.credentials.settings import (
    AwsSecret,
    CloudSqlIam,
    CredentialSettings,
    RdsIam,
    VaultAuth,
    VaultDatabase,
    VaultKv,
)
from data_plane.credentials.stored import StoredCredential, renewed
from data_plane.policy.model import TargetSpec, TargetTls
from data_plane.runtime.clock import SystemClock
from data_plane.runtime.secret import Secret
from tests.support.sinks import Got, http_sink

REGION = "eu-central-1"
ADDRESS = "orders.abc.eu-central-1.rds.amazonaws.com:5432"
SPEC = TargetSpec(protocol="postgres", environment="test", agent="a", address=ADDRESS)


def asking(spec: TargetSpec | None = SPEC) -> Asking:
    return Asking("orders", "app", lambda: spec, SystemClock())


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadedMotoServer]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    for name, value in {"ENDPOINT_URL": url, "ACCESS_KEY_ID": "id", "SECRET_ACCESS_KEY": "signing-key"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    yield server
    server.stop()


async def test_an_account_in_secrets_manager_is_read_at_each_sign_in_and_written_back(aws: ThreadedMotoServer) -> None:
    manager = boto3.client("secretsmanager", region_name=REGION)
    told = {"username": "app", "password": "one", "host": "db"}
    manager.create_secret(Name="orders", SecretString=json.dumps(told))
    store = open_store(CredentialSettings(aws_secret=AwsSecret("orders", REGION)), asking())
    source = StoredCredential(store)
    assert await source.own() == PasswordCredential("app", Secret("one"))
    manager.put_secret_value(SecretId="orders", SecretString=json.dumps(told | {"password": "two"}))
    assert await source.own() == PasswordCredential("app", Secret("two"))
    await store.write(renewed(await store.read(), PasswordCredential("app", Secret("three"))))
    assert json.loads(manager.get_secret_value(SecretId="orders")["SecretString"]) == told | {"password": "three"}
    manager.create_secret(Name="bytes", SecretBinary=b"p")
    manager.close()
    binary = open_store(CredentialSettings(aws_secret=AwsSecret("bytes", REGION)), asking())
    with pytest.raises(CredentialError, match="AWS secret bytes in eu-central-1 holds bytes, not text"):
        await binary.read()
    for one in (store, binary):
        one._manager.close()


async def test_what_secrets_manager_refuses_is_told(aws: ThreadedMotoServer) -> None:
    store = open_store(CredentialSettings(aws_secret=AwsSecret("gone", REGION)), asking())
    with pytest.raises(CredentialError, match=r"gone in .*: get_secret_value was refused: ResourceNotFoundException"):
        await store.read()
    with pytest.raises(CredentialError, match="put_secret_value was refused") as caught:
        await store.write(Secret("new-password"))
    assert "new-password" not in str(caught.value)
    store._manager.close()
    aws.stop()
    with pytest.raises(CredentialError, match="Could not connect"):
        await store.read()


async def test_an_rds_token_is_signed_for_this_account_at_this_address(aws: ThreadedMotoServer) -> None:
    source = StoredCredential(open_store(CredentialSettings(rds_iam=RdsIam(REGION)), asking()), "app")
    token = (await source.own()).password.reveal()
    signed = urlsplit("https://" + token)
    assert (signed.hostname, signed.port) == ("orders.abc.eu-central-1.rds.amazonaws.com", 5432)
    told = parse_qs(signed.query)
    assert (told["Action"], told["DBUser"], told["X-Amz-Expires"]) == (["connect"], ["app"], ["900"])
    assert told["X-Amz-Credential"][0].endswith(f"/{REGION}/rds-db/aws4_request")
    assert "signing-key" not in token
    assert not source.store.writable
    with pytest.raises(CredentialError, match="there is no password to write"):
        await source.store.write(Secret("x"))


@pytest.mark.parametrize(
    ("mode", "problem"),
    [("disable", "set tls.mode of the target to verify-full"), ("require", "verify-full"), (None, "in no policy")],
)
async def test_a_token_is_made_only_for_a_target_that_is_verified(
    mode: str | None, problem: str, aws: ThreadedMotoServer
) -> None:
    spec = None if mode is None else msgspec.structs.replace(SPEC, tls=TargetTls(mode=mode))
    for place in (CredentialSettings(rds_iam=RdsIam(REGION)), CredentialSettings(cloud_sql_iam=CloudSqlIam())):
        with pytest.raises(CredentialError, match=problem):
            await open_store(place, asking(spec)).read()


async def test_without_an_identity_of_its_own_the_agent_gets_no_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(CredentialError, match="no sign-in token for RDS: Unable to locate credentials"):
        await open_store(CredentialSettings(rds_iam=RdsIam(REGION)), asking()).read()
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(CredentialError, match=r"no sign-in token for Cloud SQL: .*none\.json was not found"):
        await open_store(CredentialSettings(cloud_sql_iam=CloudSqlIam()), asking()).read()


def service_account(folder: Path, token_uri: str) -> Path:
    key = generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    told = {"type": "service_account", "client_email": "app@p.iam.gserviceaccount.com", "token_uri": token_uri}
    file = folder / "service-account.json"
    file.write_text(json.dumps(told | {"private_key": key.decode(), "project_id": "p"}))
    return file


async def test_a_cloud_sql_token_is_kept_until_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lifetimes = iter([3600, 1, 3600])

    def answering(got: Got) -> web.StreamResponse:
        assert parse_qs(got.body.decode())["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        seconds = next(lifetimes)
        return web.json_response({"access_token": f"ya29.{seconds}", "expires_in": seconds, "token_type": "Bearer"})

    async with http_sink(answering) as google:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(service_account(tmp_path, f"{google.url}/token")))
        place = CredentialSettings(cloud_sql_iam=CloudSqlIam())
        source = StoredCredential(open_store(place, asking()), "app@p.iam")
        at_once = await asyncio.gather(*(source.own() for _ in range(5)))
        assert set(map(str, at_once)) == {str(PasswordCredential("app@p.iam", Secret("")))}
        assert [one.password.reveal() for one in at_once] == ["ya29.3600"] * 5
        assert len(google.got) == 1
        brief = open_store(place, asking())
        assert [(await brief.read()).reveal() for _ in range(2)] == ["ya29.1", "ya29.3600"]


async def test_a_google_that_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with http_sink(lambda _: web.json_response({"error": "invalid_grant"}, status=400)) as google:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(service_account(tmp_path, f"{google.url}/token")))
        with pytest.raises(CredentialError, match=r"no sign-in token for Cloud SQL: .*invalid_grant"):
            await open_store(CredentialSettings(cloud_sql_iam=CloudSqlIam()), asking()).read()


def test_only_a_database_engine_of_vault_makes_accounts_for_sessions(tmp_path: Path) -> None:
    server = {"address": "https://vault", "auth": VaultAuth(token_file="t")}
    database = CredentialSettings(vault_database=VaultDatabase(**server, role="orders"))
    provider = open_provider(database, SystemClock())
    assert provider is not None
    assert provider.name == "vault-database"
    for place in (None, tmp_path, Secret("p"), CredentialSettings(vault_kv=VaultKv(**server, path="p"))):
        assert open_provider(place, SystemClock()) is None
    assert isinstance(open_store(tmp_path, asking()), FileSecret)
    assert isinstance(open_store(Secret("p"), asking()), FixedSecret)


def test_a_library_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(threads, "import_module", missing)
    with pytest.raises(CredentialError, match=r"boto3 is not installed: install assentry\[aws\]"):
        threads.library("boto3", "aws")
