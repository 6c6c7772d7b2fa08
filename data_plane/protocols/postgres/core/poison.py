"""Puts a statement that must fail in the place of a unit that may not run; see `refusals` for why."""

from __future__ import annotations

from data_plane.protocols.postgres.core import refusals
from data_plane.protocols.postgres.core.states import Expected
from data_plane.protocols.postgres.core.units import Ending, Unit


def poison(unit: Unit, error: bytes) -> bytes:
    """What is sent in place of the unit; the client will get `error` for it. It answers as far as the unit would."""
    unit.error = error
    unit.barrier, unit.defined, unit.meanings = False, (), ()
    unit.steps.clear()
    if unit.ending is Ending.QUERY:
        unit.steps.append((Expected.REFUSED_QUERY, None, ""))
        return refusals.POISON_QUERY
    unit.steps.append((Expected.REFUSED_PARSE, None, ""))
    if unit.ending is Ending.FLUSH:
        return refusals.POISON_PARSE_FLUSH
    unit.steps.append((Expected.READY, None, ""))
    return refusals.POISON_PARSE_SYNC
