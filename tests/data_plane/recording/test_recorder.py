"""What a recorder keeps of an operation for the recording thread."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from data_plane.recording import model, reader, recorder
from data_plane.recording.interface import RecordingError


class Thread:
    def __init__(self) -> None:
        self.woken = self.hurried = 0

    def wake(self, _: recorder.SessionRecorder) -> None:
        self.woken += 1

    def hurry(self, _: recorder.SessionRecorder) -> None:
        self.hurried += 1


OPENED = model.Opened(0, "ses_1", "postgres", "t", "r", "i", "c", "a", "psql", 0, 1, {})


@pytest.fixture
async def thread() -> Thread:
    return Thread()


@pytest.fixture
async def recording(thread: Thread) -> recorder.SessionRecorder:
    return recorder.SessionRecorder(OPENED, thread, lambda: 1.0, lambda _: None)


def events(recording: recorder.SessionRecorder) -> list[model.AnyEvent]:
    written = msgspec.msgpack.decode(msgspec.msgpack.encode(recording.take()), type=list[model.Written])
    return list(reader._apart(written))


async def test_an_answer_is_its_output_and_its_end(recording: recorder.SessionRecorder) -> None:
    recording.answered(3, b"bytes", "SELECT 1", 1)
    assert events(recording) == [model.Output(0, 3, b"bytes"), model.Completed(0, 3, "SELECT 1", 1, 1, 5)]


async def test_a_bind_is_kept_as_it_came(recording: recorder.SessionRecorder) -> None:
    recording.input(1, "select $1", (), b"Bind", (23,))
    assert events(recording) == [model.Input(0, 1, "select $1", (), b"Bind", (23,))]


async def test_the_thread_is_woken_once_until_it_has_taken_what_there_is(
    recording: recorder.SessionRecorder, thread: Thread
) -> None:
    for number in range(1, 5):
        recording.input(number, "select 1")
        recording.decided(number, "allow", "read", ())
        recording.answered(number, b"bytes", "SELECT 1", 1)
    assert thread.woken == 1
    recording.take()
    recording.answered(5, b"bytes", "SELECT 1", 1)
    assert thread.woken == 2


async def test_more_than_a_fair_share_of_answers_and_binds_ends_the_session(
    recording: recorder.SessionRecorder, thread: Thread
) -> None:
    recording.input(1, "select $1", (), bytes(40 << 20))
    assert thread.hurried == 1
    with pytest.raises(RecordingError):
        recording.answered(1, bytes(40 << 20), "SELECT 1", 1)
    with pytest.raises(RecordingError):
        recording.answered(2, b"", "SELECT 1", 1)


async def test_what_was_taken_does_not_count_any_more(recording: recorder.SessionRecorder, thread: Thread) -> None:
    for number in range(1, 9):
        recording.input(number, "select $1", (), bytes(1 << 19))
        recording.answered(number, bytes(1 << 19), "SELECT 1", 1)
        recording.take()
    assert thread.hurried == 0


async def test_what_was_asked_is_recorded_with_its_decision(recording: recorder.SessionRecorder) -> None:
    recording.asked(1, "select $1", b"bind", [23])
    assert not recording.events, "it waits for the decision"
    recording.decided(1, "allow", "read", ("p/r",))
    assert len(recording.events) == 1
    asked, decided = events(recording)
    assert (asked.operation, asked.text, asked.bind, asked.types) == (1, "select $1", b"bind", (23,))
    assert (decided.operation, decided.effect, decided.action, decided.rules) == (1, "allow", "read", ("p/r",))


@pytest.mark.parametrize("then", ["asked", "input", "decided", "output", "completed", "answered", "closed", "durable"])
async def test_what_was_asked_and_never_decided_is_recorded_all_the_same(
    recording: recorder.SessionRecorder, then: str
) -> None:
    recording.asked(1, "select 1", b"", ())
    match then:
        case "asked":
            recording.asked(2, "select 2", b"", ())
        case "input":
            recording.input(2, "select 2")
        case "decided":
            recording.decided(2, "deny", "read", ())
        case "output":
            recording.output(1, b"x")
        case "completed":
            recording.completed(1, "done", 0, 0, 0)
        case "answered":
            recording.answered(1, b"x", "done", 0)
        case "closed":
            recording.closed("done")
        case _:
            waiting = asyncio.ensure_future(recording.durable())
            await asyncio.sleep(0)
            waiting.cancel()
    first = events(recording)[0]
    assert isinstance(first, model.Input)
    assert (first.operation, first.text) == (1, "select 1")
