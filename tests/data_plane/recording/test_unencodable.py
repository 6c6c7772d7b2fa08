"""An event that MessagePack cannot hold ends its own session, and nothing else is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from data_plane.recording import reader
from data_plane.recording.interface import RecordingError
from data_plane.recording.model import Input
from tests.data_plane.recording.test_spool import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path / "spool")
    yield made
    made.spool.stop()


async def test_a_session_whose_event_cannot_be_encoded_ends_with_what_was_written_before(world: World) -> None:
    recorder, other = await world.open("ses_1"), await world.open("ses_2")
    recorder.input(1, "select 1")
    written = asyncio.ensure_future(recorder.durable())
    await asyncio.sleep(0)  # it is on its way to the thread
    recorder.input(2, "half a character: \ud800")
    recorder.decided(2, "allow", "read", ("p/r",))
    with pytest.raises(RecordingError, match="cannot be encoded"):
        await recorder.durable()
    await written
    assert "cannot be encoded" in await world.failed.get()
    with pytest.raises(RecordingError, match="cannot be encoded"):
        recorder.input(3, "select 1")
    ended = await world.ended("ses_1")
    assert ended.end is not None
    assert not ended.end.complete
    sealed = reader.sealed_events(world.shelf.segment("ses_1", 0))
    assert [event.text for event in sealed if isinstance(event, Input)] == ["select 1"]
    assert [batch.last_operation for batch in world.of("ses_1")] == [2], "the decision was made and is told"
    await other.durable()
