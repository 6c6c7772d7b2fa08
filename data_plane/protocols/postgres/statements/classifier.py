"""`StatementClassifier`: SQL text in, `ParsedQuery` out. Pure, cached, and it never raises.

A text that was seen before costs a dictionary look-up, and so does one that differs from it only in the digits of a
few integers; one that differs in other literals costs finding its shape. Only statements whose judgement cannot depend
on a constant are shared by shape: one SELECT, INSERT, UPDATE or DELETE that is understood, has no effect on its
session, and whose LIMIT constants (the one fact that is a constant) are still in the shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from pglast import parser

from data_plane.protocols.postgres.interface import Classifier, Form, ParsedQuery, Statement
from data_plane.protocols.postgres.statements import form, lexing
from data_plane.protocols.postgres.statements.cache import Cache
from data_plane.protocols.postgres.statements.findings import not_understood
from data_plane.protocols.postgres.statements.reading import Reading, read
from data_plane.protocols.postgres.statements.shape import DIGITS, differs_in_integers_only, kept_limits, shape

SHARED_COMMANDS = frozenset(("SELECT", "INSERT", "UPDATE", "DELETE"))
MOST_STATEMENTS = 1000  # in one query string
LARGEST_TREE = 2 * 1024 * 1024  # of JSON: reading takes time by the parts of a text, not by its bytes
_FORMS = 512
_FORMS_SIZE = 512 * 1024
_decode = msgspec.json.Decoder().decode


class StatementClassifier(Classifier):
    """One for a process: it holds nothing of any session."""

    __slots__ = ("_forms", "_numbered", "_shapes", "_texts")

    def __init__(self, entries: int = 8192, size: int = 8 * 1024 * 1024) -> None:
        self._forms: Cache[Form] = Cache(_FORMS, _FORMS_SIZE)
        self._numbered: Cache[ParsedQuery] = Cache(entries, size)  # by texts with every digit made the same
        self._texts: Cache[ParsedQuery] = Cache(entries, size)
        self._shapes: Cache[ParsedQuery] = Cache(entries, size)

    def parse(self, text: bytes) -> ParsedQuery:
        """Never raises. `text` is without its NUL."""
        numbered = text.translate(DIGITS)
        found = self._numbered.younger.get(numbered) or self._numbered.get(numbered) or self._texts.get(text)
        return found or self._parse(text, numbered)

    def _parse(self, text: bytes, numbered: bytes) -> ParsedQuery:
        key = shape(text)
        found = self._shapes.get(key) if key is not None else None
        if found is not None and key is not None and key != text:
            if differs_in_integers_only(text, key):
                self._numbered.put(numbered, found)
            return found  # and not by its text too: texts that differ in literals are many, and rarely the same
        if found is None:
            found = self._read(text, key)
        cache = self._texts if b"0" in numbered else self._numbered  # without a digit it is the text itself
        cache.put(text, found)
        return found

    def form(self, text: bytes) -> Form | None:
        """See `form`. For operations that are held, which are few."""
        found = self._forms.get(text)
        if found is None and (found := form.form(text)) is not None:
            self._forms.put(text, found)
        return found

    def _read(self, text: bytes, key: bytes | None) -> ParsedQuery:
        readings = read_text(text)
        found = ParsedQuery(tuple(reading.statement for reading in readings))
        if key is not None and may_share(readings, key):
            self._shapes.put(key, found)
        return found


def read_text(text: bytes) -> Sequence[Reading]:
    """Without any cache. What goes wrong is one statement that is not understood."""
    try:
        problem = lexing.refused(text)
        return (_failed(problem),) if problem else _read_all(parser.parse_sql_json(text.decode()), text)
    except parser.ParseError as error:
        return (_failed(_explain(error, text)),)
    except RecursionError:
        return (_failed("not understood: nested too deeply; write it with fewer levels"),)
    except Exception as error:  # noqa: BLE001  # whatever it is, nothing passes that was not understood
        return (_failed(f"not understood: reading it failed ({type(error).__name__})"),)


def _read_all(tree: str, text: bytes) -> Sequence[Reading]:
    if len(tree) > LARGEST_TREE:
        return (_failed(f"not understood: too many parts in one text; {lexing.SMALLER}"),)
    raw: list[dict[str, Any]] = _decode(tree).get("stmts", [])
    if len(raw) > MOST_STATEMENTS:
        return (_failed(f"not understood: more than {MOST_STATEMENTS} statements; send them in parts"),)
    if len(raw) == 1:
        return (read(raw[0]["stmt"]),)
    return tuple(read(statement["stmt"], _own(statement, text)) for statement in raw)


def _own(statement: dict[str, Any], text: bytes) -> bytes:
    """What of the text is this statement: libpg_query counts bytes, and leaves out the length of what goes to the end.
    The comments before it are not in it."""
    begin: int = statement.get("stmt_location", 0)
    length: int = statement.get("stmt_len", 0)
    return (text[begin : begin + length] if length else text[begin:]).strip()


def _explain(error: Exception, text: bytes) -> str:
    """The position is left out of a text with other characters than ASCII: pglast counts those twice."""
    message, position = (*error.args, None, None)[:2]
    where = f" at position {position + 1}" if isinstance(position, int) and text.isascii() else ""
    return f"not understood{where}: {message}"


def _failed(problem: str) -> Reading:
    return Reading(Statement(not_understood(problem)))


def may_share(readings: Sequence[Reading], key: bytes) -> bool:
    """Whether every text of this shape has the same judgement."""
    if len(readings) != 1:
        return False
    statement, limits = readings[0].statement, readings[0].constant_limits
    if not statement.subject.understood or statement.effects or statement.references or statement.copy is not None:
        return False
    facts = statement.subject.facts
    return facts["command"] in SHARED_COMMANDS and not facts["settings"] and limits == kept_limits(key)
