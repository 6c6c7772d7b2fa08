"""Uploads on a disk that refuses: one recording waits, the others go on, and the bytes of the spool stay right."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from data_plane.recording import upload
from data_plane.recording.format import RecordingEnd
from data_plane.recording.shelf import Shelf
from data_plane.recording.upload import Uploader
from data_plane.recording.writer import Compressor, RecordingWriter
from data_plane.runtime.tasks import spawn

SESSIONS = ("ses_1", "ses_2", "ses_3")


class Taken:
    """A control plane that takes everything."""

    instance_id = "inst_1"

    def __init__(self) -> None:
        self.ended: list[str] = []

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Taking]:
        yield Taking(self)


class Taking:
    def __init__(self, taken: Taken) -> None:
        self._taken = taken
        self._session = ""

    async def begin(self, session_id: str, instance_id: str) -> int:
        self._session = session_id
        return 0 if session_id not in self._taken.ended else 1

    async def segment(self, index: int, sealed: bytes) -> int:
        return index + 1

    async def end(self, end: RecordingEnd) -> bool:
        self._taken.ended.append(self._session)
        return True


def record(shelf: Shelf, session_id: str) -> None:
    """A whole recording of one segment."""
    writer = RecordingWriter(session_id)
    shelf.begin(session_id)
    data = writer.chunk(Compressor().pack([("input", 1, 1, "SELECT 1", ())]))
    shelf.append(writer, data)
    writer.written(data)
    shelf.seal(writer)
    shelf.end(session_id, writer.end(sign=None))


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setattr(upload, "_FIRST_PAUSE_SECONDS", 0.01)
    shelf = Shelf(tmp_path / "spool", 1 << 30)
    for session_id in SESSIONS:
        record(shelf, session_id)
    return shelf


async def all_stored(shelf: Shelf, reported: Callable[[float], bool] = lambda _: True) -> list[str]:
    """Which recordings left the spool, in order."""
    stored: list[str] = []
    all_of_them = asyncio.Event()

    def leaves(session_id: str) -> None:
        stored.append(session_id)
        if len(stored) == len(SESSIONS):
            all_of_them.set()

    uploader = Uploader(shelf, lambda session_id, why: None, leaves, reported)
    running = spawn(uploader.run(Taken()), "uploads")
    waiting = spawn(all_of_them.wait(), "stored")
    async with asyncio.timeout(10):
        await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
    for task in (running, waiting):
        task.cancel()
    await asyncio.wait([running, waiting])
    return stored


async def test_a_segment_that_cannot_be_read_now_holds_up_its_own_recording_only(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, real = [errno.EMFILE, errno.EIO], shelf.segment

    def unreadable_twice(session_id: str, index: int) -> bytes:
        if session_id == "ses_1" and left:
            error = left.pop()
            raise OSError(error, os.strerror(error))
        return real(session_id, index)

    monkeypatch.setattr(shelf, "segment", unreadable_twice)
    assert sorted(await all_stored(shelf)) == list(SESSIONS)
    assert shelf.listing() == []


async def test_a_recording_stays_until_the_reports_of_its_session_are_on_disk(shelf: Shelf) -> None:
    """Were the agent killed before that, nothing else would tell what it has done."""
    refused: list[list[str]] = []

    def reported(seconds: float) -> bool:
        if len(refused) < 2:
            refused.append([item.session_id for item in shelf.listing()])
        return len(refused) == 2

    stored = await all_stored(shelf, reported)
    assert refused[0] == list(SESSIONS)
    assert sorted(stored) == list(SESSIONS)


async def test_a_recording_that_cannot_be_removed_now_is_removed_later_and_the_others_go_on(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, real = ["ses_1"], Path.rmdir

    def busy_once(folder: Path) -> None:
        if left and left[0] in folder.name:
            left.clear()
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(folder)

    monkeypatch.setattr(Path, "rmdir", busy_once)
    assert sorted(await all_stored(shelf)) == list(SESSIONS)
    assert (shelf.listing(), shelf.size) == ([], 0)


def test_what_cannot_be_removed_counts_until_it_is(shelf: Shelf, tmp_path: Path) -> None:
    for session_id in SESSIONS[1:]:
        shelf.forget(session_id)
    stuck = tmp_path / "spool" / "ses_1" / "stuck"
    stuck.mkdir()
    with pytest.raises(OSError, match="stuck"):
        shelf.forget("ses_1")
    grave = tmp_path / "spool" / ".forgotten-ses_1"
    assert shelf.size == sum(file.stat().st_size for file in grave.iterdir() if file.is_file())
    assert [item.session_id for item in shelf.listing()] == ["ses_1"]
    (grave / "stuck").rmdir()
    shelf.forget("ses_1")
    assert (shelf.listing(), shelf.size, grave.exists()) == ([], 0, False)
