"""One SQL statement as it was read, and the query string that it stood in. Values, compared by identity.

A module of its own because it is compiled: they are looked at for every statement that passes. See `interface`, by
whose name they are imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from data_plane.gate.interface import Action, Subject

if TYPE_CHECKING:
    from data_plane.protocols.postgres.interface import CopyStatement, Lineage, Reference, SessionEffect

_WITHOUT_CONSEQUENCE: Final = (Action.READ, Action.WRITE, Action.SESSION)


@final
class Statement:
    """`stores`: the values that it writes into relations; None: none that it has read.

    `counted`: it is one INSERT, UPDATE, DELETE or MERGE, whose command tag counts all rows that it changes itself.
    `transaction`: BEGIN, COMMIT, ROLLBACK, SAVEPOINT, …: the verb, for transaction control only."""

    __slots__ = ("copy", "counted", "effects", "lineage", "plain", "references", "stores", "subject", "transaction")

    def __init__(
        self, subject: Subject, effects: tuple[SessionEffect, ...] = (), references: tuple[Reference, ...] = (),
        lineage: Lineage | None = None, stores: Lineage | None = None, copy: CopyStatement | None = None,
        transaction: str = "", *, counted: bool = False,
    ) -> None:  # fmt: skip
        self.subject: Final = subject  # relation names as written: "schema.name" or "?.name"; functions alike
        self.effects: Final = effects
        self.references: Final = references
        self.lineage: Final = lineage
        self.stores: Final = stores
        self.copy: Final = copy
        self.counted: Final = counted
        self.transaction: Final = transaction
        # Whether running it changes nothing that anything is judged by.
        self.plain: Final = not effects and not references and copy is None and subject.action in _WITHOUT_CONSEQUENCE

    def judged_as(self, subject: Subject) -> Statement:
        return Statement(
            subject,
            self.effects,
            self.references,
            self.lineage,
            self.stores,
            self.copy,
            self.transaction,
            counted=self.counted,
        )


@final
class ParsedQuery:
    """One query string. Empty `statements`: an empty query. A parse failure is one statement, not understood."""

    __slots__ = ("statements",)

    def __init__(self, statements: tuple[Statement, ...]) -> None:
        self.statements: Final = statements
