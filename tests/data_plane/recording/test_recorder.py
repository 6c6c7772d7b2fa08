"""What a recorder keeps of an operation for the recording thread."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_plane.recording import model, reader, recorder
from data_plane.recording.interface import RecordingError
from data_plane.recording.writer import Compressor


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
    piece = recording.hand_over()
    return list(reader._unpacked(Compressor().compress(piece.encoded))) if piece.encoded else []


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
    recording.hand_over()
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
        recording.taken_bytes += recording.hand_over().size
    assert thread.hurried == 0


async def test_what_was_asked_is_recorded_with_its_decision(recording: recorder.SessionRecorder) -> None:
    recording.asked(1, "select $1", b"bind", [23])
    assert not recording._piece.events, "it waits for the decision"
    recording.decided(1, "allow", "read", ("p/r",))
    asked, decided = events(recording)
    assert (asked.operation, asked.text, asked.bind, asked.types) == (1, "select $1", b"bind", (23,))
    assert (decided.operation, decided.effect, decided.action, decided.rules) == (1, "allow", "read", ("p/r",))


async def test_what_is_answered_soon_is_one_event(recording: recorder.SessionRecorder, thread: Thread) -> None:
    recording.asked(1, "select $1", b"bind", [23])
    recording.decided(1, "allow", "read", ("p/r",))
    recording.answered(1, b"bytes", "SELECT 1", 1)
    assert (len(recording._piece.events), thread.woken) == (1, 1)
    assert events(recording) == [
        model.Input(0, 1, "select $1", (), b"bind", (23,)),
        model.Decided(0, 1, "allow", "read", ("p/r",)),
        model.Output(0, 1, b"bytes"),
        model.Completed(0, 1, "SELECT 1", 1, 1, 5),
    ]


async def test_what_is_not_answered_is_written_all_the_same_when_it_is_time(
    recording: recorder.SessionRecorder, thread: Thread
) -> None:
    """Invariant 8: a statement that runs for long is in the file from its beginning."""
    recording.asked(1, "select 1", b"", ())
    recording.decided(1, "allow", "read", ("p/r",))
    assert thread.woken == 1
    assert [type(event) for event in events(recording)] == [model.Input, model.Decided]
    recording.answered(1, b"bytes", "SELECT 1", 1)
    assert [type(event) for event in events(recording)] == [model.Output, model.Completed]


async def test_an_answer_to_something_else_is_not_mistaken_for_it(recording: recorder.SessionRecorder) -> None:
    recording.asked(2, "select 1", b"", ())
    recording.decided(2, "allow", "read", ("p/r",))
    recording.answered(1, b"bytes", "SELECT 1", 1)
    told = [(type(event), event.operation) for event in events(recording)]
    assert told == [(model.Input, 2), (model.Decided, 2), (model.Output, 1), (model.Completed, 1)]


async def test_a_decision_with_a_message_is_written_with_it(recording: recorder.SessionRecorder) -> None:
    recording.asked(1, "drop table t", b"", ())
    recording.decided(1, "deny", "ddl", ("p/never",), "POLICY", "no")
    recording.answered(1, b"", "42501", 0)
    decided = events(recording)[1]
    assert decided == model.Decided(0, 1, "deny", "ddl", ("p/never",), "POLICY", "no")


@pytest.mark.parametrize("judged", [False, True])
@pytest.mark.parametrize("then", ["asked", "input", "decided", "output", "completed", "answered", "closed", "durable"])
async def test_what_was_asked_and_never_decided_or_answered_is_recorded_all_the_same(
    recording: recorder.SessionRecorder, then: str, judged: bool
) -> None:
    recording.asked(1, "select 1", b"", ())
    if judged:
        recording.decided(1, "allow", "read", ("p/r",))
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


ONE = ["p/r"]
RULES = (), tuple(ONE), tuple(ONE)  # equal ones need not be the same object
TYPES = (), (23,), [23]
run = st.tuples(
    st.sampled_from(["", "select 1", "select 2"]), st.sampled_from(["allow", "hold"]), st.sampled_from(["read", "write"]),
    st.sampled_from(range(3)), st.sampled_from(range(3)), st.sampled_from(["", "", "handed over", "event", "number"]),
)  # fmt: skip


@given(st.lists(run, max_size=30))
def test_operations_that_ran_alike_are_read_as_if_each_was_written_whole(
    runs: list[tuple[str, str, str, int, int, str]],
) -> None:
    asyncio.run(_record_alike(runs))


async def _record_alike(runs: list[tuple[str, str, str, int, int, str]]) -> None:
    """`then`: what comes between this operation and the next, if anything does."""
    ticks = iter(range(1000))
    recording = recorder.SessionRecorder(OPENED, Thread(), lambda: next(ticks), lambda _: None)
    found, expected = list[model.AnyEvent](), list[model.AnyEvent]()
    number = at = 0
    for text, effect, action, rules, types, then in runs:
        number += 1
        bind, data, status = b"bind %d" % number, b"row" * (number % 3), f"SELECT {number % 4}"
        recording.asked(number, text, bind, TYPES[types])
        recording.decided(number, effect, action, RULES[rules])
        recording.answered(number, data, status, number % 4)
        judged, answered, at = (at + 1) * 1000, (at + 2) * 1000, at + 2
        expected += [
            model.Input(judged, number, text, (), bind, tuple(TYPES[types])),
            model.Decided(judged, number, effect, action, tuple(RULES[rules])),
            model.Output(answered, number, data),
            model.Completed(answered, number, status, number % 4, number % 4, len(data)),
        ]
        if then == "handed over":
            found += events(recording)
        elif then == "event":
            at += 1
            recording.output(number, b"more")
            expected.append(model.Output(at * 1000, number, b"more"))
        elif then == "number":
            number += 1
    assert found + events(recording) == expected


async def test_operations_that_ran_alike_are_one_event(recording: recorder.SessionRecorder) -> None:
    for number in range(1, 5):
        recording.asked(number, f"select {number % 2}", b"", ())
        recording.decided(number, "allow", "read", ("p/r",))
        recording.answered(number, b"row", "SELECT 1", 1)
    ran, alike = recording._piece.events
    assert (ran[0], alike[:3]) == ("ran", ("alike", 0, 2))
    assert alike[3] == ["select 0", "select 1", "select 0"]


async def test_an_operation_that_ran_like_the_one_before_does_not_repeat_it(
    recording: recorder.SessionRecorder,
) -> None:
    sizes = []
    for number in range(1, 3):
        recording.asked(number, "select 1" * 100, b"", ())
        recording.decided(number, "allow", "read", ("p/r",))
        recording.answered(number, b"row", "SELECT 1", 1)
        sizes.append(recording._piece.size)
    assert sizes[1] - sizes[0] < 300 < sizes[0]


async def test_a_piece_that_was_handed_over_keeps_nothing_beside_its_bytes(recording: recorder.SessionRecorder) -> None:
    """Invariant 11: what waits for the disk is bounded by what is counted."""
    for number in range(1, 5):
        recording.asked(number, "select 1", b"bind", ())
        recording.decided(number, "allow", "read", ("p/r",))
        recording.answered(number, b"row", "SELECT 1", 1)
    piece = recording.hand_over()
    assert piece.encoded
    kept = [piece.events, piece._texts, piece._binds, piece._times, piece._answers, piece._statuses, piece._rows]
    assert kept == [[]] * 7


async def test_what_cannot_be_encoded_is_told_in_its_turn(recording: recorder.SessionRecorder) -> None:
    recording.input(1, "half a character: \ud800")
    piece = recording.hand_over()
    assert not piece.encoded
    assert "cannot be encoded" in piece.problem
