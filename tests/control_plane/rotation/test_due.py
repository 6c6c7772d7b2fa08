"""When an account is to be rotated again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from control_plane.rotation.domain import Past, due_at

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def test_an_account_of_unknown_age_is_due_and_then_after_each_turn() -> None:
    assert due_at(Past(), DAY, NOW) == NOW
    assert due_at(Past(ended_at=NOW, done_at=NOW), DAY, NOW) == NOW + DAY


def test_without_a_cadence_nothing_is_due_by_itself() -> None:
    assert due_at(Past(), None, NOW) is None
    assert due_at(Past(ended_at=NOW, done_at=NOW), None, NOW) is None


def test_what_runs_is_not_due() -> None:
    assert due_at(Past(running=True), DAY, NOW) is None


@pytest.mark.parametrize(("failures", "minutes"), [(1, 5), (2, 10), (3, 20), (8, 640), (9, 720), (1000, 720)])
def test_a_failure_is_tried_again_less_and_less_often(failures: int, minutes: int) -> None:
    past = Past(ended_at=NOW, failures=failures)
    assert due_at(past, DAY, NOW) == NOW + timedelta(minutes=minutes)


def test_what_somebody_asked_for_is_given_up_after_a_few_failures() -> None:
    assert due_at(Past(ended_at=NOW, failures=4), None, NOW) is not None
    assert due_at(Past(ended_at=NOW, failures=5), None, NOW) is None
