"""Prepared statements and portals by name. SQL (PREPARE, DECLARE, …) and the protocol share both name spaces.

The tables hold what the target confirmed. What makes them sound is one sentence: *for every name, the target has what
the table says, or nothing*. Closing, failing and the end of a transaction only ever lead to "nothing"; a new meaning
enters the table when the target confirms it, and until then no unit that uses the name is judged (`View.relied`).

A unit is judged in a `View`: the tables with what the unit's own messages would do on top, in their order. That is
exact, because after the first failure the target skips the rest of the unit.

It does not see names that functions of the target make or drop (dynamic SQL in PL/pgSQL, refcursors): a name that is
not in the tables is refused, and calling such functions is a matter for policy and for the role's grants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Generic, TypeVar

from data_plane.protocols.postgres.core.settings import Settings
from data_plane.protocols.postgres.interface import (
    ClosesCursor,
    CopyPlan,
    Deallocates,
    Declares,
    DiscardsAll,
    Prepares,
    RunsPrepared,
    SessionEffect,
    Statement,
)

LONGEST_NAME: Final = 63  # bytes; the target would cut a longer one, and two names become one
_DEEPEST: Final = 8  # EXECUTE of a statement that is itself EXECUTE …

Entry = TypeVar("Entry")
Name = tuple[str, str]  # ("S" or "P", the name)


class Prepared:
    """A prepared statement. `statement` None: the empty query. `text`: what prepared it."""

    __slots__ = ("parameter_types", "statement", "text")

    def __init__(self, text: bytes, statement: Statement | None, parameter_types: Sequence[int] = ()) -> None:
        self.text = text
        self.statement = statement
        self.parameter_types = parameter_types


class PreparedAmongOthers(Prepared):
    """By one of several statements of a Query, or declared so. `query`: all of it, which is approved too: what stands
    before the statement may change what it means."""

    __slots__ = ("query",)

    def __init__(self, text: bytes, statement: Statement | None, query: bytes) -> None:
        super().__init__(text, statement)
        self.query = query


class Portal:
    """A portal or cursor whose statement was allowed; `approved`: by people. `description`: the payload of the
    target's RowDescription, empty when it said that there are no rows. `sources`: what its references meant when it
    was bound, for the target keeps the columns of that. `ground`: what it was judged on, see `Gate.ground`."""

    __slots__ = ("approved", "description", "formats", "ground", "holdable", "masks", "prepared", "sources")

    def __init__(
        self, prepared: Prepared, formats: Sequence[int], ground: object, *, holdable: bool = False,
        masks: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self.prepared = prepared
        self.ground = ground
        self.sources: Sequence[Prepared | Portal] = ()
        self.formats = formats
        self.holdable = holdable
        self.masks = masks
        self.approved = False
        self.description: bytes | None = None

    @property
    def described(self) -> bool:
        return self.description is not None


class Meaning:
    """What running a statement does, with what it names filled in, as it is known when it is judged.

    `shown` is the statement whose rows come back: that of the cursor or prepared statement, if it names one.
    `portal` is set for an Execute. `sources` are the very prepared statements and cursors that it names.
    """

    __slots__ = ("copy", "effects", "masks", "named", "portal", "shown", "sources", "statement")

    def __init__(self, statement: Statement | None, portal: Portal | None = None) -> None:
        self.statement = statement
        self.shown = statement
        self.portal = portal
        self.effects: tuple[SessionEffect, ...] = statement.effects if statement else ()
        self.named: tuple[Statement, ...] = ()  # judged along with it
        self.masks: tuple[str, ...] = ()
        self.sources: tuple[Prepared | Portal, ...] = ()
        self.copy: CopyPlan | None = None


def readable(name: str) -> str:
    """A name for messages and records; bytes that are not UTF-8 are replaced."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


class UnknownNameError(Exception):
    """A statement or portal is named that this session has not made; `sqlstate` is what the target would say."""

    def __init__(self, message: str, sqlstate: str) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class Layer(Generic[Entry]):
    """A table with changes on top, so that judging a unit copies nothing."""

    __slots__ = ("_below", "_own")

    def __init__(self, below: Mapping[str, Entry]) -> None:
        self._below = below
        self._own: dict[str, Entry | None] = {}

    def __len__(self) -> int:
        return len(self._below) + len(self._own)

    def __setitem__(self, name: str, entry: Entry) -> None:
        self._own[name] = entry

    def get(self, name: str) -> Entry | None:
        return self._own[name] if name in self._own else self._below.get(name)

    def pop(self, name: str, _: None) -> None:
        self._own[name] = None

    def clear(self) -> None:
        self._below, self._own = {}, {}


