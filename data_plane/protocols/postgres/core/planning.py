"""From what a client sent to a unit that can be judged: a Query, or the messages of an extended batch.

Planning changes nothing: it reads the tables through a `View`, and when the unit must wait it is planned again later.
It adds one thing of its own to a batch: a Describe of a portal whose columns the client did not ask for, when results
are masked. That Describe is part of the bytes that are judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from data_plane.gate.interface import Action, Parameter, Subject
from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.core import refusals
from data_plane.protocols.postgres.core.batch import Batch
from data_plane.protocols.postgres.core.binding import Values, read_bind, read_execute
from data_plane.protocols.postgres.core.context import Context
from data_plane.protocols.postgres.core.names import (
    LONGEST_NAME,
    Meaning,
    Portal,
    Prepared,
    PreparedAmongOthers,
    UnknownNameError,
    View,
)
from data_plane.protocols.postgres.core.parameters import all_shown
from data_plane.protocols.postgres.core.refusals import Refusal
from data_plane.protocols.postgres.core.settings import sets_against_pin
from data_plane.protocols.postgres.core.states import Expected
from data_plane.protocols.postgres.core.units import Ending, Unit
from data_plane.protocols.postgres.framing import HEADER, RemoteProtocolError
from data_plane.protocols.postgres.interface import (
    EndsTransaction,
    MakesSavepoint,
    Prepares,
    ReleasesSavepoint,
    RollsBackTo,
    SessionEffect,
    Statement,
)
from data_plane.protocols.postgres.statements.lexing import names_are_ascii, plainly_ascii

_WITHOUT_CONSEQUENCE: Final = (Action.READ, Action.WRITE, Action.SESSION)
# Members of an Enum cost a look-up by name each time; these are in every batch.
_QUERY: Final = Expected.QUERY
_BIND: Final = Expected.BIND
_EXECUTE: Final = Expected.EXECUTE
_READY: Final = Expected.READY
_BY_SYNC: Final = Ending.SYNC
_BY_QUERY: Final = Ending.QUERY
_OF_TRANSACTIONS: Final = (EndsTransaction, MakesSavepoint, ReleasesSavepoint, RollsBackTo)

EMPTY: Final = Subject(Action.SESSION, ("EMPTY",), (), {}, understood=True)
PREPARING: Final = Subject(Action.SESSION, ("PREPARE",), (), {}, understood=True)
CONTINUING: Final = Subject(Action.SESSION, ("EXECUTE",), (), {}, understood=True)  # a portal that was judged before


class RefusedError(Exception):
    """The core refuses the unit that is being planned."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def plan(batch: Batch | None, closing: bytes, context: Context) -> Unit:
    """Of a batch and what closes it, or of a Query or FunctionCall alone. Raises RemoteProtocolError."""
    if batch is not None:
        return plan_batch(batch, closing, context)
    return plan_query(closing, context) if closing[0] == m.Query else plan_function_call(closing)


def plan_query(frame: bytes, context: Context) -> Unit:
    """Raises RemoteProtocolError when it is not one string with its only zero byte at the end."""
    if frame.find(0, HEADER) != len(frame) - 1:
        raise RemoteProtocolError("a query is one string that ends with its only zero byte")
    unit = Unit(frame, _BY_QUERY)
    unit.ground = context.ground()
    text = frame[HEADER:-1]
    unit.texts = (text,)
    unit.operations = True
    unit.steps.append((_QUERY, None, ""))
    if (refusal := _misread(text, context)) is not None:
        unit.refusal = refusal
        unit.texts = (text.decode("utf-8", "backslashreplace").encode(),)
        return unit
    statements = context.classifier.parse(text).statements
    if len(statements) == 1 and not (only := statements[0]).effects and not only.references:
        unit.subjects = (context.catalogue.resolve(only.subject, context.settings.path),)
        unit.meanings = (Meaning(only),)
        unit.barrier = only.subject.action not in _WITHOUT_CONSEQUENCE or only.copy is not None
    else:
        _Planner(unit, context).statements(statements)
    if context.masking.carries_mark(frame):
        unit.refusal = refusals.MARKED
    return unit


