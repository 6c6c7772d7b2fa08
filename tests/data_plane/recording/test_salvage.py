"""What a killed agent had recorded and not reported is reported at its next start: all of it, and nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from data_plane.link.journal import Journal
from data_plane.recording import decisions, reader, salvage
from data_plane.recording.interface import DecisionReports
from data_plane.recording.model import AGENT_CRASHED, AnyEvent, Closed, Decided, Input
from data_plane.recording.pieces import Batch, enter
from data_plane.recording.shelf import Shelf
from data_plane.recording.writer import Compressor, RecordingWriter
from data_plane.runtime.clock import SystemClock
from tests.data_plane.link.test_journal import facts, reports
from tests.data_plane.recording.chains import KEY, OPENED, SESSION, unpacked
from tests.data_plane.recording.test_spool import World

CLOCK = SystemClock()
ALLOWED = ("allow", "read", ("p/reads",))


def operation(number: int) -> list[AnyEvent]:
    return [Input(number, number, f"SELECT {number}"), Decided(number, number, *ALLOWED)]


class Machine:
    """The disk of an agent that dies and starts again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = Journal(folder / "journal.db", CLOCK)
        self.shelf = Shelf(folder / "spool", 1 << 30)
        self.writer = RecordingWriter(SESSION)
        self.compressor = Compressor()
        self.shelf.begin(SESSION)
        self.record([OPENED])

    def record(self, events: Sequence[AnyEvent]) -> None:
        data = self.writer.chunk(self.compressor.pack(events))
        self.shelf.append(self.writer, data)
        self.writer.written(data)

    def report(self, reports: DecisionReports, *numbers: int) -> None:
        decided: list[Batch] = []
        for number in numbers:
            enter(decided, number, OPENED.started_at_ms + number, *ALLOWED, "")
        decisions.report_all(SESSION, decided, reports, self.compressor)

    def open(self) -> None:
        self.journal.opened(facts(SESSION), 7)

    def restart(self) -> None:
        self.journal.flush(5)
        self.journal.close()
        self.journal = Journal(self.folder / "journal.db", CLOCK)
        self.shelf = Shelf(self.folder / "spool", 1 << 30)
        self.shelf.recover()
        salvage.report_left(self.shelf, self.journal)
        assert self.journal.flush(5)

    @property
    def decided(self) -> list[int]:
        batches = [one.decisions for one in reports(self.journal) if one.WhichOneof("report") == "decisions"]
        return [entry[0] for batch in batches for entry in unpacked(batch.entries)]

    @property
    def ends(self) -> list[tuple[str, int]]:
        told = [one.session_closed for one in reports(self.journal) if one.WhichOneof("report") == "session_closed"]
        return [(one.reason, one.operations) for one in told]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_decisions_that_were_recorded_and_not_reported_are_reported_once(machine: Machine) -> None:
    machine.open()
    machine.record([event for number in (1, 2) for event in operation(number)])
    machine.report(machine.journal, 1, 2)
    machine.record([event for number in (3, 4, 5) for event in operation(number)])
    for _ in range(2):
        machine.restart()
        assert machine.decided == [1, 2, 3, 4, 5]
        assert machine.ends == [(AGENT_CRASHED, 5)]


def test_an_operation_that_was_judged_twice_is_reported_twice(machine: Machine) -> None:
    """A statement that is refused for its masks is judged again in a gentler form, under its own number."""
    machine.open()
    machine.record([*operation(1), Decided(2, 1, *ALLOWED)])
    machine.report(machine.journal, 1)
    machine.restart()
    assert machine.decided == [1, 1]


def test_a_report_that_the_control_plane_has_already_is_not_made_again(machine: Machine) -> None:
    machine.open()
    machine.record([*operation(1), *operation(2)])
    machine.report(machine.journal, 1)
    machine.journal.flush(5)
    machine.journal.acknowledge(machine.journal.durable)
    machine.restart()
    assert machine.decided == [2]


