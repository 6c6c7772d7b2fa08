"""What the parts of the PostgreSQL protocol say to each other: statements, names, results. Values only.

`statements/` reads SQL and produces `ParsedQuery`; `core/` follows both wires and asks for verdicts;
`catalog` knows what the target's names mean; `rows` masks results by a `ResultPlan`.
"""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from data_plane.protocols.postgres.ports import Classifier as Classifier  # noqa: PLC0414  # told of from here
from data_plane.protocols.postgres.ports import Masking as Masking  # noqa: PLC0414
from data_plane.protocols.postgres.ports import Names as Names  # noqa: PLC0414
from data_plane.protocols.postgres.statement import ParsedQuery as ParsedQuery  # noqa: PLC0414  # told of from here
from data_plane.protocols.postgres.statement import Statement as Statement  # noqa: PLC0414

REASON: Final = "assentry.reason"
"""The parameter by which a client says what its operations are for. It is shown to people and is in no digest; whatever
reads it at the target must know that every client may set it."""
ACCOUNT: Final = "assentry.account"
"""Beside what the target tells of itself at the start: the account that was made for this session, where one was. Its
name means nothing to anybody else, so it is in no digest."""

# ------------------------------------------------------------------ what a statement does to its session


class Prepares(msgspec.Struct, frozen=True):
    """`text`: the statement's own, where others stand in its query string; empty: it is the whole."""

    name: str
    statement: Statement
    text: bytes = b""


class Deallocates(msgspec.Struct, frozen=True):
    name: str | None  # None: all


class Declares(msgspec.Struct, frozen=True):
    """`text`: as of `Prepares`."""

    cursor: str
    statement: Statement
    hold: bool
    text: bytes = b""


class ClosesCursor(msgspec.Struct, frozen=True):
    cursor: str | None  # None: all


class SetsParameter(msgspec.Struct, frozen=True):
    """SET, RESET (value None), also the SQL forms such as SET TIME ZONE. Names are lower case."""

    name: str
    value: str | None
    local: bool


class DiscardsAll(msgspec.Struct, frozen=True):
    pass


class DiscardsTemporary(msgspec.Struct, frozen=True):
    pass


class CreatesTemporary(msgspec.Struct, frozen=True):
    """`lasts`: beyond its transaction. `alone`: it is certainly made, and goes only when it is named."""

    relation: str
    lasts: bool = True
    alone: bool = True


class CreatesView(msgspec.Struct, frozen=True):
    """Of any kind: one that reads a temporary relation is temporary too, without saying so, unless its schema was
    written (`bare` False)."""

    view: str
    bare: bool = True


class RenamesRelation(msgspec.Struct, frozen=True):
    """One whose schema was not written: it may be a temporary one."""

    relation: str
    to: str


CASCADE: Final = "\0cascade"
"""Among the names that a statement changes: it also drops what depends on them."""

CASTS: Final = "\0casts"
"""Among the names that a statement changes: any value may be cast by a function that the catalogue does not know."""

FORGOTTEN: Final = "\0forgotten"
"""Among the names that a transaction changed: what made them is not told, for there was too much of it."""


class ChangesNames(msgspec.Struct, frozen=True):
    """Until its transaction has ended these names (without schemas; `*`: any) may mean what the catalogue cannot know:
    relations, columns, functions, operators and types were made, renamed, replaced or dropped. So may names of what
    goes along with them: partitions and heirs always, and with `CASCADE` among the names whatever depends on something.

    `temporary`: all are relations that would be the session's own, if it has such; `stay`: and keep their names."""

    names: frozenset[str]
    temporary: bool = False
    stay: bool = False


class EndsTransaction(msgspec.Struct, frozen=True):
    """COMMIT, ROLLBACK, PREPARE TRANSACTION …; `keeps` False: settings made inside are undone."""

    keeps: bool


class RollsBackTo(msgspec.Struct, frozen=True):
    savepoint: str


class MakesSavepoint(msgspec.Struct, frozen=True):
    """SAVEPOINT: settings changed after it are undone by RollsBackTo of the same name."""

    savepoint: str


class ReleasesSavepoint(msgspec.Struct, frozen=True):
    savepoint: str


SessionEffect = (
    Prepares
    | Deallocates
    | Declares
    | ClosesCursor
    | SetsParameter
    | DiscardsAll
    | DiscardsTemporary
    | CreatesTemporary
    | CreatesView
    | RenamesRelation
    | ChangesNames
    | EndsTransaction
    | RollsBackTo
    | MakesSavepoint
    | ReleasesSavepoint
)


class RunsPrepared(msgspec.Struct, frozen=True):
    """EXECUTE name(arguments): means what the prepared statement means."""

    name: str


class ReadsCursor(msgspec.Struct, frozen=True):
    """FETCH or MOVE: continues what was judged when the cursor was declared or the portal bound."""

    cursor: str


Reference = RunsPrepared | ReadsCursor

# ------------------------------------------------------------------ where output columns come from


class ColumnSource(msgspec.Struct, frozen=True):
    """The column names an expression reads, without scopes: conservative, by name alone."""

    columns: frozenset[str]
    opaque: bool = False  # whole rows, *, sub-queries or functions that could reveal anything


class Lineage(msgspec.Struct, frozen=True):
    """`outputs` is None when the number of output columns cannot be told from the text (`*`)."""

    outputs: tuple[ColumnSource, ...] | None
    derived: tuple[tuple[str, ColumnSource], ...]  # names given in sub-queries and CTEs, and what they read
    aliases: frozenset[str]  # relation names and aliases: a column reference to one is a whole row
    renamed: bool = False  # a column alias list hides names: treat every computed column as opaque


class CopyStatement(msgspec.Struct, frozen=True):
    """COPY to or from the client. A relation with columns (empty: all), or a query (relation empty)."""

    to_client: bool
    relation: str
    columns: tuple[str, ...]
    options: tuple[tuple[str, str], ...]  # lower-case names: format, delimiter, null, header, quote, escape, encoding


class Form(msgspec.Struct, frozen=True):
    """What statements share that differ in their values only."""

    tree: bytes  # equal for those; nothing else is
    text: str  # the statement with marks in place of the values, for people


# ------------------------------------------------------------------ names and results


class SearchPath(msgspec.Struct, frozen=True):
    schemas: tuple[str, ...]
    temporary: frozenset[str]  # what this session made in pg_temp: it hides others of its name, while it is there
    altered: frozenset[str] = frozenset()  # see ChangesNames
    personal: bool = False  # the account is the session's own: which schemas it may use is not known
    views: frozenset[str] = frozenset()  # what this session made as a view: the catalogue never has temporary ones


class ResultPlan(Protocol):
    """How the rows of one result are masked. Holds no state between calls."""

    def mask_rows(self, rows: bytes) -> bytes:
        """A run of whole DataRow messages in, the same number of whole DataRow messages out. Never raises:
        what cannot be decoded is masked."""


class CopyPlan(Protocol):
    """Masks COPY OUT of one statement; keeps a partial line between calls. `broken`: a row could not be read, so that
    nothing follows and the session must end, for the client would take what it has for the whole."""

    broken: bool

    def mask_data(self, data: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


class CopyRefused(msgspec.Struct, frozen=True):
    message: str
    hint: str
