"""Recordings taken in: in order, resumed, never repeated, broken by the least change, and read again."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from control_plane.recordings.archive import archived
from control_plane.recordings.domain import Status
from control_plane.recordings.endpoints import _end
from control_plane.recordings.local_store import LocalStore
from control_plane.recordings.ports import SegmentMissingError
from control_plane.recordings.service import Ended, NotTaken, Whole
from control_plane.sessions.reports import ClosedReport
from data_plane.recording import model
from data_plane.recording.format import RecordingEnd
from data_plane.recording.reader import Broken, Verified, verify
from tests.control_plane.recordings.recorded import OPENED, PUBLIC, recording
from tests.control_plane.world import INSTANCE, REPORTER, World

EVENTS = (
    [OPENED, model.Input(5, 1, "SELECT 1")],
    [model.Completed(9, 1, "SELECT 1", 1, 1, 20)],
    [model.Closed(12, "client-closed", 1)],
)


async def begin(world: World, instance: str = INSTANCE) -> int | NotTaken:
    async with world.units() as uow:
        return await world.recordings.begin(uow, instance, "ses_1")


async def send(world: World, index: int, data: bytes, instance: str = INSTANCE) -> int | NotTaken:
    kept = await world.recordings.keep("ses_1", index, data)
    async with world.units() as uow:
        return await world.recordings.segment(uow, instance, "ses_1", kept)


async def end(world: World, said: RecordingEnd, keys: tuple[bytes, ...] = (PUBLIC,)) -> Ended | NotTaken:
    async with world.units() as uow:
        return await world.recordings.end(uow, INSTANCE, "ses_1", said, keys)


async def whole(world: World) -> Whole:
    async with world.units.reading() as uow:
        found = await world.recordings.whole(uow, "ses_1")
    assert found is not None
    return found


async def taken(world: World, *, signed: bool = True) -> list[bytes]:
    """A whole recording has been sent and ended; its segments."""
    segments, said = recording(*EVENTS, signed=signed)
    await world.open_session()
    await begin(world)
    for index, data in enumerate(segments):
        await send(world, index, data)
    assert isinstance(await end(world, said), Ended)
    return segments


async def test_a_recording_arrives_whole_and_is_signed(world: World) -> None:
    await taken(world)
    found = await whole(world)
    assert found.row.status == Status.COMPLETE
    assert await world.recordings.verified(found, b"") == Verified(
        3, found.row.chain_hash, signed=True, recovered=False
    )
    assert await world.audited_kinds("recording.") == ["recording.complete"]


async def test_after_a_crash_it_is_valid_to_its_last_segment_and_says_so(world: World) -> None:
    await taken(world, signed=False)
    found = await whole(world)
    assert found.row.status == Status.TRUNCATED
    verified = await world.recordings.verified(found, b"")
    assert isinstance(verified, Verified)
    assert not verified.signed


async def test_an_upload_that_was_cut_goes_on_where_it_was(world: World) -> None:
    segments, said = recording(*EVENTS)
    await world.open_session()
    assert await begin(world) == 0
    assert await send(world, 0, segments[0]) == 1
    assert await begin(world) == 1
    assert await send(world, 0, segments[0]) == 1, "one that is here already is acknowledged again"
    assert await send(world, 1, segments[1]) == 2
    assert await send(world, 2, segments[2]) == 3
    assert await end(world, said) == Ended(Status.COMPLETE)
    assert await end(world, said) == Ended(Status.COMPLETE), "and so is the end"
    assert await send(world, 2, segments[2]) == 3
    assert [segment.number for segment in (await whole(world)).segments] == [0, 1, 2]


async def test_a_gap_breaks_it(world: World) -> None:
    segments, _ = recording(*EVENTS)
    await world.open_session()
    await begin(world)
    await send(world, 0, segments[0])
    answer = await send(world, 2, segments[2])
    assert answer == NotTaken("segment 1: segment 2 came in its place")
    assert await begin(world) == answer
    assert await send(world, 1, segments[1]) == answer, "broken stays broken"
    assert (await whole(world)).row.status == Status.BROKEN
    assert await world.audited_kinds("recording.") == ["recording.broken"]


async def test_other_content_for_a_segment_that_is_here_breaks_it_and_overwrites_nothing(world: World) -> None:
    segments, _ = recording(*EVENTS)
    others, _ = recording([OPENED, model.Input(5, 1, "SELECT 2")])
    await world.open_session()
    await begin(world)
    await send(world, 0, segments[0])
    assert isinstance(await send(world, 0, others[0]), NotTaken)
    assert [data async for data in world.recordings.data(await whole(world))] == [segments[0]]


@pytest.mark.parametrize("at", [0, 20, -1])
async def test_one_changed_byte_breaks_it(world: World, at: int) -> None:
    segments, _ = recording(*EVENTS)
    changed = bytearray(segments[0])
    changed[at] ^= 1
    await world.open_session()
    await begin(world)
    assert isinstance(await send(world, 0, bytes(changed)), NotTaken)


async def test_a_segment_of_another_session_breaks_it(world: World) -> None:
    segments, _ = recording(*EVENTS, session_id="ses_2")
    await world.open_session()
    await begin(world)
    answer = await send(world, 0, segments[0])
    assert answer == NotTaken("segment 0: it belongs to another session")


async def test_an_end_that_names_fewer_segments_breaks_it(world: World) -> None:
    segments, _ = recording(*EVENTS)
    _, shorter = recording(*EVENTS[:2])
    await world.open_session()
    await begin(world)
    for index, data in enumerate(segments):
        await send(world, index, data)
    assert isinstance(await end(world, shorter), NotTaken)


async def test_a_signature_of_another_key_breaks_it(world: World) -> None:
    segments, said = recording(*EVENTS)
    await world.open_session()
    await begin(world)
    for index, data in enumerate(segments):
        await send(world, index, data)
    assert await end(world, said, (bytes(32),)) == NotTaken("segment 3: the signature at the end is wrong")


async def test_the_hash_that_was_reported_at_the_close_must_be_the_same(world: World) -> None:
    """Segments taken from the end leave a valid chain; the session's own report finds them missing."""
    segments, said = recording(*EVENTS[:2])
    await world.open_session()
    report = ClosedReport("ses_1", world.clock.ms, "client-closed", 1, recording(*EVENTS)[1].chain_hash)
    async with world.units() as uow:
        await world.sessions.closed(uow, REPORTER, report)
    await begin(world)
    for index, data in enumerate(segments):
        await send(world, index, data)
    answer = await end(world, said)
    assert isinstance(answer, NotTaken)
    assert "reported when the session closed" in answer.reason


