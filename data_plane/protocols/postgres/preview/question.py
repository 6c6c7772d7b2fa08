"""What is asked of a held unit. Values only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from data_plane.gate.interface import Preview, Subject
from data_plane.protocols.postgres.interface import SearchPath, Statement

Wanted = tuple[str, ...]


class Bound(msgspec.Struct, frozen=True):
    """Parameters as the client bound them."""

    types: Sequence[int] = ()
    formats: Sequence[int] = ()
    values: Sequence[bytes | None] = ()

    def format(self, place: int) -> int:
        """0 text, 1 binary; Bind gives none, one for all, or one for each."""
        if not self.formats:
            return 0
        return self.formats[place if len(self.formats) > 1 else 0]

    def only(self, numbers: Sequence[int]) -> Bound:
        """Those parameters ($1 is 1), in this order. Raises IndexError for one that was not given."""
        places = [number - 1 for number in numbers]
        return Bound(
            tuple(self.types[place] if place < len(self.types) else 0 for place in places),
            tuple(self.format(place) for place in places),
            tuple(self.values[place] for place in places),
        )


class Question(msgspec.Struct, frozen=True):
    wanted: Wanted  # facts, estimate, count, dry-run
    subjects: tuple[Subject, ...]  # with names as the catalogue resolves them
    statement: Statement | None  # None: not exactly one that is executed once
    text: bytes  # of that statement
    bound: Bound
    path: SearchPath
    state: tuple[tuple[str, str], ...]  # of the session, as in the digest of the operation
    in_transaction: bool
    unguarded: str = ""  # why a row guard cannot bind it


Previews = Callable[[Question], Preview]
"""What the core of a session asks; one for each session."""
