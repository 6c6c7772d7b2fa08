"""What a session hands to the recording thread: its events, and its decisions for the audit log, encoded in runs.

An event is a tuple of its tag and fields, which has the MessagePack form of the model's Struct and is made in a third
of the time. They are encoded together when they are handed over: one by one would cost the processor's caches more,
and encoding in the thread would keep the sessions' event loop from Python's lock. What is repeated for every statement
is put together where it arises: operations that run alike are columns of one event, and decisions of a run take a byte
each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, final

import msgspec

MOST_DECISIONS: Final = 2000  # of one batch
MOST_DECISION_BYTES: Final = 1 << 20  # encoded, before compression; the control plane opens four times as much

_encoder: Final = msgspec.msgpack.Encoder()
_RUN_FIELDS: Final = b"\x97"  # an array of seven: the head's six, and the run's bytes
_LATEST: Final = 255  # ms that a byte can tell
_NONE: Final = -1  # no operation has this number
_RUN_BYTES: Final = MOST_DECISIONS + 3  # what the seventh takes at most

Waiting = tuple[asyncio.Future[None], bool]  # who waits, and whether for the disk rather than the file


@final
class Batch:
    """Decisions of one session in order, as link.proto's DecisionBatch says: in runs that were decided alike."""

    __slots__ = (
        "_action", "_at_ms", "_denies", "_effect", "_entries", "_head", "_holds", "_later", "_may_go_on", "_rules",
        "_runs", "count", "denied", "first", "held", "last",
    )  # fmt: skip

    def __init__(self) -> None:
        self.count = self.first = self.last = self.held = self.denied = 0
        self._entries = bytearray()  # of the runs before this one
        self._runs = 0
        self._head = b""  # of the run
        self._later: list[int] = []  # one byte each; a list takes them more quickly than a bytearray
        self._may_go_on = False
        self._at_ms = 0
        self._effect = self._action = ""
        self._holds = self._denies = False
        self._rules: Sequence[str] = ()

    def goes_on(self, number: int, at_ms: int, effect: str, action: str, rules: Sequence[str]) -> bool:
        """Whether this decision without a code is the next of the run; then it is in it.

        Rules are told apart by which object they are: those of one decision are, and a comparison takes time."""
        after = at_ms - self._at_ms
        if (
            not self._may_go_on
            or number != self.last + 1
            or not 0 <= after <= _LATEST
            or rules is not self._rules
            or (action is not self._action and action != self._action)
            or (effect is not self._effect and effect != self._effect)
            or self.count >= MOST_DECISIONS
        ):
            return False
        self._later.append(after)
        self._at_ms = at_ms
        self._counted(number)
        return True

    def begin(
        self, head: bytes, number: int, at_ms: int, effect: str, action: str, rules: Sequence[str], *, may_go_on: bool
    ) -> None:
        """Another run, of which `head` is the first decision, encoded."""
        self._end_run()
        if not self.count:
            self.first = number
        self._head, self._at_ms, self._may_go_on = head, at_ms, may_go_on
        self._effect, self._action, self._rules = effect, action, rules
        self._holds, self._denies = effect == "hold", effect == "deny"
        self._counted(number)

    def _counted(self, number: int) -> None:
        self.count += 1
        self.last = number
        if self._holds:
            self.held += 1
        elif self._denies:
            self.denied += 1

    def _end_run(self) -> None:
        if self._head:
            self._entries += _RUN_FIELDS + self._head[1:] + _encoder.encode(bytes(self._later))
            self._runs += 1
            self._head, self._later, self._may_go_on = b"", [], False

    def room(self, head: bytes) -> bool:
        return self.count < MOST_DECISIONS and self._size() + len(head) + _RUN_BYTES <= MOST_DECISION_BYTES

    def room_for(self, later: Batch) -> bool:
        return self.count + later.count <= MOST_DECISIONS and self._size() + later._size() <= MOST_DECISION_BYTES

    def _size(self) -> int:
        return len(self._entries) + len(self._head) + len(self._later) + 8

    def append(self, later: Batch) -> None:
        """That one is of no use afterwards."""
        runs, entries = later.encoded()
        self._end_run()
        self._entries += entries
        self._runs += runs
        self.count += later.count
        self.last = later.last
        self.held += later.held
        self.denied += later.denied

    def encoded(self) -> tuple[int, bytearray]:
        """How many runs, and these one after another."""
        self._end_run()
        return self._runs, self._entries


