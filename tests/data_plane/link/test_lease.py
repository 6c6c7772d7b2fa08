"""The lease: on the monotonic clock, over restarts, and over a wall clock that jumps."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import structlog

from data_plane.link.lease import Lease


class TwoClocks:
    def __init__(self) -> None:
        self.wall, self.steady = 1_000_000.0, 500.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.steady

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
def clock() -> TwoClocks:
    return TwoClocks()


def test_an_agent_without_a_lease_may_not_serve(tmp_path: Path, clock: TwoClocks) -> None:
    assert not Lease(tmp_path / "lease", clock).valid


def test_it_counts_from_the_question_not_from_the_answer(tmp_path: Path, clock: TwoClocks) -> None:
    lease = Lease(tmp_path / "lease", clock)
    asked_at = clock.monotonic()
    clock.pass_(20)
    lease.renewed(asked_at, 60)
    assert lease.seconds_left == 40


def test_a_late_answer_to_an_old_question_never_shortens_it(tmp_path: Path, clock: TwoClocks) -> None:
    lease = Lease(tmp_path / "lease", clock)
    lease.renewed(clock.monotonic(), 60)
    lease.renewed(clock.monotonic() - 30, 60)
    assert lease.seconds_left == 60


def test_a_restart_neither_prolongs_nor_ends_it(tmp_path: Path, clock: TwoClocks) -> None:
    Lease(tmp_path / "lease", clock).renewed(clock.monotonic(), 60)
    clock.pass_(25)
    clock.steady = 3  # another process, perhaps after a reboot
    assert Lease(tmp_path / "lease", clock).seconds_left == pytest.approx(35)
    clock.pass_(35)
    assert not Lease(tmp_path / "lease", clock).valid


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_a_jump_of_the_wall_clock_changes_nothing_while_it_runs(tmp_path: Path, clock: TwoClocks, jump: float) -> None:
    lease = Lease(tmp_path / "lease", clock)
    lease.renewed(clock.monotonic(), 60)
    clock.wall += jump
    assert lease.seconds_left == 60
    clock.pass_(61)
    assert not lease.valid


def test_a_clock_that_jumped_back_gives_one_lease_at_most_at_a_restart(tmp_path: Path, clock: TwoClocks) -> None:
    Lease(tmp_path / "lease", clock).renewed(clock.monotonic(), 60)
    clock.wall -= 1_000_000
    assert Lease(tmp_path / "lease", clock).seconds_left == 60


def test_an_agent_that_was_refused_has_none_even_after_a_restart(tmp_path: Path, clock: TwoClocks) -> None:
    lease = Lease(tmp_path / "lease", clock)
    lease.renewed(clock.monotonic(), 60)
    lease.end()
    assert not lease.valid
    assert not Lease(tmp_path / "lease", clock).valid


@pytest.mark.parametrize("content", [b"", b"nonsense", b"{}", b'{"until": "x", "seconds": 1}'])
def test_a_damaged_file_is_no_lease(tmp_path: Path, clock: TwoClocks, content: bytes) -> None:
    (tmp_path / "lease").write_bytes(content)
    assert not Lease(tmp_path / "lease", clock).valid


def test_a_lease_that_cannot_be_written_counts_and_a_restart_finds_the_one_before(
    tmp_path: Path, clock: TwoClocks
) -> None:
    state, away = tmp_path / "state", tmp_path / "away"
    state.mkdir()
    lease = Lease(state / "lease", clock)
    lease.renewed(clock.monotonic(), 60)
    clock.pass_(20)
    state.rename(away)
    lease.renewed(clock.monotonic(), 60)
    assert lease.seconds_left == 60
    away.rename(state)
    assert Lease(state / "lease", clock).seconds_left == pytest.approx(40)


def test_a_disk_that_refuses_is_told_once_and_so_is_its_return(tmp_path: Path, clock: TwoClocks) -> None:
    state, away = tmp_path / "state", tmp_path / "away"
    state.mkdir()
    lease = Lease(state / "lease", clock)
    with structlog.testing.capture_logs() as logs:
        state.rename(away)
        for _ in range(3):
            lease.renewed(clock.monotonic(), 60)
        away.rename(state)
        for _ in range(3):
            lease.renewed(clock.monotonic(), 60)
    assert [line["log_level"] for line in logs] == ["error", "info"]
    assert logs[0]["error"] == "No such file or directory"


def test_a_refused_agent_has_no_lease_also_when_its_file_cannot_be_removed(
    tmp_path: Path, clock: TwoClocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = Lease(tmp_path / "lease", clock)
    lease.renewed(clock.monotonic(), 60)
    monkeypatch.setattr(Path, "unlink", _read_only)
    lease.end()
    assert not lease.valid


def _read_only(*_: object, **__: object) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))
