"""A client of a real PostgreSQL whose answers go through `SessionMasking` as the core would send them through it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from itertools import groupby

from scramp import ScramClient

from data_plane.protocols.postgres.interface import CopyPlan, CopyRefused, CreatesTemporary, ResultPlan, Statement
from data_plane.protocols.postgres.masking import SessionMasking
from data_plane.protocols.postgres.statements import StatementClassifier
from tests.support.postgres import PostgresServer

Message = tuple[bytes, bytes]


def frame(type_: bytes, payload: bytes) -> bytes:
    return type_ + struct.pack("!I", len(payload) + 4) + payload


class Wire:
    """Just enough of the protocol to log in and to read messages."""

    def __init__(self, server: PostgresServer, database: str) -> None:
        self._socket = socket.create_connection((server.host, server.port), 20)
        parameters = {"user": server.superuser, "database": database, "client_encoding": "UTF8"}
        body = struct.pack("!I", 3 << 16) + b"".join(f"{k}\0{v}\0".encode() for k, v in parameters.items()) + b"\0"
        self._socket.sendall(struct.pack("!I", len(body) + 4) + body)
        self._scram(server)
        list(self.answers())

    def _scram(self, server: PostgresServer) -> None:
        client = ScramClient(["SCRAM-SHA-256"], server.superuser, server.password)
        assert self.message()[1][:4] == b"\0\0\0\x0a"
        first = client.get_client_first().encode()
        self.send(b"p", b"SCRAM-SHA-256\0" + struct.pack("!I", len(first)) + first)
        client.set_server_first(self.message()[1][4:].decode())
        self.send(b"p", client.get_client_final().encode())
        client.set_server_final(self.message()[1][4:].decode())

    def send(self, type_: bytes, payload: bytes = b"") -> None:
        self._socket.sendall(frame(type_, payload))

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            data += (piece := self._socket.recv(count - len(data)))
            assert piece, "the server closed the connection"
        return data

    def message(self) -> Message:
        head = self._exactly(5)
        return head[:1], self._exactly(struct.unpack("!I", head[1:])[0] - 4)

    def answers(self) -> Iterator[Message]:
        while True:
            message = self.message()
            yield message
            if message[0] == b"Z":
                return

    def close(self) -> None:
        self._socket.close()


class MaskedSession:
    def __init__(self, server: PostgresServer, database: str, masking: SessionMasking) -> None:
        self._wire = Wire(server, database)
        self._classifier = StatementClassifier()
        self.masking = masking

    def close(self) -> None:
        self._wire.close()

    def query(self, text: str) -> bytes:
        """Every byte that the client gets for one Query."""
        statements = self._classifier.parse(text.encode()).statements
        made = [e.relation for s in statements for e in s.effects if isinstance(e, CreatesTemporary)]
        self.masking.hidden(frozenset(made))
        refused = [plan for plan in (self.masking.copy(s, ()) for s in statements) if isinstance(plan, CopyRefused)]
        if refused:
            return frame(b"E", f"C42501\0M{refused[0].message}\0\0".encode())
        self._wire.send(b"Q", text.encode() + b"\0")
        return self._delivered(list(self._wire.answers()), statements, ())

    def extended(self, text: str, formats: Sequence[int]) -> bytes:
        """Parse, Bind with these result formats, Describe of the portal, Execute."""
        send, results = self._wire.send, struct.pack(f"!H{len(formats)}H", len(formats), *formats)
        send(b"P", b"\0" + text.encode() + b"\0\0\0")
        send(b"B", b"\0\0\0\0\0\0" + results)
        send(b"D", b"P\0")
        send(b"E", b"\0\0\0\0\0")
        send(b"S")
        return self._delivered(list(self._wire.answers()), self._classifier.parse(text.encode()).statements, formats)

    def _delivered(self, answers: list[Message], statements: Sequence[Statement], formats: Sequence[int]) -> bytes:
        out, place = [], 0
        plan: ResultPlan | None = None
        copy: CopyPlan | CopyRefused | None = None
        for type_, group in groupby(answers, key=lambda message: message[0]):
            payloads = [payload for _, payload in group]
            statement = statements[place] if place < len(statements) else None
            if type_ == b"T":
                plan = self.masking.result(payloads[0], formats, None if _refers(statement) else statement, ())
            if type_ == b"D":
                rows = b"".join(frame(type_, payload) for payload in payloads)
                out.append(plan.mask_rows(rows) if plan else rows)
            elif type_ in (b"E", b"N"):
                out += [frame(type_, self.masking.message(payload, masked=False)) for payload in payloads]
            elif type_ == b"H":
                copy = self.masking.copy(statement, ()) if statement else None
            elif type_ == b"d" and copy is not None:
                assert not isinstance(copy, CopyRefused)
                out.append(frame(type_, b"".join([*map(copy.mask_data, payloads), copy.finish()])))
            else:
                out += [frame(type_, payload) for payload in payloads]
            place += len(payloads) if type_ == b"C" else 0
        return b"".join(out)


def _refers(statement: Statement | None) -> bool:
    return statement is None or bool(statement.references)


def rows_of(data: bytes) -> list[list[bytes | None]]:
    """The fields of every DataRow in what was delivered."""
    found, at = [], 0
    while at < len(data):
        type_, size = data[at : at + 1], struct.unpack_from("!I", data, at + 1)[0]
        if type_ == b"D":
            cell, fields = at + 7, []
            for _ in range(struct.unpack_from("!H", data, at + 5)[0]):
                length = struct.unpack_from("!i", data, cell)[0]
                fields.append(None if length < 0 else data[cell + 4 : cell + 4 + length])
                cell += 4 + max(length, 0)
            assert cell == at + 1 + size
            found.append(fields)
        at += 1 + size
    assert at == len(data)
    return found


def copied(data: bytes) -> bytes:
    """The contents of every CopyData in what was delivered."""
    found, at = b"", 0
    while at < len(data):
        size = struct.unpack_from("!I", data, at + 1)[0]
        if data[at : at + 1] == b"d":
            found += data[at + 5 : at + 1 + size]
        at += 1 + size
    return found
