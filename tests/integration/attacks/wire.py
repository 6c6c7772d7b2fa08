"""A client of PostgreSQL's protocol that sends what no driver would: each message is written by the test."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator

HOST = "127.0.0.1"
Answer = tuple[str, bytes]


def message(type_: str, payload: bytes = b"") -> bytes:
    return type_.encode() + struct.pack("!I", len(payload) + 4) + payload


def text(value: str) -> bytes:
    return value.encode() + b"\0"


def query(sql: str) -> bytes:
    return message("Q", text(sql))


def parse(name: str, sql: str) -> bytes:
    return message("P", text(name) + text(sql) + b"\0\0")


def bind(portal: str, statement: str) -> bytes:
    return message("B", text(portal) + text(statement) + b"\0\0\0\0\0\0")


def describe(portal: str) -> bytes:
    return message("D", b"P" + text(portal))


def execute(portal: str) -> bytes:
    return message("E", text(portal) + b"\0\0\0\0")


SYNC = message("S")


class Client:
    """Signed in when it is made. `ask` gives all answers up to so many ReadyForQuery."""

    def __init__(self, port: int, token: str, database: str, **settings: str) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=20)
        self._rest = b""
        fields = {"user": "bot", "database": database, **settings}
        body = struct.pack("!I", 196608) + b"".join(text(name) + text(value) for name, value in fields.items()) + b"\0"
        try:
            self._sign_in(struct.pack("!I", len(body) + 4) + body, token)
        except BaseException:
            self.close()
            raise

    def _sign_in(self, startup: bytes, token: str) -> None:
        self._socket.sendall(startup)
        self._read()
        self._socket.sendall(message("p", text(token)))
        self._until_ready(1)

    def close(self) -> None:
        self._socket.close()

    def ask(self, *messages: bytes, ready: int = 1) -> list[Answer]:
        self.send(*messages)
        return self._until_ready(ready)

    def send(self, *messages: bytes) -> None:
        """Without waiting for an answer."""
        self._socket.sendall(b"".join(messages))

    def said(self, *messages: bytes, ready: int = 1) -> bytes:
        """Every byte of the answers' payloads."""
        return b"".join(payload for _, payload in self.ask(*messages, ready=ready))

    def run(self, *statements: str) -> list[Answer]:
        """One after the other; the last one's answers."""
        answers: list[Answer] = []
        for statement in statements:
            answers = self.ask(query(statement))
        return answers

    def _until_ready(self, times: int) -> list[Answer]:
        answers: list[Answer] = []
        while times:
            answer = self._read()
            answers.append(answer)
            times -= answer[0] == "Z"
        return answers

    def _read(self) -> Answer:
        header = self._take(5)
        (length,) = struct.unpack("!I", header[1:])
        return chr(header[0]), self._take(length - 4)

    def _take(self, size: int) -> bytes:
        while len(self._rest) < size:
            data = self._socket.recv(65536)
            if not data:
                raise EOFError("the gateway closed the connection")
            self._rest += data
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


@contextlib.contextmanager
def connected(port: int, token: str, database: str, **settings: str) -> Iterator[Client]:
    client = Client(port, token, database, **settings)
    try:
        yield client
    finally:
        client.close()
