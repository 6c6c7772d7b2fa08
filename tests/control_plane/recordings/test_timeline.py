"""A replay: events in order, results as columns and rows, marks kept, nothing that a terminal would obey."""

from __future__ import annotations

import struct

from control_plane.recordings import schemas
from control_plane.recordings.timeline import Timeline
from data_plane.recording import model
from tests.control_plane.recordings.recorded import (
    OPENED,
    command_complete,
    data_row,
    error,
    message,
    recording,
    row_description,
)
from tests.control_plane.recordings.test_service import begin, send, taken, whole
from tests.control_plane.world import World

DESCRIPTION = row_description(("id", 23, 0), ("email", 25, 0))


def shown(*events: model.AnyEvent) -> list[schemas.EventOut]:
    """What comes after `opened`."""
    segments, _ = recording([OPENED, *events])
    return Timeline("ses_1").segment(segments[0])[1:]


def results(*data: bytes) -> list[schemas.ResultOut]:
    found = shown(*(model.Output(5, 1, piece) for piece in data))
    assert all(isinstance(one, schemas.ResultOut) for one in found)
    return found  # type: ignore[return-value]


def test_every_event_has_its_place() -> None:
    found = shown(
        model.Input(5, 1, "DELETE FROM orders WHERE id = $1", (("$1", "int4", "7"),)),
        model.Decided(6, 1, "hold", "write", ("p/writes",)),
        model.HeldForApproval(7, 1, "apr_1", b"\1\2", "7KQ2MX", "1 of group dba"),
        model.HoldEnded(9000, 1, "apr_1", "approved", "", ("ada",)),
        model.Output(9010, 1, command_complete("DELETE 1")),
        model.Completed(9011, 1, "DELETE 1", 0, 0, 14),
        model.Closed(9999, "client-closed", 1),
    )
    assert [one.kind for one in found] == [  # type: ignore[attr-defined]
        "input",
        "decision",
        "hold",
        "approval",
        "result",
        "completed",
        "closed",
    ]
    assert found[3] == schemas.HoldEndedOut(
        at_ms=9000, operation=1, approval_id="apr_1", outcome="approved", reason="", approvers=["ada"]
    )


def test_rows_have_columns_nulls_and_the_marks_that_the_client_got() -> None:
    (found,) = results(
        DESCRIPTION + data_row(b"7", "‹masked›".encode()) + data_row(b"8", None) + command_complete("SELECT 2")
    )
    assert found.columns == [schemas.ColumnOut(name="id", type="integer"), schemas.ColumnOut(name="email", type="text")]
    assert found.rows == [["7", "‹masked›"], ["8", None]]
    assert found.tags == ["SELECT 2"]


def test_messages_may_be_cut_anywhere_between_events() -> None:
    data = DESCRIPTION + data_row(b"7", b"a@b") + command_complete("SELECT 1")
    for cut in range(1, len(data)):
        rows = [row for one in results(data[:cut], data[cut:]) for row in one.rows]
        assert rows == [["7", "a@b"]]


def test_several_statements_are_several_results() -> None:
    found = results(
        DESCRIPTION
        + data_row(b"7", b"x")
        + command_complete("SELECT 1")
        + command_complete("DELETE 3")
        + error("42P01", "no such table")
    )
    assert [one.tags for one in found] == [["SELECT 1"], ["DELETE 3"], []]
    assert found[2].messages[0].code == "42P01"


def test_binary_values_are_read_by_their_type() -> None:
    described = row_description(("n", 20, 1), ("t", 25, 1), ("unknown", 999_999, 1))
    (found,) = results(described + data_row(struct.pack(">q", -5), b"text", b"\0\1"))
    assert found.rows == [["-5", "text", "\\x0001"]]


def test_copied_rows_are_shown_as_text() -> None:
    (found,) = results(message("d", b"1\tada\n") + message("d", b"2\tbob\n") + command_complete("COPY 2"))
    assert found.text == "1\tada\n2\tbob\n"


def test_nothing_that_a_terminal_obeys_comes_through() -> None:
    (found,) = results(DESCRIPTION + data_row(b"1", b"\x1b[2J") + error("XX000", "\u202e"))
    assert found.rows == [["1", "⟨U+001B⟩[2J"]]
    assert found.messages[0].message == "⟨U+202E RIGHT-TO-LEFT OVERRIDE⟩"


def test_output_that_makes_no_sense_is_told_and_ends_nothing() -> None:
    impossible = b"D" + struct.pack(">i", 2) + b"xx"
    cut_row = message("D", struct.pack(">hi", 1, 100) + b"x")
    assert results(impossible)[0].unreadable == "a message with an impossible length"
    found = results(cut_row, command_complete("SELECT 1"))
    assert found[0].unreadable == "a 'D' message that cannot be read"
    assert found[1].tags == ["SELECT 1"]


def test_a_changed_segment_is_not_shown() -> None:
    segments, _ = recording([OPENED])
    timeline = Timeline("ses_1")
    (found,) = timeline.segment(segments[0][:-1] + b"?")
    assert isinstance(found, schemas.BrokenOut)
    assert timeline.broken


async def test_pages_follow_each_other(world: World) -> None:
    await taken(world)
    found = await whole(world)
    everything, more = await world.recordings.timeline(found, 0, 100)
    assert more is None
    assert len(everything) == 4
    paged: list[schemas.EventOut] = []
    after: int | None = 0
    while after is not None:
        events, after = await world.recordings.timeline(found, after, 1)
        assert len(events) == 1
        paged += events
    assert paged == everything


async def test_what_has_arrived_is_shown_while_the_session_goes_on(world: World) -> None:
    segments, _ = recording([OPENED], [model.Input(5, 1, "SELECT 1")])
    await world.open_session()
    await begin(world)
    await send(world, 0, segments[0])
    events, _ = await world.recordings.timeline(await whole(world), 0, 10)
    assert [one.kind for one in events] == ["opened"]  # type: ignore[attr-defined]
    await send(world, 1, segments[1])
    events, _ = await world.recordings.timeline(await whole(world), 1, 10)
    assert [one.kind for one in events] == ["input"]  # type: ignore[attr-defined]


async def test_a_segment_that_is_gone_ends_the_replay_with_the_reason(world: World) -> None:
    await taken(world)
    sorted(world.store_folder.rglob("*.segment"))[1].unlink()
    events, _ = await world.recordings.timeline(await whole(world), 0, 10)
    assert isinstance(events[-1], schemas.BrokenOut)
    assert len(events) == 3
