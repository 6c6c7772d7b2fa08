"""What people are told of a held unit besides what would execute: its shape, and what the client says it is for.

The shape is that of one statement that reads or writes data, run once; anything more has none. Equal are the form of
the statement (`statements.form`), the session state that is in the digest too, whether a transaction is open, and the
types of the parameters and which of them are NULL.
"""

from __future__ import annotations

from typing import Final

from data_plane.gate import interface
from data_plane.gate.interface import Action
from data_plane.protocols.postgres.core.context import Context
from data_plane.protocols.postgres.core.settings import Settings
from data_plane.protocols.postgres.core.units import Unit
from data_plane.protocols.postgres.interface import REASON, SetsParameter, Statement

LONGEST_REASON: Final = 1000  # characters
_OF_DATA: Final = frozenset({Action.READ, Action.WRITE, Action.SESSION})


def shape_of(unit: Unit, context: Context, protocol: str, target: str) -> tuple[bytes, str]:
    """The shape and its text for people; both empty when the unit has none."""
    statement = _only_statement(unit)
    form = context.classifier.form(unit.texts[0]) if statement is not None else None
    if form is None:
        return b"", ""
    given = [f"{one.name} {one.type} {'NULL' if one.null else 'given'}".encode() for one in unit.parameters]
    where = b"in transaction" if context.in_transaction else b"idle"
    parts = (form.tree, where, str(len(given)).encode(), *given)
    return interface.shape(protocol, target, context.settings.digest_state(), parts), form.text


def _only_statement(unit: Unit) -> Statement | None:
    """Of a unit that runs one statement once, of which everything is known."""
    if len(unit.texts) != 1 or len(unit.subjects) != 1 or len(unit.meanings) != 1:
        return None
    subject, statement = unit.subjects[0], unit.meanings[0].statement
    if statement is None or statement.effects or statement.references or statement.copy is not None:
        return None
    return statement if subject.understood and subject.actions <= _OF_DATA else None


def reason_of(unit: Unit, settings: Settings) -> str:
    """As the session set it, or as the unit itself does; what is too long says so."""
    reason = settings.value(REASON) or ""
    for meaning in unit.meanings:
        for effect in meaning.effects:
            if isinstance(effect, SetsParameter) and effect.name == REASON:
                reason = effect.value or ""
    left_out = len(reason) - LONGEST_REASON
    return f"{reason[:LONGEST_REASON]} … and {left_out} more characters" if left_out > 0 else reason
