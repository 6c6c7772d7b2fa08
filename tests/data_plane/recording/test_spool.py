"""The recording thread: strict, bounded, and honest about what it could not keep (DESIGN invariants 8 and 11)."""

from __future__ import annotations

import asyncio
import random
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
import zstandard

from data_plane.recording import decisions, reader, spool
from data_plane.recording.interface import Decisions, RecordingError
from data_plane.recording.model import AGENT_CRASHED, Closed, Decided, Input, Opened, Output
from data_plane.recording.recorder import SessionRecorder
from data_plane.recording.shelf import Shelf, Spooled
from data_plane.recording.spool import Spool
from data_plane.runtime.clock import SystemClock
from tests.data_plane.recording.chains import KEY, OPENED, PUBLIC, unpacked


class Reports:
    def __init__(self) -> None:
        self.batches: list[tuple[str, int, int, list]] = []
        self.told: list[Decisions] = []
        self.closings: list[tuple[str, str, int, bytes]] = []
        self.broken = False

    def decisions(self, batch: Decisions) -> None:
        if self.broken:
            raise OSError("the journal is full")
        self.told.append(batch)
        self.batches.append((batch.session_id, batch.first_operation, batch.count, unpacked(batch.entries)))

    def closed(self, session_id: str, reason: str, operations: int, recording_hash: bytes) -> None:
        self.closings.append((session_id, reason, operations, recording_hash))


class World:
    def __init__(self, folder: Path) -> None:
        self.shelf = Shelf(folder, 1 << 30)
        self.recovered = self.shelf.recover()
        self.reports = Reports()
        self.sealed = asyncio.Event()
        self.failed: asyncio.Queue[str] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self.spool = Spool(
            self.shelf, clock=SystemClock(), reports=self.reports, sign=KEY.sign, on_sealed=self._on_sealed
        )
        self.spool.start()

    def _on_sealed(self, _: str) -> None:
        self._loop.call_soon_threadsafe(self.sealed.set)

    async def open(self, name: str = "ses_1"):
        return await self.spool.open(msgspec.structs.replace(OPENED, session_id=name), self.failed.put_nowait)

    def of(self, name: str) -> list[Decisions]:
        """What was reported of one session."""
        return [batch for batch in self.reports.told if batch.session_id == name]

    async def written(self, recorders: list[SessionRecorder]) -> None:
        """Everything so far is in the files; unlike `durable` it does not ask for reports."""
        await asyncio.gather(*(recorder._written(sync=False) for recorder in recorders))

    async def ended(self, name: str = "ses_1") -> Spooled:
        while True:
            found = [item for item in self.shelf.listing() if item.session_id == name and item.end is not None]
            if found:
                return found[0]
            self.sealed.clear()
            await self.sealed.wait()

    def events(self, item: Spooled) -> list:
        chain, events = reader.ChainReader(item.session_id), []
        for index in range(item.segments):
            segment = chain.add(self.shelf.segment(item.session_id, index))
            assert isinstance(segment, reader.Segment), segment
            events += list(reader.events(segment))
        assert item.end is not None
        assert isinstance(chain.finish(item.end, [PUBLIC]), reader.Verified)
        return events


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path / "spool")
    yield made
    made.spool.stop()


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond 64 KiB: what a full disk looks like to one session."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN, "Python ignores it: a write fails instead"
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def noise(size: int) -> bytes:
    """Does not compress."""
    return random.Random(7).randbytes(size)


async def test_a_session_is_recorded_signed_and_reported(world: World) -> None:
    recorder = await world.open()
    recorder.input(1, "SELECT 1", [("$1", "int4", "7")])
    recorder.decided(1, "allow", "read", ("p/reads",))
    recorder.output(1, b"row")
    recorder.completed(1, "SELECT 1", 1, 1, 3)
    recorder.held(2, "apr_1", b"d" * 32, "K7", "1 of dba")
    recorder.hold_ended(2, "apr_1", "approved", "", ["ada"])
    recorder.closed("client-closed")
    item = await world.ended()
    events = world.events(item)
    assert [type(event).__name__ for event in events] == [
        "Opened", "Input", "Decided", "Output", "Completed", "HeldForApproval", "HoldEnded", "Closed",
    ]  # fmt: skip
    assert isinstance(events[1], Input)
    assert events[1].parameters == (("$1", "int4", "7"),)
    assert isinstance(events[2], Decided)
    assert isinstance(events[3], Output)
    assert isinstance(events[-1], Closed)
    assert item.end is not None
    assert item.end.complete
    [(session, first, count, entries)] = world.reports.batches
    assert (session, first, count) == ("ses_1", 1, 1)
    assert entries[0][:1] + entries[0][2:] == [1, "allow", "read", ["p/reads"], ""]
    assert entries[0][1] >= OPENED.started_at_ms
    assert world.reports.closings == [("ses_1", "client-closed", 1, item.end.chain_hash)]


