"""Whose turn it is by an OnCallSchedule. Pure: the instant is given, the time zones are Python's own.

The rotation follows the clock on the wall of its zone: a hand-over at nine stays at nine when daylight saving begins or
ends, so that one turn is an hour shorter or longer. A time that the clock shows twice is its first; one that it leaves
out is as much later as the clock jumps.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from data_plane.policy import durations, model

UTC_ZONE = ZoneInfo("UTC")
SHORTEST_TURN = timedelta(hours=1)  # shorter ones would go backwards when daylight saving ends


class ScheduleError(ValueError):
    """`args[0]` says what is wrong and how it is written."""


class _Override(msgspec.Struct, frozen=True):
    person: str
    start: datetime
    until: datetime


class Schedule(msgspec.Struct, frozen=True):
    """A schedule made ready. Overrides: the later in the list go first."""

    people: tuple[str, ...]
    start: datetime  # by the clock on the wall, without a zone
    every: timedelta
    zone: ZoneInfo
    overrides: tuple[_Override, ...]

    def at(self, instant: datetime) -> str:
        """The person's name; empty before the first turn. `instant` is aware."""
        for override in self.overrides:
            if override.start <= instant < override.until:
                return override.person
        turn = self._turn(instant)
        return "" if turn < 0 else self.people[turn % len(self.people)]

    def between(self, first: datetime, last: datetime) -> frozenset[str]:
        """Everybody whose turn it is at some moment from `first` to `last`, both included."""
        moments = [first, *(one for one in self._changes(first, last) if first < one <= last)]
        return frozenset(self.at(moment) for moment in moments) - {""}

    def _changes(self, first: datetime, last: datetime) -> Iterator[datetime]:
        for override in self.overrides:
            yield override.start
            yield override.until
        turn = max(0, self._turn(first) + 1)
        for number in range(turn, turn + len(self.people)):  # then everybody has been on call
            change = self._begins(number)
            if change > last:
                return
            yield change

    def _turn(self, instant: datetime) -> int:
        """The number of the turn; below 0 before the first."""
        wall = instant.astimezone(self.zone).replace(tzinfo=None)
        turn = (wall - self.start) // self.every
        while self._begins(turn + 1) <= instant:
            turn += 1
        while self._begins(turn) > instant:
            turn -= 1
        return turn

    def _begins(self, turn: int) -> datetime:
        return (self.start + turn * self.every).replace(tzinfo=self.zone).astimezone(UTC)


def schedule(spec: model.OnCallSpec) -> Schedule:
    """Raises ScheduleError or durations.DurationError; not for a spec that was validated."""
    rotation = spec.rotation
    if not rotation.people:
        raise ScheduleError("a rotation needs at least one person")
    zone = zone_of(rotation.timezone)
    overrides = (_Override(one.person, instant(one.start, zone), instant(one.until, zone)) for one in spec.overrides)
    return Schedule(rotation.people, wall_time(rotation.start), turn(rotation.every), zone, tuple(overrides)[::-1])


def zone_of(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(f"{name!r} is no time zone: write one such as Europe/Berlin") from error


def turn(text: str) -> timedelta:
    """How long one is. Raises ScheduleError or durations.DurationError."""
    every = timedelta(seconds=durations.seconds(text))
    if every < SHORTEST_TURN:
        raise ScheduleError(f"{text!r} is too short: a turn is at least an hour")
    return every


def in_order(override: model.Override, timezone: str) -> None:
    """Raises ScheduleError when it ends before it begins; not for times or zones that are none themselves."""
    try:
        zone = zone_of(timezone)
        start, until = instant(override.start, zone), instant(override.until, zone)
    except ScheduleError:
        return
    if until <= start:
        raise ScheduleError("this is not after `from`")


def wall_time(text: str) -> datetime:
    moment = _parsed(text)
    if moment.tzinfo is not None:
        raise ScheduleError(f"{text!r} has an offset of its own: the rotation's times are those of its timezone")
    return moment


def instant(text: str, zone: ZoneInfo) -> datetime:
    moment = _parsed(text)
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)).astimezone(UTC)


def _parsed(text: str) -> datetime:
    """With a blank between date and time too: YAML writes it so."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ScheduleError(f"{text!r} is no time: write it like 2026-01-05T09:00:00") from error
    if not 1970 <= moment.year < 9000:
        raise ScheduleError(f"{text!r} is out of range")
    return moment
