"""The control plane's own keys in files: sealed from the first start on, whatever they were before."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from control_plane.agents import rotation
from control_plane.assembly import ControlPlane
from control_plane.config import Settings
from control_plane.kit.clock import SystemClock
from control_plane.kit.keys import SigningKeys
from control_plane.kit.sealing import SealError
from control_plane.kit.starting import StartError
from control_plane.secrets.config import DEFAULT_FILE
from control_plane.secrets.envelope import Envelope
from control_plane.secrets.feature import Sealing
from control_plane.secrets.sealed_files import SealedFiles
from tests.control_plane.conftest import QUICK
from tests.control_plane.secrets.keys import PlayedKey

KEYS = 3  # of the agents' authority, of the SSH authority, for signing
PEM = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def started(folder: Path, **settings: str) -> ControlPlane:
    """A control plane that was made, as `serve` and `init` make it."""
    return ControlPlane(Settings(state_dir=folder, grpc_address="127.0.0.1:0", **settings), SystemClock(), QUICK)


def open_keys(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and b"PRIVATE KEY" in file.read_bytes()]


async def test_no_key_of_a_new_installation_lies_open(tmp_path: Path) -> None:
    made = started(tmp_path)
    assert open_keys(tmp_path) == []
    assert {file.name for file in tmp_path.rglob("*.key")} == {"ca.key", DEFAULT_FILE}
    assert {file.stat().st_mode & 0o777 for file in [*tmp_path.rglob("*.key"), *tmp_path.glob("keys/*")]} == {0o600}
    assert started(tmp_path).keys.public_keys() == made.keys.public_keys()
    rotation.prepare(tmp_path / "ca", SystemClock().now(), made.sealing.files)
    assert open_keys(tmp_path) == []


async def test_keys_of_an_older_version_are_sealed_at_the_next_start(tmp_path: Path) -> None:
    made = started(tmp_path)
    files = made.sealing.files
    kept = {file: files.read(file, what) for file, what in files._known.items()}
    for file, content in kept.items():
        file.write_bytes(content)
    (tmp_path / DEFAULT_FILE).unlink()
    assert len(open_keys(tmp_path)) == KEYS
    again = started(tmp_path)
    assert open_keys(tmp_path) == []
    assert again.keys.public_keys() == made.keys.public_keys()
    assert again.authority.certificates == made.authority.certificates


async def test_files_that_were_swapped_do_not_open(tmp_path: Path) -> None:
    started(tmp_path)
    [signing] = (tmp_path / "keys").iterdir()
    shutil.copy(signing, tmp_path / "ca" / "ca.key")
    with pytest.raises(StartError, match="was it swapped"):
        started(tmp_path)


async def test_an_authority_whose_key_and_certificate_do_not_belong_together_is_refused(tmp_path: Path) -> None:
    made = started(tmp_path)
    rotation.prepare(tmp_path / "ca", SystemClock().now(), made.sealing.files)
    shutil.copy(tmp_path / "ca" / "next.key", tmp_path / "ca" / "ca.key")
    with pytest.raises(StartError, match="take both from the same backup"):
        started(tmp_path)


async def test_keys_of_another_deployment_do_not_open(tmp_path: Path) -> None:
    started(tmp_path, deployment="prod")
    with pytest.raises(StartError, match="ASSENTRY_DEPLOYMENT changed from 'test'"):
        started(tmp_path, deployment="test")


async def test_without_its_wrapping_key_nothing_starts_and_nothing_is_made_anew(tmp_path: Path) -> None:
    started(tmp_path)
    before = {file: file.read_bytes() for file in (tmp_path / "keys").iterdir()}
    (tmp_path / DEFAULT_FILE).unlink()
    with pytest.raises(StartError, match="which is not configured: add it to ASSENTRY_WRAPPING_KEYS"):
        started(tmp_path)
    assert {file: file.read_bytes() for file in (tmp_path / "keys").iterdir()} == before


async def test_a_key_that_is_configured_later_takes_over_and_the_one_in_the_folder_can_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = started(tmp_path)
    monkeypatch.setenv("KEEPER", "a" * 43 + "=")
    again = started(tmp_path, wrapping_keys="env:KEEPER")
    assert again.sealing.envelope.configured[1] == first.sealing.envelope.wraps_with
    assert again.sealing.files.by_wrapping_key() == {again.sealing.envelope.wraps_with: KEYS}
    (tmp_path / DEFAULT_FILE).unlink()
    assert started(tmp_path, wrapping_keys="env:KEEPER").keys.public_keys() == first.keys.public_keys()
    assert not (tmp_path / DEFAULT_FILE).exists()


def test_a_key_that_cannot_be_asked_for_stops_the_start_in_words(tmp_path: Path) -> None:
    key = PlayedKey("far")
    files = SealedFiles(Envelope([key]), "test")
    SigningKeys.open(tmp_path, files)
    key.away = True
    with pytest.raises(SealError, match=r"0001-key_\w+\.pem: played:far cannot be asked now"):
        SigningKeys.open(tmp_path, files)


async def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be read in the middle of an event loop too, as tests and replicas do."""
    file = tmp_path / "one.pem"
    file.write_bytes(PEM)
    files = SealedFiles(Envelope([PlayedKey("one")]), "test")
    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(OSError, match="no space"):
        files.read(file, "signing-key")
    assert [one.name for one in tmp_path.iterdir()] == ["one.pem"]
    assert file.read_bytes() == PEM
    monkeypatch.undo()
    assert files.read(file, "signing-key") == PEM
    assert b"PRIVATE" not in file.read_bytes()


def broken(*_: object) -> None:
    raise OSError("no space")


@pytest.mark.parametrize("entry", ["file:/nowhere", "env:NOT_SET_AT_ALL", "nonsense", "file:"])
def test_a_wrapping_key_that_cannot_be_used_is_told_by_its_setting(tmp_path: Path, entry: str) -> None:
    with pytest.raises(StartError, match=r"^ASSENTRY_WRAPPING_KEYS: "):
        Sealing(entry, tmp_path, "test")
