"""A PostgreSQL of two pages: what `small_server` has, with rows, limits of rows, portals, names in SQL and in the protocol,
COPY in both directions that may fail, and several statements in one Query.
"""

from __future__ import annotations

from collections.abc import Sequence

from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.framing import HEADER
from tests.data_plane.protocols.postgres.core import conversation as c


class FailedError(Exception):
    """A statement did."""


class Server:
    def __init__(self) -> None:
        self.status, self.skips, self.copying = "I", False, b""
        self.unsynced = False  # something ran that its Sync may yet commit
        self.after: list[str] = []  # the rest of a Query that is in a COPY
        self.statements: dict[str, str] = {}
        self.portals: dict[str, tuple[str, int]] = {}  # the text, and the rows that are left

    def answers(self, frame: bytes) -> bytes:
        kind, payload = frame[:1], frame[HEADER:]
        if kind == b"X":
            return b""
        if self.copying:
            return self._copied(kind, payload)
        if kind == b"S":
            self.skips = False
            return self._at_rest()
        if self.skips or kind in (b"H", b"d", b"c", b"f"):
            return b""
        if kind == b"Q":
            self.statements.pop("", None), self.portals.pop("", None)
            text = payload[:-1].decode()
            return self._query([text] if "refused" in text else text.split("; "))
        told, self.unsynced = bytearray(), self.unsynced or frame[:1] in (b"B", b"E", b"Q")
        try:
            self._message(kind, payload, told)
        except FailedError:
            self.skips = True
            told += self._failed()
        return bytes(told)

    def _message(self, kind: bytes, payload: bytes, told: bytearray) -> None:
        if kind == b"P":
            parse = m.decode_parse(payload)
            text = parse.query.decode()
            self._check(text, fails=bool(parse.statement) and parse.statement in self.statements)
            self.statements[parse.statement] = text
            told += c.PARSED
        elif kind == b"B":
            bind = m.decode_bind(payload)
            text = self.statements.get(bind.statement, "")
            self._check(text, fails=not text or (bool(bind.portal) and bind.portal in self.portals))
            self.portals[bind.portal] = (text, self._rows(text))
            told += c.BOUND
        elif kind == b"E":
            execute = m.decode_execute(payload)
            text, left = self.portals.get(execute.portal, ("", -1))
            self._check(text, fails=left < 0 or (left == 0 and text.startswith("delete")))
            rows = min(left, execute.row_limit or left)
            self.portals[execute.portal] = (text, left - rows)
            self._run(text, rows, kind, told, suspends=0 < execute.row_limit == rows)
        elif kind == b"D":
            name = m.decode_named(payload).name
            self._check("", fails=name not in self.portals)
            told += c.DESCRIPTION if self._rows(self.portals[name][0]) else c.NO_DATA
        else:
            self._forget(m.decode_named(payload))
            told += c.CLOSED

    def _forget(self, named: m.Named) -> None:
        (self.statements if named.kind == b"S" else self.portals).pop(named.name, None)

    def _check(self, text: str, *, fails: bool) -> None:
        if (
            fails
            or "refused" in text
            or (self.status == "E" and text and not text.lower().startswith(("commit", "rollback")))
        ):
            raise FailedError

    def _rows(self, text: str) -> int:
        word, _, rest = text.partition(" ")
        if word == "execute":
            return self._rows(self.statements.get(rest[0], ""))
        return {"select": 3, "fetch": 1}.get(word, 2 if "returning" in text else 0)

    def _query(self, texts: Sequence[str]) -> bytes:
        told = bytearray()
        try:
            for at, text in enumerate(texts):
                self._check(text, fails=False)
                rows = self._rows(text)
                told += c.DESCRIPTION if rows else b""
                self._run(text, rows, b"Q", told)
                if self.copying:
                    self.after = list(texts[at + 1 :])
                    return bytes(told)
        except FailedError:
            told += self._failed()
        return bytes(told + self._at_rest())

    def _run(self, text: str, rows: int, kind: bytes, told: bytearray, *, suspends: bool = False) -> None:
        word, _, rest = text.partition(" ")
        name = rest[:1]
        if word in ("begin", "BEGIN"):
            self.status = "T"
        elif word in ("commit", "rollback", "COMMIT", "ROLLBACK"):
            word, self.status, self.portals = "rollback" if self.status == "E" else word, "I", {}
        elif word == "copy":
            if "stdin" in text:
                self.copying = kind
                told += c.COPY_IN
                return
            told += c.COPY_OUT + m.encode_copy_data(b"1\n") + m.COPY_DONE
        elif word == "execute":
            self._check("", fails=name not in self.statements)
            self._run(self.statements[name], rows, kind, told)
            return
        elif word in ("prepare", "deallocate"):
            self._check("", fails=(name in self.statements) is (word == "prepare"))
            self.statements.pop(name, None) if word == "deallocate" else None
            self.statements |= {name: text.partition(" as ")[2]} if word == "prepare" else {}
        elif word in ("declare", "fetch", "close"):
            self._check("", fails=self.status == "I" or (name in self.portals) is (word == "declare"))
            self.portals.pop(name, None) if word == "close" else None
            self.portals |= {name: (text.partition(" for ")[2], 3)} if word == "declare" else {}
        told += c.ROW([b"1" * 600]) * rows
        if "fail" in text:
            raise FailedError
        counted = {"insert": "INSERT 0 1", "delete": "DELETE 3", "select": f"SELECT {rows}"}
        told += c.SUSPENDED if suspends else c.COMPLETE(counted.get(word, word.upper()))

    def _copied(self, kind: bytes, payload: bytes) -> bytes:
        assert kind in (b"d", b"c", b"f", b"S", b"H"), f"{kind!r} in the data of a COPY"
        if kind in (b"S", b"H") or (kind == b"d" and payload != b"bad"):
            return b""
        begun, self.copying = self.copying, b""
        if kind == b"c":
            return c.COMPLETE("COPY 1") + (self._query(self.after) if begun == b"Q" else b"")
        self.skips = begun == b"E"
        return self._failed() + (self._at_rest() if begun == b"Q" else b"")

    def _failed(self) -> bytes:
        self.status = "E" if self.status != "I" else "I"
        return c.error("42601")

    def _at_rest(self) -> bytes:
        self.portals, self.unsynced = {} if self.status == "I" else self.portals, False
        return c.ready(self.status)
