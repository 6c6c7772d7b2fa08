"""A PostgreSQL of a page: transactions, errors that skip to Sync, COPY. No rows that mean anything.

`log` has what ran, in order; a text that was put in the place of a refused one fails and is not in it.
"""

from __future__ import annotations

from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.framing import HEADER
from tests.data_plane.protocols.postgres.core.conversation import (
    BOUND,
    COMPLETE,
    COPY_IN,
    DESCRIPTION,
    PARSED,
    ROW,
    error,
    ready,
)

_ENDS = ("commit", "rollback")


class SmallServer:
    def __init__(self) -> None:
        self.log: list[str] = []
        self._status = "I"
        self._skips = False
        self._copying = b""  # the message that began it: Query or Execute
        self._statements: dict[str, str] = {}
        self._portals: dict[str, str] = {}

    def answers(self, frame: bytes) -> bytes:
        kind, payload = frame[:1], frame[HEADER:]
        if self._copying:
            return self._copied(kind)
        assert kind not in (b"d", b"c", b"f"), "data that no COPY expects"
        if kind == b"S":
            self._skips = False
            return ready(self._status)
        if self._skips or kind == b"H":
            return b""
        if kind == b"Q":
            return self._ran(payload[:-1].decode(), kind)
        if kind == b"P":
            parse = m.decode_parse(payload)
            self._statements[parse.statement] = parse.query.decode()
            return self._failed() if self._fails(parse.query.decode()) else PARSED
        if kind == b"B":
            bind = m.decode_bind(payload)
            self._portals[bind.portal] = self._statements[bind.statement]
            return BOUND
        assert kind == b"E", kind
        return self._ran(self._portals[m.decode_execute(payload).portal], kind)

    def _fails(self, text: str) -> bool:
        return text.startswith("assentry") or (self._status == "E" and not text.startswith(_ENDS))

    def _failed(self, *, of_query: bool = False) -> bytes:
        self._status = "E" if self._status != "I" else "I"
        self._skips = not of_query
        return error("42601") + (ready(self._status) if of_query else b"")

    def _ran(self, text: str, kind: bytes) -> bytes:
        if self._fails(text):
            return self._failed(of_query=kind == b"Q")
        self.log.append(text)
        if "fail" in text:
            return self._failed(of_query=kind == b"Q")
        if text.startswith("copy"):
            self._copying = kind
            return COPY_IN
        if text.startswith(("begin", *_ENDS)):
            self._status = "T" if text.startswith("begin") else "I"
        row = ROW([b"1"]) if text.startswith("select") else b""
        described = DESCRIPTION if row and kind == b"Q" else b""
        tag = COMPLETE(text.partition(" ")[0].upper())
        return described + row + tag + (ready(self._status) if kind == b"Q" else b"")

    def _copied(self, kind: bytes) -> bytes:
        assert kind in (b"d", b"c", b"S", b"H"), f"{kind!r} in the data of a COPY"
        if kind != b"c":
            return b""
        begun, self._copying = self._copying, b""
        return COMPLETE("COPY 1") + (ready(self._status) if begun == b"Q" else b"")
