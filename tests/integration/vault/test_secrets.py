"""A target's account in the key-value engine of a real Vault."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast
from unittest.mock import AsyncMock

import pytest

from data_plane.credentials import threads
from data_plane.credentials.ports import CredentialError, PasswordCredential
from data_plane.credentials.rotation import Accounts, Rotation
from data_plane.credentials.settings import AppRole, KubernetesLogin, VaultAuth, VaultKv
from data_plane.credentials.stored import StoredCredential, account, renewed
from data_plane.credentials.vault import Vault, VaultSecret
from data_plane.runtime.secret import Secret
from tests.support.vault import VaultServer, running_vault

MAY = {"secret/data/targets/*": ["read", "update"]}


def secret(vault: VaultServer, path: str = "targets/orders", rules: dict[str, list[str]] = MAY) -> VaultSecret:
    role_id, secret_id = vault.approle("agent", rules)
    auth = VaultAuth(approle=AppRole(role_id, str(secret_id)))
    place = VaultKv(address=vault.address, auth=auth, ca_file=str(vault.ca), path=path)
    return VaultSecret(Vault(place), place)


@pytest.fixture
async def kept(vault: VaultServer) -> AsyncIterator[VaultServer]:
    told = {"username": "app", "password": "one", "engine": "postgres"}
    vault.root.secrets.kv.v2.create_or_update_secret("targets/orders", told, mount_point="secret")
    yield vault
    vault.root.secrets.kv.v2.delete_metadata_and_all_versions("targets/orders", mount_point="secret")


async def test_every_sign_in_uses_what_vault_keeps_by_then(kept: VaultServer) -> None:
    source = StoredCredential(secret(kept))
    assert await source.own() == PasswordCredential("app", Secret("one"))
    told = {"username": "app", "password": "two"}
    kept.root.secrets.kv.v2.create_or_update_secret("targets/orders", told, mount_point="secret")
    assert await source.own() == PasswordCredential("app", Secret("two"))


async def test_a_new_password_is_what_all_others_read_and_the_rest_is_left(kept: VaultServer) -> None:
    store = secret(kept)
    await store.write(renewed(await store.read(), PasswordCredential("app", Secret("new"))))
    assert account(await secret(kept).read()) == PasswordCredential("app", Secret("new"))
    await store.write(renewed(await store.read(), PasswordCredential("app_b", Secret("newer"))))
    found = kept.root.adapter.get("/v1/secret/data/targets/orders")["data"]["data"]
    assert found == {"username": "app_b", "password": "newer", "engine": "postgres"}


async def test_a_rotation_leaves_the_rest_of_the_secret_and_nothing_of_itself(kept: VaultServer) -> None:
    class Target:
        opens = AsyncMock(return_value=True)
        change = AsyncMock()

    await Rotation(secret(kept), "", cast("Accounts", Target()), None, AsyncMock()).rotate()
    found = kept.root.adapter.get("/v1/secret/data/targets/orders")["data"]["data"]
    (_, password), _ = Target.change.call_args
    assert found == {"username": "app", "password": password.reveal(), "engine": "postgres"}
    assert len(found["password"]) == 43


async def test_of_two_who_write_at_once_one_is_told(kept: VaultServer) -> None:
    one, other = secret(kept), secret(kept)
    await one.read(), await other.read()
    await one.write(Secret('{"password": "mine"}'))
    with pytest.raises(CredentialError, match="check-and-set parameter did not match") as caught:
        await other.write(Secret('{"password": "not-mine"}'))
    assert "not-mine" not in str(caught.value)
    assert account(await other.read(), "app").password.reveal() == "mine"


async def test_what_vault_does_not_give_is_told(kept: VaultServer) -> None:
    with pytest.raises(CredentialError, match=r"secret/data/targets/none: nothing is there"):
        await secret(kept, "targets/none").read()
    with pytest.raises(CredentialError, match=r"secret/data/others: permission denied"):
        await secret(kept, "others").read()
    kept.root.secrets.kv.v2.delete_latest_version_of_secret("targets/orders", mount_point="secret")
    with pytest.raises(CredentialError, match="nothing is there"):
        await secret(kept).read()
    kept.root.sys.enable_secrets_engine("kv", "old")
    kept.root.secrets.kv.v1.create_or_update_secret("data/orders", {"password": "p"}, mount_point="old")
    place = VaultKv(address=kept.address, auth=VaultAuth(token_file="x"), mount="old", path="orders")
    old = VaultSecret(Vault(_by_token(kept, place)), place)
    with pytest.raises(CredentialError, match="is the engine there version 2 of kv"):
        await old.read()
    kept.root.sys.disable_secrets_engine("old")


def _by_token(vault: VaultServer, place: VaultKv) -> VaultKv:
    file = vault.token("reader", {"old/*": ["read"], **MAY})
    return VaultKv(
        address=vault.address,
        auth=VaultAuth(token_file=str(file)),
        ca_file=str(vault.ca),
        mount=place.mount,
        path="orders",
    )


async def test_a_login_that_has_ended_is_repeated_and_one_that_is_refused_is_told(kept: VaultServer) -> None:
    store = secret(kept)
    await store.read()
    kept.root.sys.revoke_prefix("auth/approle/login")
    assert account(await store.read()).password.reveal() == "one"
    wrong = kept.folder / "wrong"
    wrong.write_text("2f1c8a1e-no-secret-id")
    auth = VaultAuth(approle=AppRole(kept.root.auth.approle.read_role_id("agent")["data"]["role_id"], str(wrong)))
    place = VaultKv(address=kept.address, auth=auth, ca_file=str(kept.ca), path="targets/orders")
    with pytest.raises(CredentialError, match=r"auth/approle/login: invalid") as caught:
        await VaultSecret(Vault(place), place).read()
    assert "2f1c8a1e" not in str(caught.value)
    auth = VaultAuth(kubernetes=KubernetesLogin("agent", str(wrong)))
    place = VaultKv(address=kept.address, auth=auth, ca_file=str(kept.ca), path="targets/orders")
    with pytest.raises(CredentialError, match=r"auth/kubernetes/login") as caught:
        await VaultSecret(Vault(place), place).read()
    assert "2f1c8a1e" not in str(caught.value)


async def test_a_vault_that_is_sealed_away_or_unknown_gives_nothing(
    kept: VaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_vault() as passing:
        store = secret(passing)
        passing.root.sys.seal()
        with pytest.raises(CredentialError, match="Vault is sealed"):
            await store.read()
        passing.stop()
        with pytest.raises(CredentialError, match="cannot be asked: ConnectionError"):
            await store.read()
    file = kept.token("stranger", MAY)
    place = VaultKv(address=kept.address, auth=VaultAuth(token_file=str(file)), path="targets/orders")
    with pytest.raises(CredentialError, match="cannot be asked: SSLError"):
        await VaultSecret(Vault(place), place).read()
    monkeypatch.setattr(threads, "_PATIENCE", 0.0)
    with pytest.raises(CredentialError, match=r"Vault at https://127.0.0.1:\d+: no answer within 0 s"):
        await secret(kept).read()
