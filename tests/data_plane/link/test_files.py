"""Files of the state directory: private, and whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_plane.link.files import private_directory, write_atomically
from data_plane.link.identity import Identity, IdentityStore
from data_plane.link.snapshots import SnapshotStore
from data_plane.policy.snapshot import SignedSnapshot


def identity() -> Identity:
    return Identity("demo", "agt_1", "test", b"KEY1", b"CERT1", b"KEY2", b"CERT2", b"CA", {"key_1": bytes(32)})


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    folder = private_directory(tmp_path / "state")
    store = IdentityStore(folder)
    store.keep(identity())
    assert mode(folder) == 0o700
    assert {mode(file) for file in folder.iterdir()} == {0o600}
    assert store.load() == identity()
    assert store.listener_pem.read_bytes() == b"KEY2CERT2"


def test_a_state_directory_that_others_can_enter_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o755)
    with pytest.raises(PermissionError, match="chmod 700"):
        private_directory(tmp_path / "state")


def test_a_write_that_fails_leaves_the_old_content_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    write_atomically(file, b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="space"):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_an_identity_prints_no_key() -> None:
    assert "KEY" not in f"{identity()!r} {identity()}"


def test_a_snapshot_is_kept_as_it_was_signed(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path / "snapshot")
    assert store.load() is None
    signed = SignedSnapshot(b"payload", b"signature", "key_1")
    store.keep(signed)
    assert store.load() == signed
    (tmp_path / "snapshot").write_bytes(b"\xc1damaged")
    assert store.load() is None
