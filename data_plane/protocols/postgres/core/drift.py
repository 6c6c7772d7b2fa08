"""Whether a unit that waited still means what people were shown of it.

What is approved is bytes, and the names in them mean what the target has under them when they run: another session may
drop, make or rename a relation while people decide. So a unit is planned once more before it is sent, by the catalogue
of then, in the session that has done nothing meanwhile. The catalogue's doubt counts: names of which it is not known
what they mean mean something else than before. What has its old name and is another object is not told apart, for
policy and people go by names; nor is it seen what others than sessions of this worker have changed and not committed.
"""

from __future__ import annotations

from collections.abc import Iterator

from data_plane.gate.meaning import meaning
from data_plane.protocols.postgres.core.batch import Batch
from data_plane.protocols.postgres.core.context import Context
from data_plane.protocols.postgres.core.planning import plan
from data_plane.protocols.postgres.core.units import Ending, Unit
from data_plane.protocols.postgres.framing import uint32_at


def drifted(unit: Unit, context: Context) -> bool:
    """Nothing comes between this and the unit's bytes going out, but the BEGIN of a row guard. Raises whatever planning
    raises."""
    now = planned_again(unit, context)
    return now.refusal is not None or meaning(now.subjects) != meaning(unit.subjects)


def planned_again(unit: Unit, context: Context) -> Unit:
    """Out of the bytes that were judged."""
    if unit.ending is Ending.QUERY:
        return plan(None, unit.raw, context)
    *frames, closing = _frames(unit.raw)
    return plan(Batch(frames), closing, context)


def _frames(raw: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(raw):
        stop = at + 1 + uint32_at(raw, at + 1)
        yield raw[at:stop]
        at = stop
