"""The profile: where the control plane is, and a sign-in that only its owner can read."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from control_plane.cli.config import DEFAULT_URL, Profile, load_profile, save_profile, stored_profile, write_private
from control_plane.cli.errors import CommandError


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ASSENTRY_URL", "ASSENTRY_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ASSENTRY_PROFILE", str(tmp_path / "assentry" / "profile.json"))
    return tmp_path / "assentry" / "profile.json"


def test_without_a_file_it_is_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: Path) -> None:
    monkeypatch.delenv("ASSENTRY_PROFILE")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nothing"))
    assert load_profile() == Profile(DEFAULT_URL)


def test_a_named_file_that_is_not_there_is_told_unless_nothing_of_it_is_needed(
    profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for needed in (load_profile, stored_profile):
        with pytest.raises(CommandError, match=r"/profile\.json: ASSENTRY_PROFILE names.*`assentry login`"):
            needed()
    assert stored_profile(new=True) == Profile(DEFAULT_URL), "who signs in makes the file"
    monkeypatch.setenv("ASSENTRY_URL", "https://two.example")
    assert load_profile() == Profile("https://two.example")
    monkeypatch.setenv("ASSENTRY_TOKEN", "two")
    assert load_profile() == Profile("https://two.example", "two")


def test_what_is_kept_is_found_again_and_private(profile: Path) -> None:
    profile.parent.mkdir()
    profile.write_text("{}")
    profile.chmod(0o644)
    kept = Profile("https://assentry.example", "secret-token", {"shop": "127.0.0.1:1"})
    save_profile(kept)
    assert load_profile() == kept
    assert stat.S_IMODE(profile.stat().st_mode) == 0o600
    assert "secret-token" not in repr(kept)


def test_the_environment_wins(profile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_profile(Profile("https://one.example", "one"))
    monkeypatch.setenv("ASSENTRY_URL", "https://two.example/")
    monkeypatch.setenv("ASSENTRY_TOKEN", "two\n")
    assert load_profile() == Profile("https://two.example", "two")


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"token": "x"}', b"\xff"])
def test_a_file_that_is_no_profile_is_named(profile: Path, content: bytes) -> None:
    profile.parent.mkdir()
    profile.write_bytes(content)
    with pytest.raises(CommandError, match=r"profile\.json: not a profile"):
        load_profile()


def test_a_private_file_is_replaced_whole_and_links_are_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("untouched")
    (tmp_path / "key").symlink_to(elsewhere)
    write_private(tmp_path / "key", b"secret")
    assert elsewhere.read_text() == "untouched"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"key", "elsewhere"}
