"""The fast lane: a plain statement alone in what the client sent, and its plain answer alone in what the target sent.

It keeps nothing of its own and decides nothing: a unit that `plan_plain` makes is the one that `planning` would make
of the same bytes, it gets its verdict from the same gate, waits in the same pipeline, and `read_plain` only says what
`relay` would find, message by message, in a whole and ordinary answer. Whatever is not exactly of these forms is None
here, and takes the ordinary path:

    Query                                       one statement, understood or not, that changes nothing of its session
    Bind, [Describe portal], Execute, Sync      of the unnamed portal and a statement of that kind, for all rows
    [BindComplete], [RowDescription or NoData], DataRow*, CommandComplete, ReadyForQuery

In a session with masks the portal must be described, and nothing may be stored. A unit behind another that is not
answered, and bytes that end in the middle of a message, are never of these forms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, final

from mypy_extensions import mypyc_attr

from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.answers import encode_ready_for_query
from data_plane.protocols.postgres.core.context import Context
from data_plane.protocols.postgres.core.names import LONGEST_NAME, Meaning, Portal, Prepared
from data_plane.protocols.postgres.core.states import Expected
from data_plane.protocols.postgres.core.units import Ending, PlainUnit, Unit
from data_plane.protocols.postgres.framing import HEADER, encode, uint32_at
from data_plane.protocols.postgres.interface import Statement

if TYPE_CHECKING:
    from mypy_extensions import i64  # see `framing`

_QUERY: Final = m.Query
_BIND: Final = m.Bind
_BY_QUERY: Final = Ending.QUERY
_BY_SYNC: Final = Ending.SYNC
_QUERY_STEP: Final = (Expected.QUERY, None, "")
_BIND_STEP: Final = Expected.BIND
_DESCRIBE_STEP: Final = Expected.DESCRIBE_PORTAL
_EXECUTE_STEP: Final = Expected.EXECUTE
_READY_STEP: Final = (Expected.READY, None, "")
_UNNAMED: Final = (("P", ""),)
_RUN: Final = m.encode_execute("") + m.SYNC
_DESCRIBE_AND_RUN: Final = m.encode_describe(b"P", "") + _RUN

_ROWS: Final = m.RowDescription
_ROW: Final = m.DataRow
_COMPLETE: Final = m.CommandComplete
_BOUND: Final = encode(m.BindComplete)
_NO_DATA: Final = encode(m.NoData)
_READY_LENGTH: Final = 6
_READY_IDLE: Final = encode_ready_for_query(m.IDLE)
_READY_IN_TRANSACTION: Final = encode_ready_for_query(m.IN_TRANSACTION)
_LONGEST_TAG: Final = 256
_LEAST: Final = 4  # a length counts itself
_ONE_FORMAT: Final[Sequence[Sequence[int]]] = ((0,), (1,))  # made once: this is read for every execution
_NULL: Final = 0xFFFFFFFF  # the length of a parameter that is NULL
_STEPS_WITHOUT_DESCRIBE: Final = 3
LARGEST: Final = 64 * 1024  # bytes of an answer; larger ones have rows that are worth the ordinary walk


def plan_plain(data: bytes, context: Context) -> PlainUnit | None:
    """The unit that these bytes are. Only when nothing is unanswered and nothing is left of earlier bytes."""
    if len(data) <= HEADER or len(data) > context.limits.batch_bytes or context.masking.carries_mark(data):
        return None
    if context.catalogue.stale:  # it may have to wait, see `loading`
        return None
    type_ = data[0]
    if type_ == _QUERY:
        return _plan_query(data, context)
    return _plan_execution(data, context) if type_ == _BIND else None


def _plan_query(data: bytes, context: Context) -> PlainUnit | None:
    last: i64 = len(data) - 1
    if data[last] or uint32_at(data, 1) != last:
        return None
    text = data[HEADER:last]
    if 0 in text or not text.isascii() or b'&"' in text:  # `lexing.plainly_ascii`, without a call
        return None
    statements = context.classifier.parse(text).statements
    if len(statements) != 1 or not _plain(statement := statements[0], context):
        return None
    unit, context.spare = context.spare, None
    if unit is None or unit.portal is not None or unit.meaning.statement is not statement:
        unit = PlainUnit(data, _BY_QUERY, Meaning(statement))
        unit.steps = [_QUERY_STEP]
    unit.raw = data
    unit.asks(text)
    unit.subjects = (context.catalogue.resolve(statement.subject, context.settings.path),)
    return unit


def _plan_execution(data: bytes, context: Context) -> PlainUnit | None:
    """Bind begins with the empty name of the unnamed portal."""
    stop: i64 = uint32_at(data, 1) + 1
    if not (describes := data.endswith(_DESCRIBE_AND_RUN)) and not data.endswith(_RUN):
        return None
    tail = len(_DESCRIBE_AND_RUN) if describes else len(_RUN)
    if len(data) - stop != tail or data[HEADER] or not (end := _end_of_name(data, HEADER + 1)):
        return None
    if (results := _result_formats(data, end + 1, stop)) is None:
        return None
    prepared = _prepared(data[HEADER + 1 : end], context)
    if prepared is None or (statement := prepared.statement) is None or not _plain(statement, context):
        return None
    if context.describes and not describes:
        return None
    unit, context.spare = context.spare, None
    if unit is None or not _executes(unit, prepared, results) or unit.described is not describes:
        unit = _execution(Portal(prepared, results, None), data, described=describes)
    unit.raw = data
    unit.subjects = (context.catalogue.resolve(statement.subject, context.settings.path),)
    unit.bind, unit.types = data[:stop], prepared.parameter_types
    return unit


def _executes(unit: PlainUnit, prepared: Prepared, results: Sequence[int]) -> bool:
    portal = unit.portal
    return portal is not None and portal.prepared is prepared and portal.formats == results


def _execution(portal: Portal, data: bytes, *, described: bool) -> PlainUnit:
    meaning = Meaning(portal.prepared.statement, portal)
    unit = PlainUnit(data, _BY_SYNC, meaning)
    unit.asks(portal.prepared.text)
    unit.portal, unit.described = portal, described
    unit.defined = _UNNAMED
    bound, runs = (_BIND_STEP, portal, ""), (_EXECUTE_STEP, meaning, "")
    unit.steps = [bound, (_DESCRIBE_STEP, portal, ""), runs, _READY_STEP] if described else [bound, runs, _READY_STEP]
    return unit


def _prepared(name: bytes, context: Context) -> Prepared | None:
    tables, most = context.tables, context.limits.names
    if len(tables.statements) > most or len(tables.portals) >= most:
        return None
    try:
        return tables.statements.get(name.decode())
    except UnicodeDecodeError:
        return None


def _end_of_name(data: bytes, at: i64) -> i64:
    """0 when the name that begins there is too long for one. `data` does not end in it."""
    end: i64 = at
    while data[end]:
        end += 1
        if end - at > LONGEST_NAME:
            return 0
    return end


def _plain(statement: Statement, context: Context) -> bool:
    """Whether running it changes nothing that anything is judged by, and moves nothing that may be masked."""
    return statement.plain and (statement.stores is None or not context.describes)


def _result_formats(data: bytes, at: i64, stop: i64) -> Sequence[int] | None:
    """Of a Bind whose formats begin at `at` and that ends at `stop`; None unless it is well-formed to its end."""
    try:
        formats, at = _formats(data, at)
        count: i64 = _uint16_at(data, at)
        at += 2
        for _ in range(count):
            size = uint32_at(data, at)
            if size != _NULL and size > stop:
                return None
            at += 4 if size == _NULL else 4 + size
        results, at = _formats(data, at)
    except (IndexError, ValueError):
        return None
    return results if at == stop and (len(formats) < 2 or len(formats) == count) else None


def _uint16_at(data: bytes, at: i64) -> i64:
    value: i64 = data[at]
    return value << 8 | data[at + 1]


def _formats(data: bytes, at: i64) -> tuple[Sequence[int], i64]:
    count: i64 = _uint16_at(data, at)
    at += 2
    if not count:
        return (), at
    if count == 1:
        return _ONE_FORMAT[_format_at(data, at)], at + 2
    return tuple([_format_at(data, place) for place in range(at, at + 2 * count, 2)]), at + 2 * count


def _format_at(data: bytes, at: i64) -> int:
    if (format_ := _uint16_at(data, at)) > 1:
        raise ValueError("a format code is 0 (text) or 1 (binary)")
    return int(format_)


@final
@mypyc_attr(free_list_len=1)  # one is made and dropped for every statement
class PlainAnswer:
    """The whole answer to a plain unit: its command tag, how many rows, and where in it they begin and end."""

    __slots__ = ("begin", "end", "rows", "tag")

    def __init__(self, tag: str, rows: int, begin: int, end: int) -> None:
        self.tag = tag
        self.rows = rows
        self.begin = begin
        self.end = end


def read_plain(data: bytes, unit: Unit) -> PlainAnswer | None:
    """None when `data` is anything but the whole answer to a plain unit."""
    last: i64 = len(data) - _READY_LENGTH
    at_rest = data.endswith(_READY_IDLE) or data.endswith(_READY_IN_TRANSACTION)  # noqa: PIE810  # compiled: no calls
    if not HEADER <= last <= LARGEST or not at_rest:
        return None
    at: i64 = 0
    if unit.ending is _BY_QUERY:
        described = data[0] == _ROWS
        rowless = not described
    else:
        at, described = HEADER, len(unit.steps) > _STEPS_WITHOUT_DESCRIBE
        rowless = described and data[HEADER] != _ROWS
        if not data.startswith(_BOUND) or (rowless and data[HEADER : 2 * HEADER] != _NO_DATA):
            return None
    try:
        found = _read_rows(data, at, last, described=described)
    except (IndexError, UnicodeDecodeError):
        return None
    return None if found is None or (rowless and found.rows) else found


def _read_rows(data: bytes, at: i64, last: i64, *, described: bool) -> PlainAnswer | None:
    """Raises IndexError when messages are not where their lengths say, UnicodeDecodeError for an odd tag."""
    if described:
        length: i64 = uint32_at(data, at + 1)
        if length < _LEAST:
            return None
        at += length + 1
    begin: i64 = at
    rows: i64 = 0
    length = uint32_at(data, at + 1)
    while data[at] == _ROW and length >= _LEAST:
        at += length + 1
        rows += 1
        length = uint32_at(data, at + 1)
    if data[at] != _COMPLETE or at + length + 1 != last or not _LEAST < length <= _LONGEST_TAG:
        return None
    return PlainAnswer(data[at + HEADER : last - 1].decode(), rows, begin, at)


def description_in(data: bytes, unit: Unit) -> bytes | None:
    """What a plain answer tells of its columns: see `Portal.description`."""
    if unit.ending is _BY_QUERY:
        return data[HEADER : 1 + uint32_at(data, 1)]
    if len(unit.steps) == _STEPS_WITHOUT_DESCRIBE:
        return None
    return data[2 * HEADER : HEADER + 1 + uint32_at(data, HEADER + 1)]
