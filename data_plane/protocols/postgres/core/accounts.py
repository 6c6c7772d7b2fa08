"""Tells the recording and the gate what became of the units that were sent."""

from __future__ import annotations

from collections.abc import Iterable

from data_plane.gate.interface import Denied, Gate, Permit
from data_plane.protocols.postgres.core.units import Unit
from data_plane.recording.interface import Recorder


class Accounts:
    __slots__ = ("_gate", "_recorder")

    def __init__(self, gate: Gate, recorder: Recorder) -> None:
        self._gate = gate
        self._recorder = recorder

    def answered(self, units: list[Unit]) -> None:
        """Takes them all out of the list."""
        for unit in units:
            if unit.number:
                self._recorder.completed(unit.number, unit.status, unit.rows, unit.kept, unit.size)
                if unit.permit is not None:
                    self._gate.executed(unit.permit, "failed" if unit.failed else "done", unit.status)
        units.clear()

    def stands(self, permit: Permit) -> Denied | None:
        return self._gate.stands(permit)

    def not_run(self, unit: Unit, why: str) -> None:
        """People approved it, and it will not be sent."""
        if unit.permit is not None:
            self._gate.executed(unit.permit, "failed", f"not run: {why}")
            unit.permit = None

    def unanswered(self, units: Iterable[Unit], reason: str) -> None:
        """The session ends before they were answered. The gate hears of it even when it cannot be recorded."""
        units = tuple(units)
        for unit in units:
            if unit.permit is not None:
                outcome, detail = ("outcome-unknown", reason) if unit.sequence else ("failed", f"not run: {reason}")
                self._gate.executed(unit.permit, outcome, detail)
        for unit in units:
            if unit.number:
                self._recorder.completed(unit.number, "outcome-unknown", unit.rows, unit.kept, unit.size)