def plan_batch(batch: Batch, closing: bytes, context: Context) -> Unit:
    """`closing`: the Sync or Flush frame that ends it. Raises RemoteProtocolError for a malformed message."""
    ending = Ending.SYNC if closing[0] == m.Sync else Ending.FLUSH
    unit = Unit(b"", ending)
    unit.ground = context.ground()
    if batch.overflowed:
        unit.operations, unit.refusal = True, refusals.BATCH_TOO_LARGE
        return unit
    _Planner(unit, context).messages(batch.frames, closing)
    return unit


def plan_function_call(frame: bytes) -> Unit:
    """FunctionCall runs a function by its OID, without any SQL: it is always refused."""
    unit = Unit(frame, Ending.QUERY)
    unit.texts = (b"FunctionCall " + frame[HEADER:].hex().encode(),)
    unit.operations = True
    unit.refusal = refusals.FUNCTION_CALL
    return unit


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _misread(text: bytes, context: Context) -> Refusal | None:
    """Why the server may read other names in a text beyond ASCII: another encoding cuts and folds them otherwise."""
    if plainly_ascii(text):
        return None
    if not _is_utf8(text):
        return refusals.NOT_UTF8
    if context.settings.value("server_encoding") == "UTF8" or names_are_ascii(text):
        return None
    return refusals.OTHER_ENCODING


