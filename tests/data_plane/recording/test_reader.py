"""What was recorded comes back, and nothing that was changed passes for it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_plane.recording import model, reader
from data_plane.recording.format import RecordingEnd
from data_plane.recording.reader import Broken, ChainReader, Segment, Verified, verify
from data_plane.recording.writer import Compressor, RecordingWriter
from tests.data_plane.recording.chains import EVENTS, KEY, OPENED, PUBLIC, SESSION, recording

SEGMENTS, END = recording()


def test_a_recording_is_verified_and_its_events_come_back_in_order() -> None:
    assert verify(SESSION, SEGMENTS, END, [b"x" * 32, PUBLIC]) == Verified(
        3, END.chain_hash, signed=True, recovered=False
    )
    chain, events = ChainReader(SESSION), []
    for data in SEGMENTS:
        segment = chain.add(data)
        assert isinstance(segment, Segment)
        events += list(reader.events(segment))
    assert events == [event for part in EVENTS for event in part]


def test_the_reader_can_stop_and_go_on_later() -> None:
    first = ChainReader(SESSION)
    first.add(SEGMENTS[0])
    second = ChainReader(SESSION, first.next_index, first.previous)
    assert isinstance(second.add(SEGMENTS[1]), Segment)
    assert isinstance(second.add(SEGMENTS[2]), Segment)
    assert isinstance(second.finish(END, [PUBLIC]), Verified)


@given(st.integers(0, 2), st.data())
def test_any_flipped_bit_is_found(which: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(SEGMENTS[which]) - 1))
    changed = bytearray(SEGMENTS[which])
    changed[at] ^= 1 << data.draw(st.integers(0, 7))
    segments = [*SEGMENTS[:which], bytes(changed), *SEGMENTS[which + 1 :]]
    assert isinstance(verify(SESSION, segments, END, [PUBLIC]), Broken)


@given(st.integers(0, 2), st.data())
def test_any_cut_is_found(which: int, data: st.DataObject) -> None:
    cut = SEGMENTS[which][: data.draw(st.integers(0, len(SEGMENTS[which]) - 1))]
    assert isinstance(verify(SESSION, [*SEGMENTS[:which], cut, *SEGMENTS[which + 1 :]], END, [PUBLIC]), Broken)


@given(st.lists(st.integers(0, 2), max_size=4))
def test_missing_repeated_and_reordered_segments_are_found(order: list[int]) -> None:
    verdict = verify(SESSION, [SEGMENTS[index] for index in order], END, [PUBLIC])
    assert isinstance(verdict, Verified) == (order == [0, 1, 2])


@given(st.binary(max_size=300))
def test_garbage_is_broken_and_nothing_is_raised(data: bytes) -> None:
    assert isinstance(reader.read(data), Broken)
    assert isinstance(verify(SESSION, [b"ASSNREC1" + data], None, []), Broken)
    assert reader.salvage(data) is None
    reader.salvage(b"ASSNREC1" + data)


def test_a_segment_of_another_session_does_not_fit() -> None:
    assert isinstance(verify("ses_2", SEGMENTS, END, [PUBLIC]), Broken)


def test_the_end_must_be_signed_by_the_agent_and_name_the_last_hash() -> None:
    assert isinstance(verify(SESSION, SEGMENTS, END, [b"x" * 32]), Broken)
    forged = RecordingEnd(2, reader.read(SEGMENTS[1]).hash, END.signature, complete=True)  # type: ignore[union-attr]
    assert isinstance(verify(SESSION, SEGMENTS[:2], forged, [PUBLIC]), Broken)
    other_context = RecordingEnd(3, END.chain_hash, KEY.sign(END.chain_hash), complete=True)
    assert isinstance(verify(SESSION, SEGMENTS, other_context, [PUBLIC]), Broken)


def test_a_recording_without_its_end_is_whole_but_not_signed() -> None:
    verdict = verify(SESSION, SEGMENTS[:2], None, [PUBLIC])
    assert isinstance(verdict, Verified)
    assert not verdict.signed


@given(st.integers(0, 400))
def test_of_a_torn_segment_the_whole_chunks_are_kept(cut: int) -> None:
    compressor, writer = Compressor(), RecordingWriter(SESSION)
    first = writer.chunk(compressor.pack([OPENED]))
    writer.written(first)
    second = writer.chunk(compressor.pack(EVENTS[1]))
    torn = (first + second)[:cut]
    kept = reader.salvage(torn)
    whole = [len(part) for part in (first, first + second) if len(part) <= cut]
    if whole:
        assert kept is not None
        assert (kept.length, kept.chunks) == (whole[-1], len(whole))
    elif kept is not None:
        assert kept.chunks == 0


def test_nothing_follows_a_segment_that_a_crash_ended() -> None:
    compressor, writer, segments = Compressor(), RecordingWriter(SESSION), []
    for how in (1, 0):
        chunk = writer.chunk(compressor.pack([OPENED]))
        writer.written(chunk)
        footer = writer.footer(how)
        writer.sealed(footer)
        segments.append(chunk + footer)
    assert verify(SESSION, segments[:1], None, []) == Verified(1, segments[0][-32:], signed=False, recovered=True)
    assert isinstance(verify(SESSION, segments, None, []), Broken)


def test_without_an_end_too_each_segment_must_continue_the_one_before() -> None:
    writer, compressor = RecordingWriter(SESSION, index=1), Compressor()
    chunk = writer.chunk(compressor.pack([OPENED]))
    writer.written(chunk)
    stranger = chunk + writer.footer()
    skipped = RecordingWriter(SESSION, index=2, previous=SEGMENTS[0][-32:])
    chunk = skipped.chunk(compressor.pack([OPENED]))
    skipped.written(chunk)
    for second in (stranger, chunk + skipped.footer()):
        assert isinstance(verify(SESSION, [SEGMENTS[0], second], None, []), Broken)


def test_what_ran_like_something_outside_its_chunk_is_not_read() -> None:
    writer, compressor = RecordingWriter(SESSION), Compressor()
    again = ("alike", 1, 2, [""], [b""], [0, 0], [b"row"], ["SELECT 1"], [1])
    data = b""
    for values in ([("ran", 0, 1, "allow", "read", (), "select 1", b"", (), 0, b"row", "SELECT 1", 1), again], [again]):
        chunk = writer.chunk(compressor.pack(values))
        writer.written(chunk)
        data += chunk
    segment = reader.read(data + writer.footer())
    assert isinstance(segment, Segment)
    with pytest.raises(ValueError, match="not in its chunk"):
        list(reader.events(segment))


@pytest.mark.parametrize("place", range(3, 9))
def test_columns_that_do_not_fit_each_other_are_not_read(place: int) -> None:
    writer, compressor = RecordingWriter(SESSION), Compressor()
    ran = ("ran", 0, 1, "allow", "read", (), "select 1", b"", (), 0, b"row", "SELECT 1", 1)
    alike: list[Any] = ["alike", 1, 2, [""], [b""], [0, 0], [b"row"], ["SELECT 1"], [1]]
    alike[place] = alike[place][:-1]
    chunk = writer.chunk(compressor.pack([ran, alike]))
    writer.written(chunk)
    segment = reader.read(chunk + writer.footer())
    assert isinstance(segment, Segment)
    with pytest.raises(ValueError, match="do not fit"):
        list(reader.events(segment))


def test_operations_that_ran_again_are_read_as_they_were_written_before_there_were_columns() -> None:
    writer, compressor = RecordingWriter(SESSION), Compressor()
    ran = ("ran", 5, 1, "allow", "read", ("p/r",), "select $1", b"one", (23,), 6, b"row", "SELECT 1", 1)
    again = ("again", 7, 2, "", b"two", 9, b"rows", "SELECT 2", 2)
    chunk = writer.chunk(compressor.pack([ran, again]))
    writer.written(chunk)
    segment = reader.read(chunk + writer.footer())
    assert isinstance(segment, Segment)
    assert list(reader.events(segment))[4:] == [
        model.Input(7, 2, "select $1", (), b"two", (23,)),
        model.Decided(7, 2, "allow", "read", ("p/r",)),
        model.Output(9, 2, b"rows"),
        model.Completed(9, 2, "SELECT 2", 2, 2, 4),
    ]


def test_an_event_that_nests_too_deeply_is_not_read() -> None:
    writer, compressor = RecordingWriter(SESSION), Compressor()
    chunk = writer.chunk(compressor.compress(b"\x91\x95\xa6closed\x00\xa1r\x01" + b"\x91" * 5000 + b"\x90"))
    writer.written(chunk)
    data = chunk + writer.footer()
    assert isinstance(verify(SESSION, [data], None, []), Broken)
    assert reader.sealed_events(data) == []
