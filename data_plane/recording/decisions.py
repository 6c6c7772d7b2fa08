"""Decisions on their way to the audit log, gathered by session, so that a busy one reports some batches a second.

A batch costs the journal, the link and the control plane much more than a decision does. All that wait go out
GATHER_SECONDS after the oldest of them came, and those of one session at once when an operation of it is held or
denied, when somebody waits until it is durable, and at its end. Used by the recording thread only; what is here is in
the recording already, or about to be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, final

from data_plane.recording.interface import DecisionReports, Decisions
from data_plane.recording.recorder import SessionRecorder
from data_plane.recording.writer import Compressor

GATHER_SECONDS = 1.0
_MOST = 2000  # of one batch
_DECISIONS = frozenset({"decided", "judged"})  # both begin with the same fields
_MOST_BYTES = 1 << 20  # packed, before compression; the control plane opens four times as much

Entry = tuple[int, int, str, str, Sequence[str], str]  # operation, Unix ms, effect, action, rules, code


@final
class GatheredDecisions:
    def __init__(self, reports: DecisionReports, compressor: Compressor, monotonic: Callable[[], float]) -> None:
        self._reports = reports
        self._compressor = compressor
        self._monotonic = monotonic
        self._waiting: dict[SessionRecorder, list[Entry]] = {}
        self._since = 0.0  # the oldest that waits

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, recorder: SessionRecorder, events: Sequence[Any]) -> None:
        """Those among events that are decisions. May report; raises what reporting does."""
        zero = recorder.opened.started_at_ms
        decided: list[Entry] = [
            (event[2], zero + event[1], event[3], event[4], event[5], event[6])
            for event in events
            if event[0] in _DECISIONS
        ]
        if not decided:
            return
        if not self._waiting:
            self._since = self._monotonic()
        waiting = self._waiting.setdefault(recorder, [])
        waiting += decided
        if len(waiting) >= _MOST or any(entry[2] != "allow" for entry in decided):
            self.report(recorder)

    def due(self) -> Sequence[SessionRecorder]:
        """Everybody, as soon as one has waited long enough."""
        if self._waiting and self._monotonic() - self._since >= GATHER_SECONDS:
            return list(self._waiting)
        return ()

    @property
    def due_in_seconds(self) -> float:
        return max(0.0, self._since + GATHER_SECONDS - self._monotonic())

    def waiting(self) -> Sequence[SessionRecorder]:
        return list(self._waiting)

    def report(self, recorder: SessionRecorder) -> None:
        """What waits of one session. When reporting raises, what was not reported still waits."""
        entries = self._waiting.get(recorder)
        if entries is None:
            return
        report_all(recorder.opened.session_id, entries, self._reports, self._compressor)
        del self._waiting[recorder]


def report_all(session_id: str, entries: list[Entry], reports: DecisionReports, compressor: Compressor) -> None:
    """In batches that the control plane takes. What was reported is out of `entries`, also when reporting raises."""
    while entries:
        count, packed = _packed(entries, compressor)
        reports.decisions(_batch(session_id, entries[:count], packed))
        del entries[:count]


def _packed(entries: Sequence[Entry], compressor: Compressor) -> tuple[int, bytes]:
    """As many as fit into a batch, from the first on; at least one."""
    count = min(len(entries), _MOST)
    while count > 1:
        packed = compressor.pack_within(entries[:count], _MOST_BYTES)
        if packed is not None:
            return count, packed
        count //= 2
    return 1, compressor.pack(entries[:1])


def _batch(session_id: str, entries: Sequence[Entry], packed: bytes) -> Decisions:
    effects = Counter(entry[2] for entry in entries)
    return Decisions(
        session_id=session_id,
        first_operation=entries[0][0],
        last_operation=entries[-1][0],
        count=len(entries),
        allowed=effects["allow"],
        held=effects["hold"],
        denied=effects["deny"],
        entries=packed,
    )
