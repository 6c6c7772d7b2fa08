"""Who is alive: told by the kernel, not by clocks."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from data_plane.credentials.owners import Owners

_HOLD = """
import sys, pathlib
from data_plane.credentials.owners import Owners
held = Owners(pathlib.Path(sys.argv[1]), "other")
print("held", held.leads, flush=True)
sys.stdin.read()
"""


def holding(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Another process that lives as `other`, and what it says."""
    command = [sys.executable, "-c", _HOLD, str(folder)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    return other, other.stdout.readline().strip()


def test_a_process_that_is_killed_is_dead_at_once(tmp_path: Path) -> None:
    own = Owners(tmp_path / "owners", "own")
    other, said = holding(tmp_path / "owners")
    assert said == "held True"
    assert own.alive("other")
    assert not own.leads

    other.send_signal(signal.SIGKILL)
    other.communicate()

    assert not own.alive("other")
    assert own.leads
    own.close()


def test_an_owner_that_never_was_is_dead_and_oneself_is_alive(tmp_path: Path) -> None:
    own = Owners(tmp_path / "owners", "own")
    assert not own.alive("nobody")
    assert own.alive("own")
    own.close()


def test_looking_at_an_owner_does_not_make_it_look_alive_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "owners"
    Owners(folder, "dead").close()
    own = Owners(folder, "own")
    with (folder / "dead.lock").open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)  # as another process does at this moment
        assert not own.alive("dead")
    own.close()


def test_files_of_the_dead_go_when_nothing_belongs_to_them_any_more(tmp_path: Path) -> None:
    folder = tmp_path / "owners"
    for name in ("first", "second"):
        Owners(folder, name).close()
    own = Owners(folder, "own")

    own.forget_dead(but=frozenset({"second"}))

    assert sorted(file.name for file in folder.iterdir()) == ["own.lock", "second.lock"]
    own.close()


def test_the_file_of_a_living_process_stays(tmp_path: Path) -> None:
    living, own = Owners(tmp_path / "owners", "living"), Owners(tmp_path / "owners", "own")
    own.forget_dead(but=frozenset())
    assert own.alive("living")
    living.close()
    own.close()


def test_a_file_that_is_removed_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `forget_dead` of another process may do in the moment between."""
    folder = tmp_path / "owners"
    other = Owners(folder, "other")
    lock, seen = fcntl.flock, 0

    def flock(descriptor: int, kind: int) -> None:
        nonlocal seen
        seen += 1
        if seen == 1:
            (folder / "own.lock").unlink()
        lock(descriptor, kind)

    monkeypatch.setattr(fcntl, "flock", flock)
    own = Owners(folder, "own")

    assert seen == 2
    assert other.alive("own")
    own.close()
    other.close()