async def test_another_agent_s_recording_is_not_taken(world: World) -> None:
    segments, _ = recording(*EVENTS)
    await world.open_session()
    assert isinstance(await begin(world, "ins_other"), NotTaken)
    await begin(world)
    assert isinstance(await send(world, 0, segments[0], "ins_other"), NotTaken)
    assert (await whole(world)).row.status == Status.RECEIVING


# ------------------------------------------------------------------ read again


def files(world: World) -> list[Path]:
    return sorted(world.store_folder.rglob("*.segment"))


async def test_a_byte_changed_in_the_store_is_found(world: World) -> None:
    await taken(world)
    file = files(world)[1]
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    found = await world.recordings.verified(await whole(world), b"")
    assert isinstance(found, Broken)
    assert found.index == 1


async def test_a_segment_that_is_gone_is_found(world: World) -> None:
    await taken(world)
    files(world)[2].unlink()
    found = await world.recordings.verified(await whole(world), b"")
    assert isinstance(found, Broken)
    assert "cannot be read" in found.reason


async def test_a_download_is_verified_with_nothing_else(world: World) -> None:
    segments = await taken(world)
    found = await whole(world)
    data = b"".join([part async for part in archived(world.recordings.data(found), _end(found), 0)])
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        contents = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    told = json.loads(contents.pop("ses_1/end.json"))
    assert list(contents.values()) == segments
    assert told["status"] == "complete"
    _, said = recording(*EVENTS)
    assert isinstance(verify("ses_1", contents.values(), said, [PUBLIC]), Verified)


# ------------------------------------------------------------------ the local store


async def test_the_store_keeps_whole_files_that_only_their_owner_reads(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "recordings")
    await store.put("ses_1", "00000000-aa", b"data")
    await store.put("ses_1", "00000000-aa", b"data")
    assert await store.get("ses_1", "00000000-aa") == b"data"
    stored = [path for path in (tmp_path / "recordings").rglob("*") if path.is_file()]
    assert [path.name for path in stored] == ["00000000-aa.segment"]
    assert stored[0].stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "a/b", "a\0b", "x" * 200])
async def test_no_name_leads_out_of_the_store(tmp_path: Path, name: str) -> None:
    store = LocalStore(tmp_path)
    with pytest.raises(SegmentMissingError):
        await store.put(name, "00000000-aa", b"data")
    with pytest.raises(SegmentMissingError):
        await store.get("ses_1", name)
