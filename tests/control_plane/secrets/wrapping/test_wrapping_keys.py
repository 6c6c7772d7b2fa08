"""What every wrapping key promises, wherever it is kept; Vault's has a real Vault, in tests/integration/vault."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import boto3
import pyrage
import pytest
from botocore.stub import Stubber
from moto.server import ThreadedMotoServer

from control_plane.secrets.ports import (
    KeyWrapper,
    WrappedKeyError,
    WrapperConfigurationError,
    WrapperUnavailableError,
    WrappingError,
)
from control_plane.secrets.wrapping import open_wrapper
from control_plane.secrets.wrapping.azure import KeyVaultKey
from control_plane.secrets.wrapping.gcp import CloudKey
from control_plane.secrets.wrapping.sdk import KeptElsewhere
from tests.support.keys import azure, google

DATA_KEY, CONTEXT = bytes(range(32)), b"\xff context \x00" * 40
REGION = "eu-central-1"


@contextlib.asynccontextmanager
async def in_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[], KeyWrapper]]:
    del monkeypatch

    def make() -> KeyWrapper:
        file = folder / f"key-{len(list(folder.iterdir()))}"
        file.write_bytes(base64.b64encode(os.urandom(32)) + b"\n")
        file.chmod(0o600)
        return open_wrapper(f"file:{file}")

    yield make


@contextlib.asynccontextmanager
async def in_a_variable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[], KeyWrapper]]:
    del folder

    def make() -> KeyWrapper:
        monkeypatch.setenv("SOME_KEY", base64.urlsafe_b64encode(os.urandom(32)).decode())
        return open_wrapper("env:SOME_KEY")

    yield make


@contextlib.asynccontextmanager
async def of_age(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[], KeyWrapper]]:
    del monkeypatch

    def make() -> KeyWrapper:
        file, identity = folder / f"key-{len(list(folder.iterdir()))}", pyrage.x25519.Identity.generate()
        file.write_text(f"# created: today\n# public key: {identity.to_public()}\n{identity}\n")
        file.chmod(0o640)
        return open_wrapper(f"age:{file}")

    yield make


@contextlib.asynccontextmanager
async def in_aws(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[], KeyWrapper]]:
    del folder
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    for name, value in {"ENDPOINT_URL": url, "ACCESS_KEY_ID": "id", "SECRET_ACCESS_KEY": "key"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    clients = [boto3.client("kms", region_name=REGION)]

    def make() -> KeyWrapper:
        wrapper = open_wrapper(f"aws-kms:{clients[0].create_key()['KeyMetadata']['Arn']}")
        clients.append(wrapper._keeper._client)
        return wrapper

    try:
        yield make
    finally:
        for client in clients:
            client.close()
        server.stop()


@contextlib.asynccontextmanager
async def at_google(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[], KeyWrapper]]:
    """Its double has one key: another wrapper is one of another double."""
    del folder, monkeypatch
    async with google.google_kms() as one, google.google_kms() as other:
        doubles = [other, one]
        yield lambda: KeptElsewhere(f"gcp-kms:{google.KEY}", CloudKey(google.KEY, doubles.pop().client))


@contextlib.asynccontextmanager
async def at_azure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[], KeyWrapper]]:
    del monkeypatch
    (folder / "1").mkdir(), (folder / "2").mkdir()
    async with azure.key_vault(folder / "1") as one, azure.key_vault(folder / "2") as other:
        doubles = [other, one]

        def make() -> KeyWrapper:
            double = doubles.pop()
            return KeptElsewhere("azure-kms:k", KeyVaultKey(double.key_url, "RSA-OAEP-256", double.client))

        yield make


Place = Callable[[Path, pytest.MonkeyPatch], AbstractAsyncContextManager[Callable[[], KeyWrapper]]]


@pytest.fixture(params=[in_a_file, in_a_variable, of_age, in_aws, at_google, at_azure])
async def new(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[[], KeyWrapper]]:
    """Makes two keys at most."""
    place: Place = request.param
    async with place(tmp_path, monkeypatch) as make:
        yield make


async def test_what_a_key_wrapped_only_it_unwraps(new: Callable[[], KeyWrapper]) -> None:
    wrapper, other = new(), new()
    wrapped = await wrapper.wrap(DATA_KEY, CONTEXT)
    assert DATA_KEY not in wrapped
    assert await wrapper.unwrap(wrapped, CONTEXT) == DATA_KEY
    # For another key moto's AWS says AccessDenied, the real one IncorrectKey (see below).
    with pytest.raises(WrappingError if "aws" in other.id else WrappedKeyError, match=other.id.partition(":")[0]):
        await other.unwrap(wrapped, CONTEXT)


async def test_a_wrapped_key_belongs_to_its_context(new: Callable[[], KeyWrapper]) -> None:
    wrapper = new()
    wrapped = await wrapper.wrap(DATA_KEY, CONTEXT)
    for context in (b"", CONTEXT[:-1], CONTEXT + b"\0"):
        with pytest.raises(WrappedKeyError):
            await wrapper.unwrap(wrapped, context)


async def test_what_was_changed_is_not_unwrapped(new: Callable[[], KeyWrapper]) -> None:
    wrapper = new()
    wrapped = await wrapper.wrap(DATA_KEY, CONTEXT)
    for changed in (b"", wrapped[:-1], wrapped[:-1] + bytes([wrapped[-1] ^ 1]), os.urandom(100)):
        with pytest.raises(WrappedKeyError):
            await wrapper.unwrap(changed, CONTEXT)


async def test_every_wrapping_differs_and_several_go_at_once(new: Callable[[], KeyWrapper]) -> None:
    wrapper = new()
    wrapped = await asyncio.gather(*(wrapper.wrap(DATA_KEY, CONTEXT) for _ in range(8)))
    assert len(set(wrapped)) == 8
    assert set(await asyncio.gather(*(wrapper.unwrap(one, CONTEXT) for one in wrapped))) == {DATA_KEY}


async def test_the_same_key_has_the_same_id_and_another_key_another(tmp_path: Path) -> None:
    async with in_a_file(tmp_path, pytest.MonkeyPatch()) as make:
        one, other = make(), make()
    assert one.id != other.id
    moved = (tmp_path / "key-0").rename(tmp_path / "moved")
    again = open_wrapper(f"file:{moved}")
    assert again.id == one.id
    assert await again.unwrap(await one.wrap(DATA_KEY, CONTEXT), CONTEXT) == DATA_KEY


async def test_a_service_that_refuses_or_is_away_is_told_apart_from_a_changed_row() -> None:
    async with google.google_kms() as double:
        wrapper = KeptElsewhere(f"gcp-kms:{google.KEY}", CloudKey(google.KEY, double.client))
        wrapped = await wrapper.wrap(DATA_KEY, CONTEXT)
        double.failing = 403
        with pytest.raises(WrapperUnavailableError, match=r"decrypt was refused: .*Permission denied"):
            await wrapper.unwrap(wrapped, CONTEXT)
        double.failing = 0
    with pytest.raises(WrapperUnavailableError, match="gcp-kms"):
        await wrapper.wrap(DATA_KEY, CONTEXT)


async def test_a_key_that_was_damaged_on_the_way_is_not_kept() -> None:
    async with google.google_kms() as double:
        wrapper = KeptElsewhere(f"gcp-kms:{google.KEY}", CloudKey(google.KEY, double.client))
        wrapped = await wrapper.wrap(DATA_KEY, CONTEXT)
        double.unchecked = True
        with pytest.raises(WrapperUnavailableError, match="damaged on the way"):
            await wrapper.wrap(DATA_KEY, CONTEXT)
        double.unchecked, double.damaging = False, True
        for call in (wrapper.wrap(DATA_KEY, CONTEXT), wrapper.unwrap(wrapped, CONTEXT)):
            with pytest.raises(WrapperUnavailableError, match="damaged on the way"):
                await call


async def test_a_new_version_of_an_azure_key_wraps_and_the_old_one_still_unwraps(tmp_path: Path) -> None:
    async with azure.key_vault(tmp_path) as double:
        wrapper = KeptElsewhere("azure-kms:k", KeyVaultKey(double.key_url, "RSA-OAEP-256", double.client))
        old = await wrapper.wrap(DATA_KEY, CONTEXT)
        double.rotate()
        new = await wrapper.wrap(DATA_KEY, CONTEXT)
        assert [one.partition(b":")[0].decode() for one in (old, new)] == list(double.versions)
        assert await wrapper.unwrap(old, CONTEXT) == await wrapper.unwrap(new, CONTEXT) == DATA_KEY
        double.hidden = True
        with pytest.raises(WrapperUnavailableError, match="allow the control plane get"):
            await wrapper.wrap(DATA_KEY, CONTEXT)
        double.failing = 403
        with pytest.raises(WrapperUnavailableError, match="does not have keys permission"):
            await wrapper.unwrap(new, CONTEXT)


async def test_aws_tells_what_it_refuses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with in_aws(tmp_path, monkeypatch) as make:
        gone = make()
        gone._keeper._arn = f"arn:aws:kms:{REGION}:123456789012:key/11111111-2222-3333-4444-555555555555"
        with pytest.raises(WrapperUnavailableError, match="encrypt was refused: NotFoundException"):
            await gone.wrap(DATA_KEY, CONTEXT)
        with Stubber(gone._keeper._client) as stub:
            stub.add_client_error("decrypt", "IncorrectKeyException")
            with pytest.raises(WrappedKeyError):
                await gone.unwrap(b"wrapped", CONTEXT)
    with pytest.raises(WrapperUnavailableError, match="Could not connect"):
        await gone.wrap(DATA_KEY, CONTEXT)


async def test_a_service_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control_plane.secrets.wrapping.sdk._PATIENCE", 0.05)
    answered = threading.Event()

    class Hanging:
        def wrap(self, data_key: bytes, context: bytes) -> bytes:
            answered.wait(10)
            return data_key + context

        unwrap = wrap

    try:
        with pytest.raises(WrapperUnavailableError, match=r"some-kms:k: no answer within 0\.05 s"):
            await KeptElsewhere("some-kms:k", Hanging()).wrap(DATA_KEY, CONTEXT)
    finally:
        answered.set()


SECRET = base64.b64encode(b"s" * 31).decode()


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (SECRET, "wrapping key an entry: begin with one of: file:, env:, age:"),
        ("keyring:x", "begin with one of"),
        ("file:", "wrapping key file:…: begin with"),
        ("file:/no/such/file", "file:/no/such/file: /no/such/file cannot be read: No such file"),
        (f"env:{SECRET}", "env:…: there is no such variable"),
        ("env:NO_SUCH_VARIABLE", "env:NO_SUCH_VARIABLE: there is no such variable"),
        ("env:SHORT", "31 bytes, a wrapping key has 32; make one with: openssl rand -base64 32"),
        ("env:WRONG", "env:WRONG: not base64"),
        ("aws-kms:alias/prod", "write the ARN of a key, not of an alias"),
        ("gcp-kms:projects/p/cryptoKeys/k", "write the name of a key, without a version"),
        ("azure-kms:http://x.vault.azure.net/keys/k", "write the URL of a key, without a version"),
        ("azure-kms:https://x.vault.azure.net/keys/k/0123", "without a version"),
        ("azure-kms:https://x.vault.azure.net/keys/k?algorithm=RSA1_5", "algorithm must be one of: RSA-OAEP-256"),
        ("vault-transit:http://vault:8200/transit/k?token_file=/t", "write it as https://"),
        ("vault-transit:https://vault:8200/k?token_file=/t", "write it as https://"),
        ("vault-transit:https://vault:8200/transit/k", "say how to sign in to Vault: token_file or "),
        ("vault-transit:https://vault:8200/transit/k?token_file=/t&role_id=x", "say how to sign in"),
        ("vault-transit:https://vault:8200/transit/k?token_file=", "say how to sign in"),
    ],
)
def test_a_mistake_is_told_and_no_key_is_repeated(entry: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORT", SECRET)
    monkeypatch.setenv("WRONG", "%" + SECRET)
    with pytest.raises(WrapperConfigurationError, match=problem) as caught:
        open_wrapper(entry)
    assert SECRET not in str(caught.value)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(base64.b64encode(os.urandom(32)).decode())
    for mode in (0o644, 0o604, 0o660):
        file.chmod(mode)
        for kind in ("file", "age"):
            with pytest.raises(WrapperConfigurationError, match="is open to other users; run: chmod"):
                open_wrapper(f"{kind}:{file}")


@pytest.mark.parametrize(
    "text", ["", "age1xwafu7f9677l3v03yrcr65fx", "AGE-SECRET-KEY-1\nAGE-SECRET-KEY-1", "AGE-SECRET-KEY-1X"]
)
def test_a_file_that_holds_no_identity_of_age_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "identity"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(WrapperConfigurationError, match=r"must hold one identity|not an X25519 identity") as caught:
        open_wrapper(f"age:{file}")
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "missing", "extra"),
    [
        (f"aws-kms:arn:aws:kms:{REGION}:123456789012:key/1", "boto3", "aws"),
        (f"gcp-kms:{google.KEY}", "google.cloud", "gcp"),
        ("azure-kms:https://x.vault.azure.net/keys/k", "azure.identity", "azure"),
        ("vault-transit:https://vault/transit/k?token_file=/t", "hvac", "vault"),
    ],
)
def test_a_library_that_is_missing_is_told_at_the_start(
    entry: str, missing: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(module: str) -> object:
        if module.startswith(missing):
            raise ModuleNotFoundError(module)
        return object()

    monkeypatch.setattr("control_plane.secrets.wrapping.sdk.find_spec", find)
    with pytest.raises(WrapperConfigurationError, match=rf"install assentry\[{extra}\]"):
        open_wrapper(entry)
