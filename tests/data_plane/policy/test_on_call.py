"""Whose turn it is: rotations by the clock on the wall, daylight saving, overrides."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_plane.policy import model
from data_plane.policy.on_call import Schedule, ScheduleError, schedule

BERLIN = ZoneInfo("Europe/Berlin")


def weekly(*overrides: tuple[str, str, str], **changes: object) -> Schedule:
    rotation = {"people": ("ada", "bob", "cyd"), "start": "2026-01-05T09:00:00", "timezone": "Europe/Berlin", **changes}
    made = tuple(model.Override(person, start, until) for person, start, until in overrides)
    return schedule(model.OnCallSpec(model.Rotation(**rotation), made))  # type: ignore[arg-type]


def at(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    ("moment", "person"),
    [
        ("2026-01-05T08:59:59", ""),  # not begun
        ("2026-01-05T09:00:00", "ada"),
        ("2026-01-12T08:59:59", "ada"),
        ("2026-01-12T09:00:00", "bob"),
        ("2026-01-19T09:00:00", "cyd"),
        ("2026-01-26T09:00:00", "ada"),
        ("2026-03-30T08:59:59", "cyd"),  # summer time began on the 29th: the hand-over stays at nine
        ("2026-03-30T09:00:00", "ada"),
        ("2026-10-26T08:59:59", "cyd"),  # and ends on the 25th
        ("2026-10-26T09:00:00", "ada"),
    ],
)
def test_people_take_turns_at_the_hour_of_the_clock_on_the_wall(moment: str, person: str) -> None:
    assert weekly().at(at(moment)) == person


def test_the_same_instant_is_the_same_turn_in_every_zone() -> None:
    moment = at("2026-07-06T09:00:00")
    assert weekly().at(moment.astimezone(ZoneInfo("America/New_York"))) == weekly().at(moment) == "cyd"


def test_a_turn_of_hours_goes_on_where_the_clock_jumps() -> None:
    hourly = weekly(every="1h", start="2026-03-29T00:00:00")
    assert hourly.at(at("2026-03-29T01:59:59")) == "bob"
    assert hourly.at(at("2026-03-29T03:00:00")) == "ada", "the hour that the clock leaves out is nobody's"
    back = weekly(every="1h", start="2026-10-25T00:00:00")
    assert back.at(at("2026-10-25T02:30:00")) == back.at(at("2026-10-25T02:30:00", fold=1)) == "cyd"
    assert back.at(at("2026-10-25T03:00:00")) == "ada"


def test_an_override_goes_before_the_rotation_and_the_later_one_before_the_earlier() -> None:
    made = weekly(
        ("bob", "2026-01-06T00:00:00", "2026-01-07T00:00:00"),
        ("cyd", "2026-01-06T11:00:00+00:00", "2026-01-06T12:00:00+00:00"),
    )
    assert made.at(at("2026-01-05T23:59:59")) == "ada"
    assert made.at(at("2026-01-06T00:00:00")) == "bob"
    assert made.at(at("2026-01-06T12:00:00")) == "cyd"  # 11:00 UTC
    assert made.at(at("2026-01-06T13:00:00")) == "bob"
    assert made.at(at("2026-01-07T00:00:00")) == "ada"


def test_everybody_whose_turn_comes_within_a_time_is_found() -> None:
    made = weekly(("zoe", "2026-01-12T10:00:00", "2026-01-12T11:00:00"))
    first = at("2026-01-12T08:00:00")
    assert made.between(first, first) == {"ada"}
    assert made.between(first, first + timedelta(hours=1)) == {"ada", "bob"}
    assert made.between(first, first + timedelta(hours=2)) == {"ada", "bob", "zoe"}
    assert made.between(first, first + timedelta(days=300)) == {"ada", "bob", "cyd", "zoe"}
    assert made.between(at("2025-12-01T00:00:00"), at("2026-01-01T00:00:00")) == frozenset()


@given(
    st.datetimes(datetime(2026, 1, 6), datetime(2030, 1, 1), timezones=st.just(UTC)),
    st.integers(0, 48 * 3600),
    st.sampled_from(["1h", "90m", "7h", "1d", "7d"]),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "UTC"]),
)
def test_turns_never_go_back_and_leave_nobody_out(moment: datetime, seconds: int, every: str, zone: str) -> None:
    made = weekly(every=every, timezone=zone)
    later = moment + timedelta(seconds=seconds)
    first, last = made._turn(moment), made._turn(later)
    assert first <= last
    assert made._begins(first) <= moment < made._begins(first + 1)
    turns = {made.people[turn % 3] for turn in range(first, min(last, first + 3) + 1)}
    present = made.between(moment, later)
    assert present <= turns
    assert {made.at(moment), made.at(later)} <= present


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"people": ()}, "at least one person"),
        ({"timezone": "Berlin"}, "is no time zone"),
        ({"timezone": "../etc/passwd"}, "is no time zone"),
        ({"start": "monday"}, "is no time: write it like 2026-01-05T09:00:00"),
        ({"start": "2026-01-05T09:00:00+01:00"}, "has an offset of its own"),
        ({"every": "30m"}, "a turn is at least an hour"),
    ],
)
def test_what_is_no_schedule_is_said(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ScheduleError, match=said):
        weekly(**changes)
