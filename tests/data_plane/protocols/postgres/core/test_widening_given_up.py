"""A client that gives up, or a session that ends, while its account is being made wider or narrow again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.core.widening import MOVES, Stage
from data_plane.recording.interface import RecordingError
from tests.data_plane.protocols.postgres.core.conversation import (
    COMPLETE,
    QUERY,
    SYNTAX_ERROR,
    Conversation,
    bytewise,
    error,
    ready,
)
from tests.data_plane.protocols.postgres.core.widened import (
    DELETE,
    SELECT,
    Pieces,
    held,
    seen,
    widened,
)


@pytest.fixture(params=["whole", "bytewise"])
def pieces(request: pytest.FixtureRequest) -> Pieces:
    return bytewise if request.param == "bytewise" else lambda data: iter((data,))


@pytest.mark.parametrize("inside", [False, True])
def test_an_operation_that_is_cancelled_while_the_account_is_widened_is_not_run(pieces: Pieces, inside: bool) -> None:
    it = held(pieces, inside=inside)
    assert it.core.cancel_requested() is False
    assert it.take_target() == []
    it.core.account_changed("")
    if inside:
        assert it.core.cancel_requested() is False
        it.target(seen("T"))
    assert DELETE not in " ".join(it.take_target())
    it.target(SYNTAX_ERROR, ready("E" if inside else "I"))
    assert it.take_client()[0] == "Error 57014 canceling statement due to user request"
    assert it.account == ["widen write", "narrow"]
    assert it.gate.executions[0][1] == "failed"


def test_what_is_cancelled_and_could_not_be_had_either_is_cancelled(pieces: Pieces) -> None:
    it = held(pieces)
    it.core.cancel_requested()
    it.core.account_changed("the target is away")
    it.target(SYNTAX_ERROR, ready())
    assert it.take_client()[0].startswith("Error 57014")
    assert it.account == ["widen write"]
    assert it.core.idle


def test_a_request_to_cancel_the_running_operation_goes_to_the_target_and_none_later() -> None:
    it = widened()
    assert it.core.cancel_requested() is True
    it.target(error("57014"), ready())
    assert it.core.cancel_requested() is False
    it.core.account_changed("")
    assert it.core.cancel_requested() is False
    it.target(seen())
    assert it.core.idle


@pytest.mark.parametrize("goodbye", ["closed", "terminate", "policy"])
def test_nothing_runs_for_a_session_that_has_ended_while_its_account_was_widened(pieces: Pieces, goodbye: str) -> None:
    it = held(pieces)
    if goodbye == "closed":
        it.core.client_closed()
    elif goodbye == "terminate":
        it.client(QUERY(SELECT), m.TERMINATE)
    else:
        it.core.terminate("policy", "the session may not go on")
    assert it.ended == ("policy" if goodbye == "policy" else "client-closed")
    it.core.account_changed("")
    assert it.permitted == b""
    assert it.take_target() == ["Terminate"]
    ((_, outcome, detail),) = it.gate.executions
    assert (outcome, detail.startswith("not run: ")) == ("failed", True)


@pytest.mark.parametrize("stage", [Stage.SHOWN, Stage.RUNNING, Stage.RETURNED, Stage.CHECKED])
def test_a_client_that_goes_away_later_leaves_no_doubt_about_what_ran(stage: Stage) -> None:
    it = held(inside=True)
    steps: list[Callable[[], None]] = [
        lambda: it.core.account_changed(""),
        lambda: it.target(seen("T")),
        lambda: it.target(COMPLETE("DELETE 2"), ready("T")),
        lambda: it.core.account_changed(""),
    ]
    while it.core._widening.stage is not stage:
        steps.pop(0)()
    it.core.client_closed()
    while steps and not it.ended:
        steps.pop(0)()
    if not it.ended:
        it.target(seen("T"))
    assert it.ended == "client-closed"
    ((_, outcome, detail),) = it.gate.executions
    expected = ("failed", "not run: client-closed") if stage is Stage.SHOWN else ("done", "DELETE 2")
    assert (outcome, detail) == expected


def test_the_target_dies_while_the_account_is_wider(pieces: Pieces) -> None:
    it = widened(pieces)
    it.core.target_closed()
    assert it.gate.executions == [(QUERY(DELETE), "outcome-unknown", "target-closed")]
    it = held(pieces)
    it.core.target_closed()
    assert it.gate.executions == [(QUERY(DELETE), "failed", "not run: target-closed")]


def test_a_recording_that_breaks_meanwhile_ends_the_session(pieces: Pieces) -> None:
    it = held(pieces)

    def broken(*_: object) -> None:
        raise RecordingError("the disk is full")

    it.recorder.decided = broken  # type: ignore[method-assign, assignment]
    it.core.account_changed("no")
    assert it.ended == "recording-failed"


def test_an_account_that_changes_for_nothing_is_an_error() -> None:
    it = Conversation()
    it.core.account_changed("")
    assert it.ended


def test_every_stage_can_be_left_and_reached() -> None:
    reached = {following for followings in MOVES.values() for following in followings}
    assert reached == set(Stage) == set(MOVES)
    assert all(MOVES.values())
