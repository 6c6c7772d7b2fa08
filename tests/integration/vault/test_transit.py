"""A wrapping key in the transit engine of a real Vault: the contract of wrapping keys, and Vault's own cases."""

from __future__ import annotations

import asyncio
import os

import pytest

from control_plane.secrets.ports import KeyWrapper, WrappedKeyError, WrapperUnavailableError
from control_plane.secrets.wrapping import open_wrapper
from tests.support.vault import VaultServer, running_vault

DATA_KEY, CONTEXT = bytes(range(32)), b"\xff context \x00" * 40
MAY = {"transit/encrypt/+": ["update"], "transit/decrypt/+": ["update"]}


def wrapper(vault: VaultServer, key: str, options: str = "") -> KeyWrapper:
    vault.root.secrets.transit.create_key(key)
    if not options:
        role_id, secret_id = vault.approle("control-plane", MAY)
        options = f"role_id={role_id}&secret_id_file={secret_id}"
    opened = open_wrapper(f"vault-transit:{vault.address}/transit/{key}?ca={vault.ca}&{options}")
    assert opened.id == f"vault-transit:{vault.address}/transit/{key}"
    return opened


async def test_vault_unwraps_what_it_wrapped_for_the_same_context_only(vault: VaultServer) -> None:
    one, other = wrapper(vault, "one"), wrapper(vault, "other")
    wrapped = await one.wrap(DATA_KEY, CONTEXT)
    assert wrapped.startswith(b"vault:v1:")
    assert await one.unwrap(wrapped, CONTEXT) == DATA_KEY
    assert len(set(await asyncio.gather(*(one.wrap(DATA_KEY, CONTEXT) for _ in range(8))))) == 8
    for bad, changed, context in [
        (other, wrapped, CONTEXT),
        (one, wrapped, CONTEXT[:-1]),
        (one, wrapped, b""),
        (one, wrapped[:-2], CONTEXT),
        (one, b"", CONTEXT),
        (one, os.urandom(60), CONTEXT),
    ]:
        with pytest.raises(WrappedKeyError):
            await bad.unwrap(changed, context)


async def test_a_key_that_was_rotated_in_vault_still_unwraps(vault: VaultServer) -> None:
    rotated = wrapper(vault, "rotated")
    old = await rotated.wrap(DATA_KEY, CONTEXT)
    vault.root.secrets.transit.rotate_key("rotated")
    new = await rotated.wrap(DATA_KEY, CONTEXT)
    assert new.startswith(b"vault:v2:")
    assert await rotated.unwrap(old, CONTEXT) == await rotated.unwrap(new, CONTEXT) == DATA_KEY


async def test_a_login_that_has_ended_is_repeated(vault: VaultServer) -> None:
    role_id, secret_id = vault.approle("short", MAY, token_ttl="1h")
    signed_in = wrapper(vault, "k", f"role_id={role_id}&secret_id_file={secret_id}")
    wrapped = await signed_in.wrap(DATA_KEY, CONTEXT)
    vault.root.sys.revoke_prefix("auth/approle/login")
    assert await signed_in.unwrap(wrapped, CONTEXT) == DATA_KEY


async def test_a_token_in_a_file_is_used_as_it_is_there(vault: VaultServer) -> None:
    file = vault.token("told", MAY)
    by_token = wrapper(vault, "k", f"token_file={file}")
    wrapped = await by_token.wrap(DATA_KEY, CONTEXT)
    good = file.read_text()
    file.write_text("hvs.this-is-no-token")
    with pytest.raises(WrapperUnavailableError, match="permission denied") as caught:
        await by_token.unwrap(wrapped, CONTEXT)
    assert "hvs." not in str(caught.value)
    file.write_text(good)
    assert await by_token.unwrap(wrapped, CONTEXT) == DATA_KEY
    file.unlink()
    with pytest.raises(WrapperUnavailableError, match=r"token_file: .* cannot be read: No such file"):
        await by_token.unwrap(wrapped, CONTEXT)


async def test_what_vault_refuses_is_told_and_so_is_its_absence(vault: VaultServer) -> None:
    vault.root.secrets.transit.create_key("signing", key_type="ed25519")
    with pytest.raises(WrapperUnavailableError, match=r"vault-transit:.*signing"):
        await wrapper(vault, "signing").wrap(DATA_KEY, CONTEXT)
    role_id, secret_id = vault.approle("narrow", {"transit/encrypt/k": ["update"]})
    narrow = wrapper(vault, "k", f"role_id={role_id}&secret_id_file={secret_id}")
    wrapped = await narrow.wrap(DATA_KEY, CONTEXT)
    with pytest.raises(WrapperUnavailableError, match=r"decrypt failed: permission denied"):
        await narrow.unwrap(wrapped, CONTEXT)
    with running_vault() as passing:
        orphan = wrapper(passing, "k")
        passing.root.sys.seal()
        with pytest.raises(WrapperUnavailableError, match="Vault is sealed"):
            await orphan.wrap(DATA_KEY, CONTEXT)
        passing.stop()
        with pytest.raises(WrapperUnavailableError, match="cannot be asked: ConnectionError"):
            await orphan.wrap(DATA_KEY, CONTEXT)
