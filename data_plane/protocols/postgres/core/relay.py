"""From the target to the client: in bulk, with only the headers of messages looked at, unless results are masked.

Every message is attributed to the head of the pipeline before any byte of it is passed on; one that does not fit ends
the session. Rows go by in runs without being looked into. A row or piece of COPY that is not there in full is passed
on as it comes when nothing masks it, and kept (bounded) until it is whole when something does, or when it is recorded.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.core.lane import read_plain
from data_plane.protocols.postgres.core.outcomes import Outcomes
from data_plane.protocols.postgres.core.ports import Limits
from data_plane.protocols.postgres.core.states import ASYNCHRONOUS, Expected
from data_plane.protocols.postgres.core.units import Pipeline, PlainUnit, Unit
from data_plane.protocols.postgres.framing import HEADER, RemoteProtocolError, encode
from data_plane.protocols.postgres.interface import CopyPlan
from data_plane.recording.interface import Recorder

_header = struct.Struct("!BI").unpack_from
_DONE: Final = Expected.DONE
_NO_LIMIT: Final = 1 << 62
_SMALL: Final = 64 * 1024  # a piece up to this size is kept whole while it is still to be recorded


class Relay:
    """`send` is called with what the client gets; `over` collects the units that are answered in full."""

    def __init__(
        self, pipeline: Pipeline, outcomes: Outcomes, recorder: Recorder, limits: Limits, row_limit: int,
        send: Callable[[bytes], None],
    ) -> None:  # fmt: skip
        self._pipeline = pipeline
        self._outcomes = outcomes
        self._recorder = recorder
        self._limits = limits
        self._row_limit = row_limit
        self._send, self._sends_to = send, send
        self._keep: Callable[[int, bytes], None] = recorder.output
        self.over: list[Unit] = []
        self._caps = m.target_caps(limits.relayed_bytes)
        self._rest = bytearray()  # of a message that is not whole yet
        self._wanted = 0
        self._to_pass = 0  # bytes of a message whose beginning the client has
        self._data = b""
        self._passed = 0  # offsets in _data: what the client has, what the recording has, where the unit begins
        self._recorded = 0
        self._begun = 0
        self._pieces: list[bytes] = []

    @property
    def amid_message(self) -> bool:
        """Whether the client has the beginning of a message and not yet its end."""
        return self._to_pass > 0

    def divert(self, send: Callable[[bytes], None], keep: Callable[[int, bytes], None]) -> None:
        """From now on `send` and `keep` get what the client and the recording would get."""
        self._send, self._keep = send, keep

    def restore(self) -> None:
        self._send, self._keep = self._sends_to, self._recorder.output

    def target_sent(self, data: bytes) -> None:
        """Raises RemoteProtocolError, PinBrokenError, RecordingError; what came before is passed on."""
        if self._to_pass:
            data = self._pass_on(data)
        elif isinstance(unit := self._pipeline.head, PlainUnit) and not self._rest and self._plain(data, unit):
            return
        if self._rest:
            self._rest += data
            if len(self._rest) < self._wanted:
                return
            data = bytes(self._rest)
            self._rest.clear()
        if data:
            self._data, self._passed, self._recorded, self._begun = data, 0, 0, 0
            try:
                at = self._walk(data)
                self._keep_rest(at)
            finally:
                self._flush()

    def _pass_on(self, data: bytes) -> bytes:
        piece, rest = data[: self._to_pass], data[self._to_pass :]
        self._to_pass -= len(piece)
        if unit := self._pipeline.head:
            unit.size += len(piece)
        self._send(piece)
        return rest

    def _plain(self, data: bytes, unit: PlainUnit) -> bool:
        """Whether it was the whole answer to a unit of the fast lane; it is then passed on, masked where it must be."""
        if unit.size or len(data) > self._limits.relayed_bytes or (found := read_plain(data, unit)) is None:
            return False
        if found.rows > self._row_limit or not self._limits.recorded_bytes:
            return False
        shown = self._outcomes.plain_answered(data, unit, found)
        self._recorder.answered(unit.number, shown, found.tag, found.rows)
        self._send(shown)
        self._pipeline.settle(unit)
        return True

    # -------------------------------------------------------------- walking

    def _walk(self, data: bytes) -> int:
        """Goes over whole messages; returns where the first one begins that is not whole."""
        at, end = 0, len(data)
        pipeline, caps = self._pipeline, self._caps
        while end - at >= HEADER:
            type_, length = _header(data, at)
            if not 4 <= length <= caps[type_]:
                raise RemoteProtocolError(f"a message of type 0x{type_:02x} with length {length}")
            stop = at + 1 + length
            if type_ == pipeline.expected.flowing:
                if (passed := self._flow(type_, at)) == at:
                    break
                at = passed
                continue
            if stop > end:
                break
            if type_ in ASYNCHRONOUS:
                self._asynchronous(type_, at, stop)
            else:
                self._answer(type_, at, stop)
            at = stop
        return at

    def _answer(self, type_: int, at: int, stop: int) -> None:
        pipeline, unit = self._pipeline, self._pipeline.head
        expected = pipeline.expected
        following = expected.answers.get(type_)
        if following is None:
            raise RemoteProtocolError(f"an answer of type 0x{type_:02x} that does not fit here ({expected.value})")
        payload = self._data[at + HEADER : stop]
        if unit is None:
            self._last_words(payload, at, stop)
            return
        handlers = self._outcomes.own if expected.own else self._outcomes.handlers
        if (replacement := handlers[type_](payload, expected, unit)) is not None:
            self._replace(at, stop, replacement, unit)
        if type_ == m.ErrorResponse and expected.skips:
            self._skip(unit, stop)
        elif following is not _DONE:
            pipeline.expected = following
            if type_ == m.CopyInResponse:
                pipeline.copy_begun(unit)
        elif unit.left > 1:
            pipeline.step_done(unit)
        else:
            self._unit_over(unit, stop)
            pipeline.step_done(unit)
            self.over.append(unit)

    def _skip(self, unit: Unit, stop: int) -> None:
        self._unit_over(unit, stop)
        for over in self._pipeline.skip_to_sync():
            if over is not unit:
                over.status = "skipped"
            self.over.append(over)
        head = self._pipeline.head
        if head is not None and head is not unit:  # only its Sync will be answered
            head.status = "skipped"

    def _last_words(self, payload: bytes, at: int, stop: int) -> None:
        self._pipeline.expected = Expected.ENDING
        self._replace(at, stop, self._outcomes.erred(payload, None), None)
        self._outcomes.dying = True

    def _asynchronous(self, type_: int, at: int, stop: int) -> None:
        if self._pipeline.expected is Expected.ENDING:
            return
        unit = self._pipeline.head
        replacement = self._outcomes.asynchronous[type_](self._data[at + HEADER : stop], unit)
        if replacement is not None:
            self._replace(at, stop, replacement, unit)

    # -------------------------------------------------------------- rows

    def _flow(self, type_: int, at: int) -> int:
        """A run of rows or pieces of COPY; returns where it ends."""
        unit = self._pipeline.head
        if unit is None:
            raise RemoteProtocolError("rows that nobody asked for")
        mask = self._mask_of(unit)
        room = self._room(unit)
        kept_to, kept = run_of(type_, self._data, at, room) if room > 0 else (at, 0)
        stop, more = run_of(type_, self._data, kept_to, _NO_LIMIT)
        unit.rows += kept + more
        unit.kept += kept
        if mask is not None and stop > at:
            self._replace(at, kept_to, mask(self._data[at:kept_to]), unit)
            self._replace(kept_to, stop, mask(self._data[kept_to:stop]), None)
        elif more:
            self._record_to(kept_to, unit)
            self._recorded = stop
        return stop

    def _mask_of(self, unit: Unit) -> Callable[[bytes], bytes] | None:
        """What masks whole messages of the run that is coming; None: nothing does."""
        expected, outcomes = self._pipeline.expected, self._outcomes
        if expected.flowing == m.CopyData:
            copy = outcomes.copy_plan(unit)
            return None if copy is None else lambda messages: mask_copy(copy, messages)
        plan = outcomes.plan if expected is Expected.QUERY_ROWS else outcomes.execute_plan(unit)
        return None if plan is None else plan.mask_rows

    def _room(self, unit: Unit) -> int:
        return self._row_limit - unit.kept if unit.recorded < self._limits.recorded_bytes else 0

    # -------------------------------------------------------------- messages that are not whole

    def _keep_rest(self, at: int) -> None:
        data, end = self._data, len(self._data)
        if at == end:
            self._pass_to(end)
            self._record_to(end, self._pipeline.head)
            self._count_to(end, self._pipeline.head)
            return
        self._pass_to(at)
        self._record_to(at, self._pipeline.head)
        self._count_to(at, self._pipeline.head)
        self._wanted = HEADER
        if end - at >= HEADER:
            type_, length = _header(data, at)
            self._wanted = length + 1
            if self._flows(type_, length):
                self._passed, self._to_pass = end, at + 1 + length - end
                self._pieces.append(data[at:])
                return
            if length > self._limits.answer_bytes:
                raise RemoteProtocolError(f"a message of type 0x{type_:02x} that is too large to be checked")
        self._rest += data[at:]

    def _flows(self, type_: int, length: int) -> bool:
        """Whether an unfinished message can be passed on as it comes: nothing masks it, and it is not recorded."""
        unit = self._pipeline.head
        if unit is None or type_ != self._pipeline.expected.flowing or self._mask_of(unit) is not None:
            return False
        if self._room(unit) > 0 and length <= _SMALL:
            return False
        unit.rows += 1
        return True

    # -------------------------------------------------------------- passing on and recording

    def _pass_to(self, at: int) -> None:
        if at > self._passed:
            whole = self._passed == 0 and at == len(self._data)
            self._pieces.append(self._data if whole else self._data[self._passed : at])
            self._passed = at

    def _record_to(self, at: int, unit: Unit | None) -> None:
        if at > self._recorded:
            if unit is not None and unit.number:
                self._record(self._data[self._recorded : at], unit)
            self._recorded = at

    def _count_to(self, at: int, unit: Unit | None) -> None:
        if unit is not None:
            unit.size += at - self._begun
        self._begun = at

    def _record(self, data: bytes, unit: Unit) -> None:
        if unit.number:
            unit.recorded += len(data)
            self._keep(unit.number, data)

    def _replace(self, at: int, stop: int, replacement: bytes, unit: Unit | None) -> None:
        self._pass_to(at)
        self._record_to(at, unit)
        if replacement:
            self._pieces.append(replacement)
            if unit is not None:
                self._record(replacement, unit)
        self._passed = self._recorded = stop

    def _unit_over(self, unit: Unit, at: int) -> None:
        self._record_to(at, unit)
        self._count_to(at, unit)

    def _flush(self) -> None:
        if self._pieces:
            pieces, self._pieces = self._pieces, []
            self._send(pieces[0] if len(pieces) == 1 else b"".join(pieces))


def run_of(type_: int, data: bytes, at: int, most: int) -> tuple[int, int]:
    """Where a run of at most so many whole messages of one type ends, and how many they are."""
    count, end = 0, len(data)
    last = end - HEADER
    while at <= last and count < most:
        found, length = _header(data, at)
        stop = at + 1 + length
        if found != type_ or stop > end or length < 4:
            break
        at = stop
        count += 1
    return at, count


def mask_copy(plan: CopyPlan, messages: bytes) -> bytes:
    """A run of CopyData messages, masked; lines may move from one to the next. Raises RemoteProtocolError."""
    at, pieces = 0, []
    while at < len(messages):
        _, length = _header(messages, at)
        if masked := plan.mask_data(messages[at + HEADER : at + 1 + length]):
            pieces.append(encode(m.CopyData, masked))
        if plan.broken:
            raise RemoteProtocolError("a row of COPY that cannot be masked")
        at += 1 + length
    return b"".join(pieces)
