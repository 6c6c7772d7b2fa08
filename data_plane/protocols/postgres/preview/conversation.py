"""One preview's own connection to the target: one statement at a time, each a single Parse, answers within a bound.

By the extended protocol alone, because a Parse takes exactly one statement whatever its text holds. What the target
says in an error is never passed on, only its SQLSTATE: an error may quote data.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

import msgspec

from data_plane.protocols.postgres import answers
from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.framing import HEADER, FrameReader, RemoteProtocolError
from data_plane.protocols.postgres.preview.question import Bound
from data_plane.runtime.connection import Connection

_MOST_BYTES: Final = 1024 * 1024  # of one answer
_NOTHING: Final = Bound()
_LAST_WORDS: Final = frozenset({"FATAL", "PANIC"})


class AskError(Exception):
    """The target refused a statement; `args[0]` is its SQLSTATE."""


class Answer(msgspec.Struct, frozen=True):
    tag: str
    description: bytes  # the payload of RowDescription
    rows: bytes  # whole DataRow messages

    def values(self) -> list[tuple[str | None, ...]]:
        """As text, which is what was asked for."""
        return read_rows(self.rows)


def read_rows(rows: bytes) -> list[tuple[str | None, ...]]:
    reader = FrameReader(m.target_caps())
    cells = (answers.decode_data_row(frame[HEADER:]) for frame in reader.feed(rows))
    return [tuple(None if cell is None else cell.decode("utf-8", "replace") for cell in row) for row in cells]


class Conversation:
    """Call one at a time. Any exception but AskError means that the connection is of no use any more."""

    def __init__(self, connection: Connection, early: bytes, seconds: float) -> None:
        """`seconds`: how long any one answer may take, the target's own limits are shorter."""
        self._connection = connection
        self._frames = FrameReader(m.target_caps(_MOST_BYTES))
        self._early = early
        self._seconds = seconds

    async def ask(self, text: str | bytes, bound: Bound = _NOTHING) -> Answer:
        """Raises AskError, ConnectionError, TimeoutError or RemoteProtocolError."""
        self._connection.send(
            m.encode_parse("", text, bound.types)
            + m.encode_bind("", "", bound.values, bound.formats)
            + m.encode_describe(b"P", "")
            + m.encode_execute("")
            + m.SYNC
        )
        async with asyncio.timeout(self._seconds):
            return await self._answer()

    async def call(self, text: str, *values: str) -> list[tuple[str | None, ...]]:
        """With text parameters."""
        return (await self.ask(text, Bound((), (), [value.encode() for value in values]))).values()

    async def _answer(self) -> Answer:
        tag, description, size, refused = "", b"", 0, ""
        rows: list[bytes] = []
        while True:
            for frame in await self._next():
                type_, payload = frame[0], frame[HEADER:]
                size += len(frame)
                if size > _MOST_BYTES:
                    raise RemoteProtocolError("an answer to a preview that is too large")
                if type_ == m.ReadyForQuery:
                    if refused:
                        raise AskError(refused)
                    return Answer(tag, description, b"".join(rows))
                if type_ == m.DataRow:
                    rows.append(frame)
                elif type_ == m.RowDescription:
                    description = payload
                elif type_ == m.CommandComplete:
                    tag = m.decode_string(payload)
                elif type_ == m.ErrorResponse:
                    refused = _sqlstate(payload)

    async def _next(self) -> Sequence[bytes]:
        data, self._early = self._early, b""
        data = data or await self._connection.receive()
        if not data:
            raise ConnectionAbortedError("the target closed the preview's connection")
        return list(self._frames.feed(data))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.send(m.TERMINATE)
        self._connection.close()


def _sqlstate(payload: bytes) -> str:
    """Raises ConnectionError for last words."""
    fields = answers.decode_notice(payload)
    sqlstate = fields.get(answers.SQLSTATE, "")
    if fields.get(answers.SEVERITY_UNTRANSLATED, fields.get(answers.SEVERITY)) in _LAST_WORDS:
        raise ConnectionAbortedError(f"the target ended the preview's session ({sqlstate})")
    return sqlstate or "XX000"
