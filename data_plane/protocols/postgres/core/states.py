"""The two state machines of a session as tables: what a client may send, and what the target may answer.

A pair that is not in a table is an error that ends the session. Follows "Message Flow" (chapter 55.2): a simple
query is one `Query` answered up to ReadyForQuery; the extended protocol is a pipeline of messages up to `Sync`; after
an error the server discards messages until Sync, which `pipeline` mirrors.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from data_plane.protocols.postgres import messages as m

# ------------------------------------------------------------------ the client


class Treatment(enum.Enum):
    """What becomes of a message of the client."""

    GATED = "judged alone"
    COLLECTED = "judged with its batch"
    CLOSES_BATCH = "the batch before it is judged, then it goes along"
    STREAMED = "part of a COPY that was allowed"
    IGNORED = "the server would ignore it, so it goes no further"
    DENIED = "answered with an error"
    QUEUED = "waits, unjudged"
    GOODBYE = "ends the session"
    REFUSED = "ends the session with an error: the default"


class Phase(enum.Enum):
    """What the session does with what the client sends."""

    READY = "takes messages"
    WAITING = "a unit waits for the answers to earlier ones"
    HELD = "people decide on a unit"
    COPYING = "the client sends the data of a COPY"
    GUARDED = "a unit runs under a row guard"
    WIDENING = "the session's account is being made wider for a unit"
    WIDENED = "it is, or may be, wider than it was"
    ENDED = "nothing is taken any more"

    treatments: tuple[Treatment, ...]  # by message type, filled from CLIENT_MESSAGES


_OPERATIONS: Final = (m.Query, m.Parse, m.Bind, m.Describe, m.Execute, m.Close, m.FunctionCall, m.Sync, m.Flush)
_COPY: Final = (m.CopyData, m.CopyDone, m.CopyFail)

CLIENT_MESSAGES: Final[Mapping[Phase, Mapping[int, Treatment]]] = {
    Phase.READY: {
        m.Query: Treatment.GATED,
        m.Parse: Treatment.COLLECTED,
        m.Bind: Treatment.COLLECTED,
        m.Describe: Treatment.COLLECTED,
        m.Execute: Treatment.COLLECTED,
        m.Close: Treatment.COLLECTED,
        m.Sync: Treatment.CLOSES_BATCH,
        m.Flush: Treatment.CLOSES_BATCH,
        m.FunctionCall: Treatment.DENIED,
        m.CopyData: Treatment.IGNORED,  # what was on its way when a COPY failed
        m.CopyDone: Treatment.IGNORED,
        m.CopyFail: Treatment.IGNORED,
        m.Terminate: Treatment.GOODBYE,
    },
    Phase.WAITING: dict.fromkeys((*_OPERATIONS, *_COPY, m.Terminate), Treatment.QUEUED),
    Phase.GUARDED: dict.fromkeys((*_OPERATIONS, *_COPY, m.Terminate), Treatment.QUEUED),
    Phase.WIDENED: dict.fromkeys((*_OPERATIONS, *_COPY, m.Terminate), Treatment.QUEUED),
    Phase.WIDENING: {**dict.fromkeys((*_OPERATIONS, *_COPY), Treatment.QUEUED), m.Terminate: Treatment.GOODBYE},
    Phase.HELD: {**dict.fromkeys((*_OPERATIONS, *_COPY), Treatment.QUEUED), m.Terminate: Treatment.GOODBYE},
    Phase.COPYING: {
        **dict.fromkeys(_COPY, Treatment.STREAMED),
        m.Sync: Treatment.IGNORED,
        m.Flush: Treatment.IGNORED,
        m.Terminate: Treatment.GOODBYE,
    },
    Phase.ENDED: dict.fromkeys(range(256), Treatment.IGNORED),
}

for _phase, _row in CLIENT_MESSAGES.items():
    _phase.treatments = tuple(_row.get(type_, Treatment.REFUSED) for type_ in range(256))

# ------------------------------------------------------------------ the target


class Expected(enum.Enum):
    """What the target has to answer next. A step of a unit begins in one of these and ends at DONE."""

    NOTHING = "no unit is unanswered"
    PARSE = "to Parse"
    BIND = "to Bind"
    CLOSE = "to Close"
    DESCRIBE_STATEMENT = "to Describe of a statement"
    DESCRIBED_PARAMETERS = "the second half of it"
    DESCRIBE_PORTAL = "to Describe of a portal"
    INJECTED_DESCRIBE = "to a Describe of our own: the client must not see it"
    EXECUTE = "to Execute"
    EXECUTE_COPY_IN = "Execute, while the client sends data"
    EXECUTE_COPY_OUT = "Execute, while the target sends data"
    EXECUTE_COPIED = "Execute, after the data"
    QUERY = "to Query, or to the next statement of one"
    QUERY_ROWS = "Query, after RowDescription"
    QUERY_COPY_IN = "Query, while the client sends data"
    QUERY_COPY_OUT = "Query, while the target sends data"
    QUERY_COPIED = "Query, after the data"
    READY = "ReadyForQuery only: after Sync, or after the error of a Query"
    OWN = "to the CloseComplete before a statement of our own"
    OWN_CLOSED = "to Parse of our own"
    OWN_PARSED = "to Bind of our own"
    OWN_BOUND = "to Execute of our own"
    OWN_DONE = "to Close of our own"
    READY_OWN = "ReadyForQuery only: after a statement of our own"
    REFUSED_QUERY = "the error to a poison Query"
    REFUSED_PARSE = "the error to a poison Parse"
    DONE = "the step is over"
    ENDING = "the target said its last words"

    answers: Mapping[int, Expected]  # filled from TARGET_MESSAGES
    flowing: int  # the type of the messages that come in any number here; 0: none
    skips: bool  # an error here means that the server discards everything up to the next Sync
    own: bool  # the answer to something that the client has not said, and does not hear of


_DONE: Final = Expected.DONE

# Passed on at any time: they belong to no operation.
ASYNCHRONOUS: Final = frozenset({m.NoticeResponse, m.ParameterStatus, m.NotificationResponse})

TARGET_MESSAGES: Final[Mapping[Expected, Mapping[int, Expected]]] = {
    Expected.NOTHING: {m.ErrorResponse: Expected.ENDING},
    Expected.PARSE: {m.ParseComplete: _DONE, m.ErrorResponse: _DONE},
    Expected.BIND: {m.BindComplete: _DONE, m.ErrorResponse: _DONE},
    Expected.CLOSE: {m.CloseComplete: _DONE, m.ErrorResponse: _DONE},
    Expected.DESCRIBE_STATEMENT: {
        m.ParameterDescription: Expected.DESCRIBED_PARAMETERS,
        m.ErrorResponse: _DONE,
    },
    Expected.DESCRIBED_PARAMETERS: {m.RowDescription: _DONE, m.NoData: _DONE, m.ErrorResponse: _DONE},
    Expected.DESCRIBE_PORTAL: {m.RowDescription: _DONE, m.NoData: _DONE, m.ErrorResponse: _DONE},
    Expected.INJECTED_DESCRIBE: {m.RowDescription: _DONE, m.NoData: _DONE, m.ErrorResponse: _DONE},
    Expected.EXECUTE: {
        m.DataRow: Expected.EXECUTE,
        m.CommandComplete: _DONE,
        m.EmptyQueryResponse: _DONE,
        m.PortalSuspended: _DONE,
        m.CopyInResponse: Expected.EXECUTE_COPY_IN,
        m.CopyOutResponse: Expected.EXECUTE_COPY_OUT,
        m.ErrorResponse: _DONE,
    },
    Expected.EXECUTE_COPY_IN: {m.CommandComplete: _DONE, m.ErrorResponse: _DONE},
    Expected.EXECUTE_COPY_OUT: {
        m.CopyData: Expected.EXECUTE_COPY_OUT,
        m.CopyDone: Expected.EXECUTE_COPIED,
        m.ErrorResponse: _DONE,
    },
    Expected.EXECUTE_COPIED: {m.CommandComplete: _DONE, m.ErrorResponse: _DONE},
    Expected.QUERY: {
        m.RowDescription: Expected.QUERY_ROWS,
        m.CommandComplete: Expected.QUERY,
        m.EmptyQueryResponse: Expected.QUERY,
        m.CopyInResponse: Expected.QUERY_COPY_IN,
        m.CopyOutResponse: Expected.QUERY_COPY_OUT,
        m.ErrorResponse: Expected.READY,
        m.ReadyForQuery: _DONE,
    },
    Expected.QUERY_ROWS: {
        m.DataRow: Expected.QUERY_ROWS,
        m.CommandComplete: Expected.QUERY,
        m.ErrorResponse: Expected.READY,
    },
    Expected.QUERY_COPY_IN: {m.CommandComplete: Expected.QUERY, m.ErrorResponse: Expected.READY},
    Expected.QUERY_COPY_OUT: {
        m.CopyData: Expected.QUERY_COPY_OUT,
        m.CopyDone: Expected.QUERY_COPIED,
        m.ErrorResponse: Expected.READY,
    },
    Expected.QUERY_COPIED: {m.CommandComplete: Expected.QUERY, m.ErrorResponse: Expected.READY},
    Expected.READY: {m.ReadyForQuery: _DONE, m.ErrorResponse: Expected.READY},
    Expected.OWN: {m.CloseComplete: Expected.OWN_CLOSED, m.ErrorResponse: Expected.READY_OWN},
    Expected.OWN_CLOSED: {m.ParseComplete: Expected.OWN_PARSED, m.ErrorResponse: Expected.READY_OWN},
    Expected.OWN_PARSED: {m.BindComplete: Expected.OWN_BOUND, m.ErrorResponse: Expected.READY_OWN},
    Expected.OWN_BOUND: {m.CommandComplete: Expected.OWN_DONE, m.ErrorResponse: Expected.READY_OWN},
    Expected.OWN_DONE: {m.CloseComplete: Expected.READY_OWN, m.ErrorResponse: Expected.READY_OWN},
    Expected.READY_OWN: {m.ReadyForQuery: _DONE, m.ErrorResponse: Expected.READY_OWN},
    Expected.REFUSED_QUERY: {m.ErrorResponse: Expected.READY},
    Expected.REFUSED_PARSE: {m.ErrorResponse: _DONE},
    Expected.DONE: {},
    Expected.ENDING: {},
}

_FLOWING: Final[Mapping[Expected, int]] = {
    Expected.EXECUTE: m.DataRow,
    Expected.QUERY_ROWS: m.DataRow,
    Expected.EXECUTE_COPY_OUT: m.CopyData,
    Expected.QUERY_COPY_OUT: m.CopyData,
}

_SKIPPING: Final = frozenset(
    {
        Expected.PARSE,
        Expected.BIND,
        Expected.CLOSE,
        Expected.DESCRIBE_STATEMENT,
        Expected.DESCRIBED_PARAMETERS,
        Expected.DESCRIBE_PORTAL,
        Expected.INJECTED_DESCRIBE,
        Expected.EXECUTE,
        Expected.EXECUTE_COPY_IN,
        Expected.EXECUTE_COPY_OUT,
        Expected.EXECUTE_COPIED,
        Expected.REFUSED_PARSE,
    }
)

_OWN: Final = frozenset(
    {
        Expected.OWN,
        Expected.OWN_CLOSED,
        Expected.OWN_PARSED,
        Expected.OWN_BOUND,
        Expected.OWN_DONE,
        Expected.READY_OWN,
    }
)

for _expected in Expected:
    _expected.answers = TARGET_MESSAGES[_expected]
    _expected.own = _expected in _OWN
    _expected.flowing = _FLOWING.get(_expected, 0)
    _expected.skips = _expected in _SKIPPING
