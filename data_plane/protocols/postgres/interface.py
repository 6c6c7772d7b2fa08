"""What the parts of the PostgreSQL protocol say to each other: statements, names, results. Values only.

`statements/` reads SQL and produces `ParsedQuery`; `core/` follows both wires and asks for verdicts;
`catalog` knows what the target's names mean; `rows` masks results by a `ResultPlan`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import msgspec

from data_plane.gate.interface import Subject
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
    name: str
    statement: Statement


class Deallocates(msgspec.Struct, frozen=True):
    name: str | None  # None: all


class Declares(msgspec.Struct, frozen=True):
    cursor: str
    statement: Statement
    hold: bool


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
    relation: str


class RenamesRelation(msgspec.Struct, frozen=True):
    """One whose schema was not written: it may be a temporary one."""

    relation: str
    to: str


class ChangesNames(msgspec.Struct, frozen=True):
    """Until its transaction has ended these names (without schemas; `*`: any) may mean what the catalogue cannot know:
    relations, columns, functions, operators and types were made, renamed, replaced or dropped."""

    names: frozenset[str]


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


class Classifier(Protocol):
    def parse(self, text: bytes) -> ParsedQuery:
        """Never raises. Cached; a repeated text costs a dictionary look-up. `text` is UTF-8 without its NUL."""

    def form(self, text: bytes) -> Form | None:
        """None: statements of which another may not take the place of this one. Never raises. Only for holds."""


# ------------------------------------------------------------------ names and results


class SearchPath(msgspec.Struct, frozen=True):
    schemas: tuple[str, ...]
    temporary: frozenset[str]  # what this session made in pg_temp: it hides others of its name, while it is there
    altered: frozenset[str] = frozenset()  # see ChangesNames
    personal: bool = False  # the account is the session's own: which schemas it may use is not known


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


class Names(Protocol):
    """The target's catalogue, shared by its sessions."""

    def resolve(self, subject: Subject, path: SearchPath) -> Subject:
        """The subject with qualified candidates; the same object for the same arguments while the catalogue
        stands, so that the gate's decision beside it stays found."""

    def runs_code(self, types: Iterable[int]) -> bool:
        """Whether making or casting values of these types (by OID) calls code of the database."""

    def changed(self, *, names: bool = False) -> None:
        """DDL ran somewhere: what is known may be stale. `names`: so that known names mean something else."""


class Masking(Protocol):
    """Masking of one session. `active` False: results need no look at all."""

    active: bool

    def result(
        self, description: bytes, formats: Sequence[int], statement: Statement | None, masks: tuple[str, ...]
    ) -> ResultPlan | None:
        """A plan for rows described by the payload of a RowDescription; None: nothing in them can need masking.

        `formats` are the result formats of the Bind that runs (empty: those of the description). `statement`
        None: the rows' origin is unknown, so computed columns are masked. Cached by its arguments."""

    def copy(self, statement: Statement, masks: tuple[str, ...]) -> CopyPlan | CopyRefused | None: ...

    def launders(self, statement: Statement, masks: tuple[str, ...]) -> bool:
        """Whether it may store what a masked column holds, where it could be read unmasked."""

    def hidden(self, names: frozenset[str]) -> None:
        """From now on these names may mean temporary relations of the session, of which nothing is known."""

    def in_doubt(self, *, altered: bool) -> None:
        """Whether names may mean anything (ChangesNames): then whatever a mask applies to is masked whole."""

    def message(self, payload: bytes, masks: tuple[str, ...] = ()) -> bytes:
        """The payload of an ErrorResponse or NoticeResponse with protected values taken out; `masks` are those of the
        operation that it answers. As it is when neither session nor operation has masks."""

    def carries_mark(self, data: bytes) -> bool:
        """Whether what a client sends holds a masked value (DESIGN invariant 10)."""