class NameTables:
    __slots__ = ("portals", "statements")

    def __init__(self) -> None:
        self.statements: dict[str, Prepared] = {}
        self.portals: dict[str, Portal] = {}

    def query_answered(self) -> None:
        """A Query drops the unnamed statement and the unnamed portal."""
        if self.statements:
            self.statements.pop("", None)
        if self.portals:
            self.portals.pop("", None)

    def transaction_ended(self) -> None:
        if self.portals:
            self.portals = {name: portal for name, portal in self.portals.items() if portal.holdable}

    def close(self, name: Name) -> None:
        if name[0] == "S":
            self.statements.pop(name[1], None)
        else:
            self.portals.pop(name[1], None)

    def apply(self, effect: SessionEffect, text: bytes, ground: object, masks: tuple[str, ...]) -> None:
        apply_effect(effect, self.statements, self.portals, text, ground, masks)


def apply_effect(
    effect: SessionEffect,
    statements: dict[str, Prepared] | Layer[Prepared],
    portals: dict[str, Portal] | Layer[Portal],
    text: bytes,
    ground: object,
    masks: tuple[str, ...] = (),
) -> None:
    match effect:
        case Prepares(name=name, statement=statement, text=own):
            statements[name] = _prepared(text, own, statement)
        case Declares(cursor=name, statement=statement, hold=hold, text=own):
            portals[name] = Portal(_prepared(text, own, statement), (), ground, holdable=hold, masks=masks)
        case Deallocates(name=None):
            statements.clear()
        case Deallocates(name=str() as name):
            statements.pop(name, None)
        case ClosesCursor(cursor=None):
            portals.clear()
        case ClosesCursor(cursor=str() as name):
            portals.pop(name, None)
        case DiscardsAll():
            statements.clear()
            portals.clear()
        case _:
            pass


def _prepared(query: bytes, own: bytes, statement: Statement) -> Prepared:
    return PreparedAmongOthers(own, statement, query) if own else Prepared(query, statement)


def defines(effect: SessionEffect) -> Name | None:
    """The name that an effect gives a new meaning."""
    match effect:
        case Prepares(name=name):
            return ("S", name)
        case Declares(cursor=name):
            return ("P", name)
        case _:
            return None


class View:
    """Names and settings as one unit would leave them. `relied`: the names whose meaning it took from the tables."""

    __slots__ = ("_ground", "_portals", "_settings", "_statements", "defined", "path", "relied")

    def __init__(self, tables: NameTables, settings: Settings, ground: object) -> None:
        self._ground = ground
        self._statements = Layer(tables.statements)
        self._portals = Layer(tables.portals)
        self._settings = settings
        self.path = settings.path
        self.relied: set[Name] = set()
        self.defined: set[Name] = set()

    def __len__(self) -> int:
        return max(len(self._statements), len(self._portals))

    def prepare(self, name: str, prepared: Prepared) -> None:
        self._statements[name] = prepared
        self.defined.add(("S", name))

    def bind(self, name: str, portal: Portal) -> None:
        self._portals[name] = portal
        self.defined.add(("P", name))

    def close(self, name: Name) -> None:
        if name[0] == "S":
            self._statements.pop(name[1], None)
        else:
            self._portals.pop(name[1], None)

    def apply(self, effect: SessionEffect, text: bytes, tag: str) -> None:
        """What a statement of this unit would do, if it succeeds with such a command tag."""
        apply_effect(effect, self._statements, self._portals, text, self._ground)
        if name := defines(effect):
            self.defined.add(name)
        self._settings = self._settings.copy()
        self._settings.apply(effect, tag)
        self.path = self._settings.path

    def statement(self, name: str) -> Prepared:
        self._rely(("S", name))
        if (found := self._statements.get(name)) is None:
            raise UnknownNameError(f'prepared statement "{readable(name)}" does not exist', "26000")
        return found

    def portal(self, name: str, word: str = "portal") -> Portal:
        self._rely(("P", name))
        if (found := self._portals.get(name)) is None:
            raise UnknownNameError(f'{word} "{readable(name)}" does not exist', "34000")
        return found

    def _rely(self, name: Name) -> None:
        if name not in self.defined:
            self.relied.add(name)

    def meaning(self, statement: Statement | None, portal: Portal | None = None) -> Meaning:
        """Raises UnknownNameError."""
        meaning = Meaning(statement, portal)
        if statement is not None and statement.references:
            self._follow(meaning, statement, 0)
        return meaning

    def _follow(self, meaning: Meaning, statement: Statement, depth: int) -> None:
        if depth == _DEEPEST:
            raise UnknownNameError("prepared statements name each other too deeply", "54001")
        for reference in statement.references:
            if isinstance(reference, RunsPrepared):
                prepared = self.statement(reference.name)
                meaning.sources += (prepared,)
                if prepared.statement is not None:
                    meaning.effects += prepared.statement.effects
                    meaning.named += (prepared.statement,)
            else:
                portal = self.portal(reference.cursor, "cursor")
                prepared = portal.prepared
                meaning.sources += (portal,)
                meaning.masks += portal.masks
            meaning.shown = prepared.statement
            if prepared.statement is not None:
                self._follow(meaning, prepared.statement, depth + 1)