def test_a_session_whose_opening_was_lost_is_reported_whole(machine: Machine) -> None:
    machine.record(operation(1))
    machine.restart()
    first, *_ = reports(machine.journal)
    assert first.session_opened.session_id == SESSION
    assert (first.at_ms, first.session_opened.requester_id) == (OPENED.started_at_ms, OPENED.requester_id)
    assert machine.decided == [1]
    assert machine.ends == [(AGENT_CRASHED, 1)]


def test_a_session_that_ended_and_whose_end_was_lost_is_reported_as_it_ended(machine: Machine) -> None:
    machine.open()
    machine.record([*operation(1), Closed(9, "client-closed", 1)])
    machine.shelf.seal(machine.writer)
    machine.shelf.end(SESSION, machine.writer.end(KEY.sign))
    machine.restart()
    assert machine.decided == [1]
    assert machine.ends == [("client-closed", 1)]


def test_a_session_that_was_reported_to_its_end_is_left_alone(machine: Machine) -> None:
    machine.open()
    machine.record([*operation(1), Closed(9, "client-closed", 1)])
    machine.report(machine.journal, 1)
    machine.shelf.seal(machine.writer)
    machine.journal.closed(SESSION, "client-closed", 1, b"")
    machine.shelf.end(SESSION, machine.writer.end(KEY.sign))
    machine.restart()
    assert (machine.decided, machine.ends) == ([1], [("client-closed", 1)])


def test_a_disk_that_lost_more_than_was_reported_repeats_nothing(machine: Machine) -> None:
    """After a loss of power the journal may know of decisions that the recording has lost."""
    machine.open()
    machine.record(operation(1))
    machine.report(machine.journal, 1, 2, 3)
    machine.restart()
    assert machine.decided == [1, 2, 3]


def test_a_crash_between_two_segments_is_said_in_a_segment_of_its_own(machine: Machine) -> None:
    machine.open()
    machine.record(operation(1))
    machine.shelf.seal(machine.writer)
    machine.restart()
    [item] = machine.shelf.listing()
    last = reader.sealed_events(machine.shelf.segment(SESSION, item.segments - 1))
    assert (item.segments, last) == (2, [Closed(1, AGENT_CRASHED, 1)])


def test_what_was_reported_is_forgotten_with_the_recording(machine: Machine) -> None:
    machine.open()
    machine.record(operation(1))
    machine.restart()
    assert machine.journal._reading.execute("SELECT count(*) FROM sessions").fetchone() == (1,)
    machine.journal.stored(SESSION)
    machine.journal.flush(5)
    assert machine.journal._reading.execute("SELECT count(*) FROM sessions").fetchone() == (0,)


def test_a_session_of_which_nothing_is_in_the_spool_is_forgotten(machine: Machine) -> None:
    machine.journal.opened(facts("ses_gone"), 7)
    machine.restart()
    assert machine.journal._reading.execute("SELECT count(*) FROM sessions WHERE id = 'ses_gone'").fetchone() == (0,)


async def test_a_session_whose_opening_was_given_up_leaves_nothing(tmp_path: Path) -> None:
    """Its client went away while the disk was slow: nobody was let in, and nobody is told of a session."""
    world = World(tmp_path / "spool")
    opening = asyncio.ensure_future(world.open())
    await asyncio.sleep(0)
    opening.cancel()
    await asyncio.wait([opening])
    other = await world.open("ses_2")
    other.closed("done")
    await world.ended("ses_2")
    assert world.reports.closings == [("ses_2", "done", 0, world.reports.closings[0][3])]
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["ses_2"]
    assert world.shelf.size == sum(file.stat().st_size for file in (tmp_path / "spool" / "ses_2").iterdir())
    world.spool.stop()


def test_a_session_that_began_and_wrote_nothing_leaves_no_folder(machine: Machine) -> None:
    machine.shelf.begin("ses_begun")
    machine.restart()
    assert [item.session_id for item in machine.shelf.listing()] == [SESSION]
    assert not (machine.folder / "spool" / "ses_begun").exists()
