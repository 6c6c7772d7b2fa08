"""When decisions that policy took by itself are due at the audit log."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from data_plane.recording import decisions
from data_plane.recording.decisions import GATHER_SECONDS, GatheredDecisions
from data_plane.recording.interface import Decisions, RecordingError
from data_plane.recording.pieces import Batch, enter
from data_plane.recording.recorder import SessionRecorder
from data_plane.recording.writer import Compressor
from tests.data_plane.recording.chains import OPENED
from tests.data_plane.recording.test_spool import World as SpoolWorld


def allowed() -> list[Batch]:
    batches: list[Batch] = []
    enter(batches, 1, 0, "allow", "read", ("p/r",), "")
    return batches


class World:
    def __init__(self) -> None:
        self.now = 100.0
        self.told: list[Decisions] = []
        self.gathered = GatheredDecisions(self, Compressor(), lambda: self.now)

    def decisions(self, batch: Decisions) -> None:
        self.told.append(batch)

    def closed(self, session_id: str, reason: str, operations: int, recording_hash: bytes) -> None:
        raise AssertionError("no session ends here")

    def wake(self, recorder: SessionRecorder) -> None:
        del recorder

    hurry = wake

    def recorder(self, session_id: str) -> SessionRecorder:
        opened = msgspec.structs.replace(OPENED, session_id=session_id)
        return SessionRecorder(opened, self, lambda: self.now, lambda _: None)


async def test_all_are_due_when_the_oldest_has_waited_long_enough() -> None:
    world = World()
    first, second = world.recorder("ses_1"), world.recorder("ses_2")
    world.gathered.add(first, allowed())
    assert world.gathered.due_in_seconds == pytest.approx(GATHER_SECONDS)
    world.now += GATHER_SECONDS * 0.75
    world.gathered.add(second, allowed())
    assert world.gathered.due_in_seconds == pytest.approx(GATHER_SECONDS * 0.25)
    assert world.gathered.due() == ()
    world.now += GATHER_SECONDS * 0.5
    assert world.gathered.due_in_seconds == 0
    assert world.gathered.due() == [first, second]
    assert world.told == []
    assert world.gathered.due() == (), "they were tried just now"


async def test_a_journal_that_refuses_is_tried_again_and_the_session_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decisions, "GATHER_SECONDS", 0.01)
    world = SpoolWorld(tmp_path / "spool")
    recorder = await world.open()
    tries: asyncio.Queue[object] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def refuses(batch: Decisions) -> None:
        loop.call_soon_threadsafe(tries.put_nowait, batch)
        raise RecordingError("the journal is full")

    monkeypatch.setattr(world.reports, "decisions", refuses)
    recorder.decided(1, "allow", "read", ("p/r",))
    for _ in range(10):
        await asyncio.wait_for(tries.get(), 5)
    assert world.failed.qsize() == len(world.spool._unfinished) == 1
    monkeypatch.undo()
    world.spool.stop()
