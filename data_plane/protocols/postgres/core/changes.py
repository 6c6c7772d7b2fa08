"""What a session's open transaction may change of what names mean, and when the catalogue is told.

From when a definition is sent until its transaction has ended, its names are in doubt for every session: a statement
that waits for its locks is resolved by the server only when it has them. What was done is told once more at the end,
when a load can see it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from data_plane.gate.interface import Action, Subject
from data_plane.protocols.postgres.core.context import Context
from data_plane.protocols.postgres.core.names import Meaning
from data_plane.protocols.postgres.core.units import Unit
from data_plane.protocols.postgres.interface import FORGOTTEN, ChangesNames, EndsTransaction, SessionEffect
from data_plane.protocols.postgres.statements.catalogue import WITH_EFFECT

_HARMLESS: Final = (Action.READ, Action.WRITE, Action.SESSION)
_OF_NO_SCHEMA: Final = frozenset({"SELECT", "SET", "RESET"})
_MOST: Final = 10_000
_NO_NAMES: Final[frozenset[str]] = frozenset()
_ANY_NAME: Final = frozenset({"*", FORGOTTEN})


class Changes:
    """`pending`: something is to be told when the transaction ends."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.pending = False
        self._done: list[Subject] = []  # what may have changed the schema, in order: a name goes from one to the next
        self._names = _NO_NAMES  # that it changed
        self._sent = _NO_NAMES  # … or may have changed, since it is sent

    def sent(self, unit: Unit) -> None:
        """What changes names is a barrier: nothing else of the session is under way."""
        if not unit.barrier:
            return
        changes = (effect for meaning in unit.meanings for effect in meaning.effects)
        names = self._sent.union(*(effect.names for effect in changes if isinstance(effect, ChangesNames)))
        if names != self._sent:
            self._sent, self.pending = names, True
            self._context.catalogue.altering(self, names)

    def follow(self, effect: SessionEffect) -> None:
        """With COMMIT AND CHAIN the session is never at rest between two transactions."""
        if isinstance(effect, ChangesNames):
            altered = bool(self._context.settings.path.altered)
            if altered:
                self._names |= effect.names
            self._context.masking.in_doubt(altered=altered)
        elif isinstance(effect, EndsTransaction) and self._done:
            self.ended()

    def done(self, meaning: Meaning) -> None:
        for subject in _changing(meaning):
            if len(self._done) >= _MOST:  # so many that all before is told now, and any name is in doubt
                self._context.catalogue.changed(self._done)
                self._done, self._names = [], _ANY_NAME
            self._done.append(subject)
            self.pending = True
            self._context.catalogue.changed((subject,))

    def ended(self) -> None:
        """The transaction has."""
        if self._done:
            self._context.catalogue.changed(self._done, names=self._names)
            self._done, self._names = [], _NO_NAMES
            self._context.masking.in_doubt(altered=False)
        if self._sent:
            self._sent = _NO_NAMES
            self._context.catalogue.altering(self, _NO_NAMES)
        self.pending = False

    def abandoned(self, units: Iterable[Unit]) -> None:
        """The target is not heard any more: what was sent, or is not known to be committed, may have been done."""
        for unit in units:
            for meaning in unit.meanings:
                self._done += _changing(meaning)
                for effect in meaning.effects:
                    if isinstance(effect, ChangesNames):
                        self._names |= effect.names
        self.ended()


def _changing(meaning: Meaning) -> list[Subject]:
    """What it runs that may change the schema."""
    statements = (meaning.statement, *meaning.named)
    subjects = [each.subject for each in statements if each is not None and each.subject.action not in _HARMLESS]
    return [subject for subject in subjects if not _leaves_the_schema(subject)]


def _leaves_the_schema(subject: Subject) -> bool:
    """Some parameters, and reading some relations of the server's, are administration; they are no definitions."""
    if not subject.understood or not _OF_NO_SCHEMA.issuperset(subject.verbs):
        return False
    called = (name for resource in subject.resources if resource.kind == "function" for name in resource.candidates)
    return WITH_EFFECT.isdisjoint(name.rpartition(".")[2] for name in called)