async def test_durable_returns_when_everything_before_it_is_in_the_file(world: World) -> None:
    recorder = await world.open()
    for number in range(1, 200):
        recorder.decided(number, "allow", "read", ("p/r",))
    await recorder.durable()
    assert sum(count for _, _, count, _ in world.reports.batches) == 199
    [open_file] = (world.shelf._folder / "ses_1").iterdir()
    kept = reader.salvage(open_file.read_bytes())
    assert kept is not None
    assert kept.length == open_file.stat().st_size


async def test_many_sessions_are_kept_apart(world: World) -> None:
    recorders = [await world.open(f"ses_{index}") for index in range(30)]
    for number in range(1, 50):
        for recorder in recorders:
            recorder.decided(number, "allow", "read", ("p/r",))
        await asyncio.sleep(0)
    for recorder in recorders:
        recorder.closed("done")
    for index in range(30):
        events = world.events(await world.ended(f"ses_{index}"))
        assert [event.operation for event in events if isinstance(event, Decided)] == list(range(1, 50))


async def test_segments_are_sealed_by_size_and_uploadable_while_the_session_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "SEGMENT_BYTES", 20_000)
    recorder = await world.open()
    recorder.output(1, noise(50_000))
    await recorder.durable()
    await world.sealed.wait()
    [item] = world.shelf.listing()
    assert (item.segments, item.end) == (1, None)
    world.shelf.forget("ses_1")
    assert world.shelf.listing() == [item], "what goes on is not forgotten"
    recorder.closed("done")
    assert len(world.events(await world.ended())) == 3


async def test_a_segment_is_sealed_when_nothing_happens(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "IDLE_SECONDS", 0.02)
    await world.open()
    await world.sealed.wait()
    assert world.shelf.listing()[0].segments == 1


async def test_what_was_acknowledged_is_forgotten_and_its_room_is_free(world: World) -> None:
    recorder = await world.open()
    recorder.closed("done")
    await world.ended()
    assert world.shelf.size > 0
    world.shelf.forget("ses_1")
    assert world.shelf.listing() == []
    assert world.shelf.size == 0
    assert list((world.shelf._folder).iterdir()) == []


async def test_a_session_that_cannot_be_written_ends_with_what_was_written(world: World, small_files: None) -> None:
    """Invariant 8 at its edge: what cannot be recorded does not go on."""
    recorder = await world.open()
    recorder.decided(1, "allow", "read", ("p/r",))
    await recorder.durable()
    recorder.output(1, noise(400_000))
    with pytest.raises(RecordingError, match="too large"):
        await recorder.durable()
    assert "too large" in await world.failed.get()
    with pytest.raises(RecordingError):
        recorder.decided(2, "allow", "read", ("p/r",))
    recorder.closed("recording-failed")
    item = await world.ended()
    assert item.end is not None
    assert not item.end.complete
    assert [type(event).__name__ for event in world.events(item)] == ["Opened", "Decided"]


async def test_what_took_effect_is_reported_also_when_the_spool_is_full(world: World) -> None:
    (await world.open()).decided(1, "allow", "write", ("p/w",))
    limit, world.shelf._limit = world.shelf._limit, 0
    await world.failed.get()
    world.shelf._limit = limit
    await world.ended()
    assert [batch[:3] for batch in world.reports.batches] == [("ses_1", 1, 1)]


async def test_one_session_that_fails_leaves_the_others_alone(world: World, small_files: None) -> None:
    one, other = await world.open("ses_1"), await world.open("ses_2")
    one.output(1, noise(400_000))
    await world.failed.get()
    other.decided(1, "allow", "read", ("p/r",))
    other.closed("done")
    assert len(world.events(await world.ended("ses_2"))) == 3


async def test_a_full_spool_refuses_new_sessions_until_there_is_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await world.open("ses_1")
    first.decided(1, "allow", "read", ("p/r",))
    await first.durable()
    first.closed("done")
    await world.ended("ses_1")
    monkeypatch.setattr(world.shelf, "_limit", world.shelf.size + 10)
    with pytest.raises(RecordingError, match="spool is full"):
        await world.open("ses_2")
    assert [item.session_id for item in world.shelf.listing()] == ["ses_1"]
    world.shelf.forget("ses_1")
    await world.open("ses_3")


async def test_allowed_operations_are_gathered_into_batches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "GATHER_SECONDS", 3600)
    recorders = [await world.open(f"ses_{index}") for index in range(3)]
    for number in range(1, 5001):
        for recorder in recorders:
            recorder.decided(number, "allow", "read", ("p/r",))
        if number % 500 == 0:
            await world.written(recorders)
    counted = [(batch.first_operation, batch.last_operation, batch.count, batch.allowed) for batch in world.of("ses_1")]
    assert counted == [(1, 2000, 2000, 2000), (2001, 4000, 2000, 2000)]
    recorders[1].closed("done")
    await world.ended("ses_1")
    assert [batch.count for batch in world.of("ses_1")] == [2000, 2000, 1000]
    world.spool.stop()
    assert sum(batch.count for batch in world.of("ses_2")) == 5000, "what waits when the process ends is told too"


async def test_what_waits_is_reported_before_long(world: World) -> None:
    recorder = await world.open()
    recorder.decided(1, "allow", "read", ("p/r",))
    async with asyncio.timeout(10):
        while not world.of("ses_1"):
            await asyncio.sleep(0.01)


