"""What kind of thing an operation does, and whether it can be undone, in words for the people who decide. Pure.

It goes by the action and the verbs that the agent tells, and it is about the operation itself: what functions and
triggers do besides, and what other systems make of it, nobody knows here.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec


class Undo(msgspec.Struct, frozen=True):
    kind: str
    possible: bool | None  # None: not known
    how: str


_KINDS: Final = {
    "read": "reads data",
    "write": "changes data",
    "ddl": "changes the structure of the database",
    "admin": "administers the database",
    "exec": "runs code",
    "connect": "opens a connection",
    "session": "changes this session only",
}
_NOTHING: Final = frozenset({"read", "connect", "session"})
# Commands that the server does not roll back, whatever it is told, or that end what could be rolled back.
_AT_ONCE: Final = frozenset({"CHECKPOINT", "COMMIT", "COMMIT PREPARED", "PREPARE TRANSACTION", "VACUUM"})
_REMOVING: Final = frozenset({"DELETE", "DROP", "TRUNCATE"})


def undo_of(action: str, verbs: Collection[str], *, in_transaction: bool) -> Undo:
    kind = _KINDS.get(action, "is not understood in full")
    if action in _NOTHING:
        return Undo(kind, possible=True, how="there is nothing to undo")
    if not _AT_ONCE.isdisjoint(verbs):
        return Undo(kind, possible=False, how="cannot be undone: it takes effect at once and for good")
    if action not in ("write", "ddl"):
        return Undo(kind, possible=None, how="nobody can tell whether it can be undone")
    if in_transaction:
        return Undo(kind, possible=True, how="can be rolled back by the client until it commits its transaction")
    if not _REMOVING.isdisjoint(verbs):
        return Undo(kind, possible=False, how="cannot be undone: it commits by itself, and what it removes is gone")
    return Undo(kind, possible=False, how="cannot be undone: it commits by itself")
