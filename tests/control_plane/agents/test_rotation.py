"""The three steps of a rotation: none too early, none twice, none half."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from control_plane.__main__ import main
from control_plane.agents import rotation
from control_plane.agents.authority import CertificateAuthority
from control_plane.agents.rotation import RotationError
from tests.support.sealing import files_of

NOW = datetime(2026, 3, 1, tzinfo=UTC)
WAIT = timedelta(days=3)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    CertificateAuthority.open(tmp_path / "ca", NOW, files_of(tmp_path))
    return tmp_path / "ca"


def trusted(directory: Path) -> list[bytes]:
    """The one that signs first."""
    pem = CertificateAuthority.open(directory, NOW, files_of(directory.parent)).certificates
    return [part for part in pem.split(b"-----BEGIN CERTIFICATE-----") if part]


def test_the_new_one_is_trusted_then_signs_then_is_alone(directory: Path) -> None:
    [old] = trusted(directory)
    rotation.prepare(directory, NOW, files_of(directory.parent))
    assert trusted(directory)[0] == old
    _, new = trusted(directory)
    rotation.switch(directory, NOW + WAIT, WAIT)
    assert trusted(directory) == [new, old]
    os.utime(directory / "old.pem", (NOW.timestamp(), NOW.timestamp()))
    rotation.forget(directory, NOW + WAIT, WAIT)
    assert trusted(directory) == [new]
    assert sorted(path.name for path in directory.iterdir()) == ["ca.key", "ca.pem"]
    assert (directory / "ca.key").stat().st_mode & 0o777 == 0o600


def test_no_step_comes_before_agents_have_heard_of_the_last_one(directory: Path) -> None:
    rotation.prepare(directory, NOW, files_of(directory.parent))
    with pytest.raises(RotationError, match="wait until 2026-03-04 00:00 UTC"):
        rotation.switch(directory, NOW + WAIT - timedelta(minutes=1), WAIT)
    rotation.switch(directory, NOW + WAIT, WAIT)
    with pytest.raises(RotationError, match="wait until"):
        rotation.forget(directory, datetime.now(UTC), WAIT)


def test_steps_are_taken_in_order(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(RotationError, match="ca-prepare first"):
        rotation.switch(directory, NOW, WAIT)
    with pytest.raises(RotationError, match="no old authority"):
        rotation.forget(directory, NOW, WAIT)
    rotation.prepare(directory, NOW, files_of(directory.parent))
    with pytest.raises(RotationError, match="under way"):
        rotation.prepare(directory, NOW, files_of(directory.parent))
    with pytest.raises(RotationError, match="start the control plane once"):
        rotation.prepare(tmp_path, NOW, files_of(directory.parent))


def test_a_switch_that_was_cut_short_is_finished_at_the_next_start(directory: Path) -> None:
    rotation.prepare(directory, NOW, files_of(directory.parent))
    old, new = trusted(directory)
    (directory / "old.pem").write_bytes((directory / "ca.pem").read_bytes())
    (directory / "next.key").replace(directory / "ca.key")
    assert trusted(directory) == [new, old]


def test_the_command_says_what_to_do_next_or_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    CertificateAuthority.open(tmp_path / "ca", datetime.now(UTC), files_of(tmp_path))
    monkeypatch.setenv("ASSENTRY_STATE_DIR", str(tmp_path))
    assert main(["ca-prepare"]) == 0
    assert "ca-switch" in capsys.readouterr().out
    assert main(["ca-switch"]) == 1
    assert "wait until" in capsys.readouterr().err