def enter(
    batches: list[Batch], number: int, at_ms: int, effect: str, action: str, rules: Sequence[str], code: str
) -> None:
    """Adds a decision, made at this Unix time, to the last of the batches, or to one more when that is full."""
    if batches and not code and batches[-1].goes_on(number, at_ms, effect, action, rules):
        return
    head = _encoder.encode((number, at_ms, effect, action, rules, code))
    if not batches or not batches[-1].room(head):
        batches.append(Batch())
    batches[-1].begin(head, number, at_ms, effect, action, rules, may_go_on=not code)


@final
class Piece:
    """The next of one session, in order. `closing`: why the session ended; None while it goes on."""

    __slots__ = (
        "_answers", "_begun", "_binds", "_like_action", "_like_by", "_like_effect", "_like_types", "_next", "_rows",
        "_statuses", "_texts", "_times", "batches", "closing", "encoded", "events", "like_text", "problem", "size",
        "waiting",
    )  # fmt: skip

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.encoded = b""  # these, when they have been handed over; empty: there were none
        self.problem = ""  # why they could not be encoded
        self.size = 0  # about, in bytes
        self.like_text = ""  # of the last operation that ran
        self._like_effect = self._like_action = ""
        self._like_by: Sequence[str] | None = None
        self._like_types: Sequence[int] | None = None
        self._next = _NONE  # the operation that would go on with the columns
        self._begun = 0  # when they begin
        self.batches: list[Batch] = []
        self.waiting: list[Waiting] = []  # for this to be written
        self.closing: str | None = None
        self._new_columns()

    def add(self, event: tuple[Any, ...]) -> None:
        self.events.append(event)
        self._next = _NONE

    def let_next_be_like(self, effect: str, action: str, by: Sequence[str], types: Sequence[int]) -> None:
        self._like_effect, self._like_action, self._like_by, self._like_types = effect, action, by, types

    def is_like(self, effect: str, action: str, by: Sequence[str], types: Sequence[int]) -> bool:
        """Whether the last Ran of this piece says so too. Rules and types are told apart by which object they are."""
        return (
            by is self._like_by and types is self._like_types
            and (action is self._like_action or action == self._like_action)
            and (effect is self._like_effect or effect == self._like_effect)
        )  # fmt: skip

    def ran_alike(
        self, number: int, judged_at: int, text: str, bind: bytes, answered_at: int, data: bytes, status: str, rows: int
    ) -> None:
        """What `model.RanAlike` tells of one operation; its `text` is empty if it is `like_text`."""
        if number != self._next:
            self._begin_columns(number, judged_at)
        self._next = number + 1
        self._texts.append(text)
        self._binds.append(bind)
        times = self._times
        times.append(judged_at - self._begun)
        times.append(answered_at - self._begun)
        self._answers.append(data)
        self._statuses.append(status)
        self._rows.append(rows)

    def _begin_columns(self, number: int, at: int) -> None:
        """The event holds the lists, which grow until another event comes."""
        self._begun = at
        self._new_columns()
        columns = (self._texts, self._binds, self._times, self._answers, self._statuses, self._rows)
        self.events.append(("alike", at, number, *columns))

    def _new_columns(self) -> None:
        self._texts: list[str] = []
        self._binds: list[bytes] = []
        self._times: list[int] = []
        self._answers: list[bytes] = []
        self._statuses: list[str] = []
        self._rows: list[int] = []

    def encode(self) -> None:
        """Nothing is added afterwards, and nothing kept twice. Raises what msgspec and Unicode do when something of an
        event cannot be encoded."""
        if self.events:
            self.encoded = _encoder.encode(self.events)
            self.events = []
        self._new_columns()
        self._next = _NONE