class _Planner:
    """Fills one unit. A refusal ends the planning, not the reading: malformed messages are found all the same."""

    def __init__(self, unit: Unit, context: Context) -> None:
        self._unit = unit
        self._context = context
        self._view = View(context.tables, context.settings, unit.ground)
        self._failed = context.failed  # so the first end of a transaction here only rolls back
        self._subjects: dict[Subject, None] = {}  # in order, each once
        self._prepared: dict[Prepared, None] = {}  # by this unit, and not bound by it yet
        self._texts: dict[bytes, None] = {}
        self._parameters: list[Parameter] = []
        self._meanings: list[Meaning] = []
        self._portals = 0
        self._described: set[Portal] = set()
        self._raw: list[bytes] = []
        self._copies_in = False

    # -------------------------------------------------------------- a Query

    def statements(self, statements: Sequence[Statement]) -> None:
        unit = self._unit
        try:
            for place, statement in enumerate(statements):
                meaning = self._view.meaning(statement)
                self._judged(statement, *meaning.named)
                self._judge_again(*meaning.sources)
                self._runs(meaning, unit.texts[0], last=place == len(statements) - 1)
        except UnknownNameError as unknown:
            unit.refusal = Refusal(unknown.sqlstate, str(unknown))
        except RefusedError as refused:
            unit.refusal = refused.refusal
        self._texts = dict.fromkeys((*unit.texts, *self._texts))
        if not statements:
            self._subjects[EMPTY] = None
        self._finish()

    # -------------------------------------------------------------- a batch

    def messages(self, frames: Iterable[bytes], closing: bytes) -> None:
        unit = self._unit
        for frame in frames:
            try:
                self._message(frame)
            except UnknownNameError as unknown:
                unit.refusal = unit.refusal or Refusal(unknown.sqlstate, str(unknown))
                unit.operations = True
            except RefusedError as refused:
                unit.refusal = unit.refusal or refused.refusal
                unit.operations = True
        if self._context.masking.carries_mark(b"".join(self._raw)):
            unit.refusal, unit.operations = refusals.MARKED, True
        if len(self._view) > self._context.limits.names and self._view.defined:
            unit.refusal, unit.operations = refusals.TOO_MANY_NAMES, True
        if unit.ending is _BY_SYNC:
            unit.steps.append((_READY, None, ""))
        unit.raw = b"".join((*self._raw, closing))
        self._finish()

    def _message(self, frame: bytes) -> None:
        type_ = frame[0]
        if type_ == m.Bind:
            self._bind(frame)
        elif type_ == m.Execute:
            self._execute(frame)
        elif type_ == m.Parse:
            self._parse(frame[HEADER:])
        elif type_ == m.Describe:
            self._describe(frame[HEADER:])
        else:
            self._close(frame[HEADER:])
        self._raw.append(frame)

    def _parse(self, payload: bytes) -> None:
        fields = m.decode_parse(payload)
        self._check_name(fields.statement)
        self._unit.operations = True
        if (refusal := _misread(fields.query, self._context)) is not None:
            self._texts[fields.query.decode("utf-8", "backslashreplace").encode()] = None
            raise RefusedError(refusal)
        statements = self._context.classifier.parse(fields.query).statements
        if len(statements) > 1:
            self._texts[fields.query] = None
            raise RefusedError(refusals.SEVERAL_STATEMENTS)
        if fields.parameter_types and self._context.catalogue.runs_code(fields.parameter_types):
            self._texts[fields.query] = None
            raise RefusedError(refusals.CODED_PARAMETER)
        prepared = Prepared(fields.query, statements[0] if statements else None, fields.parameter_types)
        self._view.prepare(fields.statement, prepared)
        self._prepared[prepared] = None
        self._unit.steps.append((Expected.PARSE, prepared, fields.statement))

    def _bind(self, frame: bytes) -> None:
        raw_portal, raw_name, formats, values, results = read_bind(frame)
        name, view, unit = raw_portal.decode("utf-8", "surrogateescape"), self._view, self._unit
        if raw_portal:
            self._check_name(name)
        unit.operations = True
        prepared = view.statement(raw_name.decode("utf-8", "surrogateescape"))
        self._prepared.pop(prepared, None)
        self._texts[prepared.text] = None
        self._portals += 1
        if values:
            self._read_parameters(formats, values, prepared)
        portal = Portal(prepared, results, unit.ground)
        view.bind(name, portal)
        unit.steps.append((_BIND, portal, name))
        statement = prepared.statement
        if statement is None:
            self._subjects[EMPTY] = None
        elif statement.references:
            meaning = view.meaning(statement)
            portal.sources = meaning.sources
            self._judged(statement, *meaning.named)
            self._judge_again(*meaning.sources)
            self._tell(meaning.sources)
        else:
            self._subjects[self._context.catalogue.resolve(statement.subject, view.path)] = None

    def _read_parameters(self, formats: Sequence[int], values: Values, prepared: Prepared) -> None:
        prefix = f"{self._portals}." if self._portals > 1 else ""
        self._parameters += all_shown(formats, values, prepared.parameter_types, prefix)

    def _execute(self, frame: bytes) -> None:
        name = read_execute(frame).decode("utf-8", "surrogateescape")
        self._unit.operations = True
        portal = self._view.portal(name)
        if self._copies_in:
            raise RefusedError(refusals.COPY_NOT_LAST)
        statement = portal.prepared.statement
        if portal.ground is not self._unit.ground:
            self._judge_again(portal)
        if not self._subjects:
            self._subjects[CONTINUING] = None
            self._texts[portal.prepared.text] = None
        meaning = self._view.meaning(statement, portal)
        if meaning.sources != portal.sources:
            raise RefusedError(refusals.BOUND_BEFORE)
        if meaning.sources:
            self._judged(*meaning.named)
            self._judge_again(*meaning.sources)
        if self._context.describes and portal not in self._described and (not portal.described or meaning.named):
            self._inject_describe(name, portal)
        self._runs(meaning, portal.prepared.text, last=False)
        self._unit.steps.append((_EXECUTE, meaning, name))

    def _check_name(self, name: str) -> None:
        """A longer name would be cut by the target, and another encoding may have one for two: they become one."""
        raw = name.encode("utf-8", "surrogateescape")
        if len(raw) > LONGEST_NAME:
            raise RefusedError(refusals.NAME_TOO_LONG)
        if not _is_utf8(raw):
            raise RefusedError(refusals.NOT_UTF8)
        if not raw.isascii() and self._context.settings.value("server_encoding") != "UTF8":
            raise RefusedError(refusals.OTHER_ENCODING)

    def _inject_describe(self, name: str, portal: Portal) -> None:
        self._raw.append(m.encode_describe(b"P", name))
        self._unit.steps.append((Expected.INJECTED_DESCRIBE, portal, name))
        self._described.add(portal)

    def _describe(self, payload: bytes) -> None:
        fields = m.decode_named(payload)
        if fields.kind == b"S":
            self._unit.steps.append((Expected.DESCRIBE_STATEMENT, self._view.statement(fields.name), fields.name))
        else:
            portal = self._view.portal(fields.name)
            self._described.add(portal)
            self._unit.steps.append((Expected.DESCRIBE_PORTAL, portal, fields.name))

    def _close(self, payload: bytes) -> None:
        fields = m.decode_named(payload)
        name = (fields.kind.decode(), fields.name)
        self._view.close(name)
        self._unit.steps.append((Expected.CLOSE, name, fields.name))

    # -------------------------------------------------------------- both

    def _judged(self, *statements: Statement) -> None:
        for statement in statements:
            self._subjects[self._context.catalogue.resolve(statement.subject, self._view.path)] = None

    def _judge_again(self, *sources: Prepared | Portal) -> None:
        """Cursors and portals that were judged on another ground than what holds now."""
        for source in sources:
            if isinstance(source, Portal) and source.ground is not self._unit.ground:
                self._texts[source.prepared.text] = None
                if source.prepared.statement is not None:
                    self._judged(source.prepared.statement)

    def _tell(self, sources: Iterable[Prepared | Portal]) -> None:
        """What is named, unless it was made by this very Query, whose text has it."""
        for source in sources:
            prepared = source.prepared if isinstance(source, Portal) else source
            query = prepared.query if isinstance(prepared, PreparedAmongOthers) else prepared.text
            if not any(query is text for text in self._unit.texts):
                self._texts[prepared.text] = None

    def _runs(self, meaning: Meaning, text: bytes, *, last: bool) -> None:
        """Lets the rest of the unit see what this statement would do. Raises RefusedError."""
        self._meanings.append(meaning)
        statement = meaning.statement
        for each in (statement, *meaning.named) if meaning.named else (statement,):
            if each is None:
                continue
            if each.copy is not None:
                self._copies_in = self._copies_in or not each.copy.to_client
                self._unit.barrier = True
            if each.subject.action not in _WITHOUT_CONSEQUENCE:
                self._unit.barrier = True
        if meaning.sources:
            self._tell(meaning.sources)
        if meaning.effects:
            self._take_effects(meaning.effects, text, last=last)

    def _take_effects(self, effects: Sequence[SessionEffect], text: bytes, *, last: bool) -> None:
        if setting := sets_against_pin(effects):
            raise RefusedError(refusals.pinned(setting))
        if self._matters(effects):
            self._unit.barrier = True
        for effect in effects:
            if isinstance(effect, Prepares):
                self._prepared[Prepared(text, effect.statement)] = None
            ends, rolls_back = isinstance(effect, EndsTransaction), self._failed
            if ends and not last and (self._context.settings.in_doubt or self._context.failed):
                self._unit.alone = True  # whether it commits decides about what follows
            if ends or isinstance(effect, RollsBackTo):
                self._failed = False
            self._view.apply(effect, text, "ROLLBACK" if rolls_back else "")

    def _matters(self, effects: Sequence[SessionEffect]) -> bool:
        if self._context.settings.in_doubt:
            return True
        return not all(isinstance(effect, _OF_TRANSACTIONS) for effect in effects) or any(
            isinstance(effect, MakesSavepoint) for effect in effects
        )

    def _finish(self) -> None:
        unit, view = self._unit, self._view
        if self._prepared:
            self._finish_prepared()
        unit.subjects = tuple(self._subjects)
        unit.texts = tuple(self._texts)
        unit.parameters = self._parameters
        unit.meanings = self._meanings
        unit.relied, unit.defined = view.relied, view.defined

    def _finish_prepared(self) -> None:
        """What is prepared and not run is judged too: reading it takes locks. But it is not held for that."""
        gentle, understood = [*self._subjects, PREPARING], True
        for prepared in self._prepared:
            self._texts[prepared.text] = None
            if prepared.statement is None:
                self._subjects[PREPARING] = None
            else:
                self._judged(prepared.statement)
                understood = understood and prepared.statement.subject.understood
        self._unit.gentle = gentle if understood else ()
