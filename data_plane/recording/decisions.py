"""Decisions on their way to the audit log, gathered by session, so that a busy one reports some batches a second.

A batch costs the journal, the link and the control plane much more than a decision does. All that wait go out
GATHER_SECONDS after the oldest of them came, and those of one session at once when an operation of it is held or
denied, when somebody waits until it is durable, and at its end. Used by the recording thread only; what is here is in
the recording already, or about to be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

from data_plane.recording.interface import DecisionReports, Decisions
from data_plane.recording.pieces import MOST_DECISIONS, Batch
from data_plane.recording.recorder import SessionRecorder
from data_plane.recording.writer import Compressor

GATHER_SECONDS = 1.0


@final
class GatheredDecisions:
    def __init__(self, reports: DecisionReports, compressor: Compressor, monotonic: Callable[[], float]) -> None:
        self._reports = reports
        self._compressor = compressor
        self._monotonic = monotonic
        self._waiting: dict[SessionRecorder, list[Batch]] = {}
        self._since = 0.0  # the oldest that waits

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, recorder: SessionRecorder, batches: Sequence[Batch]) -> None:
        """The next decisions of a session. May report; raises what reporting does."""
        if not batches:
            return
        if not self._waiting:
            self._since = self._monotonic()
        waiting = self._waiting.setdefault(recorder, [])
        for batch in batches:
            if waiting and waiting[-1].room_for(batch):
                waiting[-1].append(batch)
            else:
                waiting.append(batch)
        last = waiting[-1]
        if len(waiting) > 1 or last.count >= MOST_DECISIONS or last.held or last.denied:
            self.report(recorder)

    def due(self) -> Sequence[SessionRecorder]:
        """Everybody, as soon as one has waited long enough."""
        now = self._monotonic()
        if self._waiting and now - self._since >= GATHER_SECONDS:
            self._since = now  # what cannot be reported now waits as long again
            return list(self._waiting)
        return ()

    @property
    def due_in_seconds(self) -> float:
        return max(0.0, self._since + GATHER_SECONDS - self._monotonic())

    def waiting(self) -> Sequence[SessionRecorder]:
        return list(self._waiting)

    def report(self, recorder: SessionRecorder) -> None:
        """What waits of one session. When reporting raises, what was not reported still waits."""
        batches = self._waiting.get(recorder)
        if batches is None:
            return
        report_all(recorder.opened.session_id, batches, self._reports, self._compressor)
        del self._waiting[recorder]


def report_all(session_id: str, batches: list[Batch], reports: DecisionReports, compressor: Compressor) -> None:
    """What was reported is out of `batches`, also when reporting raises."""
    while batches:
        reports.decisions(_packed(session_id, batches[0], compressor))
        del batches[0]


def _packed(session_id: str, batch: Batch, compressor: Compressor) -> Decisions:
    runs, entries = batch.encoded()
    return Decisions(
        session_id=session_id,
        first_operation=batch.first,
        last_operation=batch.last,
        count=batch.count,
        allowed=batch.count - batch.held - batch.denied,
        held=batch.held,
        denied=batch.denied,
        entries=compressor.pack_encoded(runs, entries),
    )
