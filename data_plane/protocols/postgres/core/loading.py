"""Whether a unit waits until the catalogue has been loaded once more before it is judged.

Right after a definition the catalogue is stale, and what it is not sure of is masked or not understood. The load that
ends this is on its way, and takes a moment. So what policy would not allow as things stand waits for it, and so do rows
that a mask may hide for want of it. It waits once: then it is judged by what is known. What an open transaction has
changed no load can see.
"""

from __future__ import annotations

from data_plane.gate.interface import Action, Effect, Gate
from data_plane.protocols.postgres.core import refusals
from data_plane.protocols.postgres.core.context import Context
from data_plane.protocols.postgres.core.ports import Output
from data_plane.protocols.postgres.core.units import Pipeline, Unit


class Loads:
    """Of one session. `waits`: a unit does."""

    def __init__(self, context: Context, pipeline: Pipeline, gate: Gate, output: Output) -> None:
        self._context = context
        self._pipeline = pipeline
        self._gate = gate
        self._output = output
        self.waits = False
        self._waited = False  # … the unit that is planned next, which is the same once more
        self._cancelled = False  # that unit, by its client
        self._number = 0  # of the latest wait: that of one before may have been cancelled, and its load ends yet

    def needed(self, unit: Unit) -> bool:
        """Then `told` of the core is called, whatever came of the load."""
        waited, self._waited = self._waited, False
        if self._cancelled:
            self._cancelled, unit.refusal = False, unit.refusal or refusals.CANCELLED_UNJUDGED
        catalogue = self._context.catalogue
        if not catalogue.stale or waited or len(self._pipeline) or not unit.operations:
            return False
        if not catalogue.unsure(unit.subjects) or not self._matters(unit):
            return False
        self.waits = True
        self._number += 1
        self._output.tell(catalogue.when_loaded, self._number)
        return True

    def told(self, number: int) -> None:
        if self.waits and number == self._number:
            self._waited, self.waits = True, False

    def cancelled(self) -> None:
        self._cancelled = self._waited = True
        self.waits = False

    def _matters(self, unit: Unit) -> bool:
        if unit.refusal is not None:
            return False
        try:
            decision = self._gate.decide(unit.subjects)
        except Exception:  # noqa: BLE001  # judging it will be a denial
            return False
        masked = self._context.masked or bool(decision.masks)
        return decision.effect is not Effect.ALLOW or (masked and _shows(unit))


def _shows(unit: Unit) -> bool:
    """Whether values come out of it, or are stored elsewhere."""
    statements = [each for meaning in unit.meanings for each in (meaning.statement, *meaning.named) if each is not None]
    return any(statement.stores is not None for statement in statements) or any(
        Action.READ in subject.actions or any("read" in resource.access for resource in subject.resources)
        for subject in unit.subjects
    )
