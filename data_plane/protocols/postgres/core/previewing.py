"""What is asked of a held unit when policy wants a preview of its impact: see `preview.question`."""

from __future__ import annotations

from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.core import guarding
from data_plane.protocols.postgres.core.binding import read_bind
from data_plane.protocols.postgres.core.context import Context
from data_plane.protocols.postgres.core.units import Ending, Unit
from data_plane.protocols.postgres.framing import uint32_at
from data_plane.protocols.postgres.preview.question import Bound, Question, Wanted


def question(unit: Unit, wanted: Wanted, context: Context) -> Question:
    meaning = unit.meanings[0] if len(unit.meanings) == 1 and len(unit.texts) == 1 else None
    return Question(
        wanted=wanted,
        subjects=tuple(unit.subjects),
        statement=meaning.statement if meaning else None,
        text=unit.texts[0] if unit.texts else b"",
        bound=_bound(unit) if meaning else Bound(),
        path=context.settings.path,
        state=context.settings.digest_state(),
        in_transaction=context.in_transaction,
        unguarded=guarding.problem(unit, context),
    )


def _bound(unit: Unit) -> Bound:
    """Of the only portal that runs; what is bound besides does not."""
    portal = unit.meanings[0].portal
    if unit.ending is Ending.QUERY or portal is None:
        return Bound()
    at, found = 0, Bound()
    binds = [step[1] for step in unit.steps if step[0].name == "BIND"]
    while at < len(unit.raw):
        stop = at + 1 + uint32_at(unit.raw, at + 1)
        if unit.raw[at] == m.Bind and binds and binds.pop(0) is portal:
            _, _, formats, values, _ = read_bind(unit.raw[at:stop])
            found = Bound(tuple(portal.prepared.parameter_types), tuple(formats), tuple(values))
        at = stop
    return found