async def test_a_refusal_is_reported_at_once_with_what_was_before_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decisions, "GATHER_SECONDS", 3600)
    recorder = await world.open()
    recorder.decided(1, "allow", "read", ("p/r",))
    recorder.decided(2, "deny", "ddl", ("p/never",), "POLICY")
    recorder.decided(3, "hold", "write", ("p/held",))
    await world.written([recorder])
    [batch] = world.of("ses_1")
    assert (batch.count, batch.allowed, batch.held, batch.denied) == (3, 1, 1, 1)
    assert (batch.first_operation, batch.last_operation) == (1, 3)


async def test_batches_stay_small_enough_to_be_opened(world: World) -> None:
    recorder = await world.open()
    rules = tuple(f"policy/{'r' * 250}{index}" for index in range(40))
    for number in range(1, 401):
        recorder.decided(
            number, "allow", "read", tuple(map(str, rules))
        )  # no two of them alike, so that nothing is a run
    recorder.decided(401, "allow", "read", ("r" * (2 << 20),))
    await recorder.durable()
    batches = world.of("ses_1")
    sizes = [zstandard.frame_content_size(batch.entries) for batch in batches]
    assert len(batches) > 4
    assert all(size <= 1 << 20 for size in sizes[:-1])
    assert batches[-1].count == 1, "one decision is never cut"
    assert [batch.first_operation for batch in batches[1:]] == [batch.last_operation + 1 for batch in batches[:-1]]


async def test_decisions_that_could_not_be_reported_are_reported_when_the_journal_is_well_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "_RETRY_SECONDS", 0.01)
    recorder = await world.open()
    world.reports.broken = True
    recorder.decided(1, "allow", "read", ("p/r",))
    assert await world.failed.get() == "the journal is full"
    world.reports.broken = False
    item = await world.ended()
    assert item.end is not None
    assert not item.end.complete
    assert [batch.count for batch in world.of("ses_1")] == [1]


async def test_a_decision_that_cannot_be_reported_ends_the_session(world: World) -> None:
    recorder = await world.open()
    world.reports.broken = True
    recorder.decided(1, "allow", "read", ("p/r",))
    assert await world.failed.get() == "the journal is full"


async def test_a_crash_while_forgetting_leaves_nothing_half(world: World, tmp_path: Path) -> None:
    recorder = await world.open()
    recorder.closed("done")
    await world.ended()
    (tmp_path / "spool" / "ses_1").rename(tmp_path / "spool" / ".forgotten-ses_1")
    again = Shelf(tmp_path / "spool", 1 << 30)
    assert again.recover() == []
    assert (again.listing(), again.size) == ([], 0)
    assert list((tmp_path / "spool").iterdir()) == []


async def test_a_session_name_is_used_once(world: World) -> None:
    first = await world.open()
    with pytest.raises(RecordingError):
        await world.open()
    first.closed("done")
    assert len(world.events(await world.ended())) == 2


async def test_a_session_that_outruns_the_disk_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 11: what waits in memory is bounded."""
    recorder = await world.open()
    monkeypatch.setattr(world.spool, "wake", lambda _: None)
    monkeypatch.setattr(world.spool, "hurry", lambda _: None)

    def outrun() -> None:
        for _ in range(200):
            recorder.output(1, bytes(1 << 20))

    with pytest.raises(RecordingError, match="too slow"):
        outrun()


async def test_a_killed_agent_loses_nothing_that_was_durable(tmp_path: Path) -> None:
    """kill -9: the chain is valid to its last whole chunk, recovered, ended as incomplete, and marked."""
    code = f"""
        import asyncio, os, pathlib, signal
        from tests.data_plane.recording.test_spool import World

        async def main():
            world = World(pathlib.Path({str(tmp_path / "spool")!r}))
            recorder = await world.open()
            recorder.decided(1, "allow", "read", ("p/r",))
            await recorder.durable()
            recorder.decided(2, "allow", "read", ("p/r",))
            os.kill(os.getpid(), signal.SIGKILL)

        asyncio.run(main())
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    torn = tmp_path / "spool" / "ses_1" / "00000000.open"
    torn.write_bytes(torn.read_bytes() + b"\0\0\1\0half a chunk")
    world = World(tmp_path / "spool")
    [item] = world.recovered
    assert (item.session_id, item.segments) == ("ses_1", 1)
    assert item.end is not None
    assert not item.end.complete
    events = world.events(item)
    assert isinstance(events[0], Opened)
    assert [event.operation for event in events[1:-1]] == [1]
    assert msgspec.structs.replace(events[-1], at_ms=0) == Closed(0, AGENT_CRASHED, 1), "it says where it stops"
    segment = reader.read(world.shelf.segment("ses_1", 0))
    assert isinstance(segment, reader.Segment)
    assert segment.recovered
    world.spool.stop()
    again = Shelf(tmp_path / "spool", 1 << 30)
    assert again.recover() == [], "what was recovered once is ended"
    assert again.listing() == [item]
    assert again.size == sum(file.stat().st_size for file in (tmp_path / "spool" / "ses_1").iterdir())
